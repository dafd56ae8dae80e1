"""What the stages of the search share: storages in aligned sizes, who touches and who writes them."""

from __future__ import annotations

from dataclasses import replace

from dnncc.passes.planning.footprint import Rule
from dnncc.passes.planning.layout import round_up
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.spill.problem import SpillProblem
from dnncc.passes.planning.storages import OrderModel, bases, bits


def _aligned(graph: OrderProblem, unit: int) -> OrderProblem:
    """Storages, workspaces and distances in whole units, as aligned offsets count them."""
    if unit == 1:
        return graph
    tensors = tuple(
        t if t.view_of is not None else replace(t, size=round_up(t.size, unit)) for t in graph.tensors
    )
    operators = tuple(
        replace(
            op,
            workspace=round_up(op.workspace, unit),
            overlaps=tuple(replace(r, distance=round_up(r.distance, unit)) for r in op.overlaps),
        )
        for op in graph.operators
    )
    return replace(graph, tensors=tensors, operators=operators)


class SpillModel:
    """A spill problem in the form that searches want. Storages of no bytes are left out.

    Attributes:
        problem: as given.
        order: who precedes whom, who touches what; sizes are aligned.
        capacity: aligned; necessary for the aligned sizes that live together.
        size: aligned bytes of every storage, for memory.
        traffic: its true bytes, for copies.
        touched: of every operator the storages it reads or writes.
        written: of every operator those it writes.
        touchers: of every storage its operators.
        initial: storages that no operator creates.
        kept: storages with graph outputs.

    Raises:
        InternalError: the problem is not well formed.
    """

    def __init__(self, problem: SpillProblem) -> None:
        self.problem = problem
        graph = problem.graph
        self.order = OrderModel(_aligned(graph, problem.alignment))
        self.capacity = round_up(problem.capacity, problem.alignment)
        self.size = self.order.size
        self.traffic = [t.size if t.view_of is None else 0 for t in graph.tensors]
        base = [b.storage for b in bases(graph)]
        self.written = [
            frozenset(base[t] for t in op.outputs if self.size[base[t]]) for op in graph.operators
        ]
        self.touched = [
            frozenset(base[t] for t in (*op.inputs, *op.outputs) if self.size[base[t]])
            for op in graph.operators
        ]
        self.touchers = [tuple(bits(mask)) for mask in self.order.touch]
        self.initial = frozenset(self.order.initial)
        self.kept = frozenset(s for s in self.order.kept if self.size[s])
        self.count = self.order.count
        self.before = [0] * self.count
        """Ancestors of every operator, as a mask."""
        for v in range(self.count):  # the problem's own order is topological
            for u in bits(self.order.predecessors[v]):
                self.before[v] |= self.before[u] | 1 << u
        self.after = [0] * self.count
        """Descendants of every operator, as a mask."""
        for v in range(self.count):
            for u in bits(self.before[v]):
                self.after[u] |= 1 << v

    def own(self, v: int) -> int:
        """Bytes of all that v touches and of its workspace, without overlaps."""
        return sum(self.size[s] for s in self.touched[v]) + self.order.workspace[v]

    def may_be_born(self, v: int, storage: int) -> bool:
        """Whether v may be the first operator that touches the storage."""
        return storage not in self.initial and not self.before[v] & self.order.touch[storage]

    def rules(self, v: int) -> tuple[Rule, ...]:
        """The overlap rules of v that some plan could use."""
        return tuple(r for r in self.order.rules[v] if self.may_be_born(v, r[0]) and self.may_leave(v, r[1]))

    def may_leave(self, v: int, storage: int) -> bool:
        """Whether v may overwrite the storage, given a copy off-chip: not what it writes to itself."""
        return storage not in self.written[v]

    def working_set(self, v: int) -> int:
        """Bytes that v needs in every plan: what it touches, less what its rules can save."""
        return self.own(v) - self.order.saving(self.rules(v))

    def largest_working_set(self) -> tuple[int, int | None]:
        """(bytes, operator) of the largest working set."""
        best, at = 0, None
        for v in range(self.count):
            if (need := self.working_set(v)) > best or at is None:
                best, at = need, v
        return best, at
