"""An independent check of memory plans, naive on purpose: it runs the plan on bytes that know who wrote them.

It shares no code with the planner, so that a mistake in stating a problem to an optimizer, or in reading the answer
back, cannot hide behind a solution that is right in the optimizer's own terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dnncc.errors import Culprit, InternalError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.retrieve import Retrieve
from dnncc.ops.spill import Spill

if TYPE_CHECKING:
    from dnncc.plan import KernelNeeds, Plan


def check_plan(graph: Graph, needs: Mapping[Node, KernelNeeds], plan: Plan) -> None:
    """Every node runs once, reads what was written for it and finds it whole; addresses, pools and figures are as
    claimed.

    Args:
        graph: that the plan is of.
        needs: of every node that is no view.

    Raises:
        InternalError: names the node, the value or the figure that is wrong.
    """
    _check_steps(graph, plan)
    _check_addresses(graph, needs, plan)
    _Replay(graph, needs, plan).run()
    _check_figures(needs, plan)


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the memory plan failed its check", [Culprit(name, reason=reason)])


def _check_steps(graph: Graph, plan: Plan) -> None:
    """Every node that is no view runs once, after those that write what it reads."""
    wanted = [n for n in graph.nodes if not n.op.is_view]
    if len(plan.steps) != len(wanted) or set(plan.steps) != set(wanted):
        raise _error("steps", "not every node runs exactly once")
    written = {*graph.inputs, *graph.constants()}
    views = [n for n in graph.nodes if n.op.is_view]

    def add_views() -> None:
        for view in views:
            if view.inputs[0] in written:
                written.update(view.outputs)

    for step in plan.steps:
        add_views()
        for value in step.inputs:
            if value not in written:
                raise _error(step.name, f"reads '{value.name}' before it is written")
        written.update(step.outputs)
    add_views()
    for value in graph.outputs:
        if value not in written:
            raise _error(value.name, "is an output, but nobody writes it")


def _storage(graph: Graph) -> dict[Value, Value]:
    """The value whose bytes each value shows."""
    found = {v: v for v in graph.values()}
    for node in graph.nodes:
        if node.op.is_view:
            found[node.output] = found[node.inputs[0]]
    return found


def _check_addresses(graph: Graph, needs: Mapping[Node, KernelNeeds], plan: Plan) -> None:
    """What needs an address has one that is aligned, views that of what they show; inputs and outputs have none."""
    storage = _storage(graph)
    callers = {*graph.inputs, *(storage[v] for v in graph.outputs)}
    read = {storage[v] for n in plan.steps for v in (*n.inputs, *n.outputs)}
    for value, base in storage.items():
        if isinstance(base, Const) or not value.type.bytes:
            continue
        if base in callers:
            if value in plan.offsets:
                raise _error(value.name, "belongs to the caller, but has an address in an arena")
            continue
        if value not in plan.offsets:
            if base in read:
                raise _error(value.name, "has no address")
            continue
        offset, pool = plan.offsets[value], plan.pool_of[value]
        if (offset, pool) != (plan.offsets[base], plan.pool_of[base]):
            raise _error(value.name, f"does not lie where '{base.name}' does, which it shows")
        if offset < 0 or offset % plan.alignment:
            raise _error(value.name, f"lies at {offset}, which is not aligned to {plan.alignment}")
    for step, at in zip(plan.steps, plan.scratch, strict=True):
        scratch = needs[step].scratch
        if (at is None) != (not scratch) or (at is not None and (at < 0 or at % plan.alignment)):
            raise _error(step.name, f"{scratch} bytes of scratch memory at {at}")


@dataclass
class _Memory:
    """One pool's bytes: disjoint intervals (start, end, who wrote them last), sorted."""

    runs: list[tuple[int, int, object]] = field(default_factory=list)
    top: int = 0

    def write(self, start: int, end: int, owner: object) -> None:
        kept = []
        for low, high, who in self.runs:
            kept += [(a, b, who) for a, b in ((low, min(high, start)), (max(low, end), high)) if a < b]
        self.runs = sorted([*kept, (start, end, owner)], key=lambda run: run[:2])
        self.top = max(self.top, end)

    def owners(self, start: int, end: int) -> set[object]:
        """Who wrote these bytes; None among them where nobody did."""
        found = [(max(low, start), min(high, end), who) for low, high, who in self.runs]
        inside = [run for run in found if run[0] < run[1]]
        covered = sum(high - low for low, high, _ in inside)
        return {who for _, _, who in inside} | ({None} if covered < end - start else set())


class _Replay:
    """Runs the plan."""

    def __init__(self, graph: Graph, needs: Mapping[Node, KernelNeeds], plan: Plan) -> None:
        self.needs, self.plan = needs, plan
        self.storage = _storage(graph)
        self.memory = [_Memory() for _ in plan.pools]

    def run(self) -> None:
        for now, node in enumerate(self.plan.steps):
            self._read(now, node)
            self._write(now, node)
        for pool, memory in zip(self.plan.pools, self.memory, strict=True):
            if pool.bytes != memory.top:
                raise _error(f"pool '{pool.name}'", f"{pool.bytes} bytes claimed, {memory.top} used")

    def _place(self, value: Value) -> tuple[int, int, int] | None:
        """(pool, start, end) of a value in an arena."""
        if value not in self.plan.offsets or not value.type.bytes:
            return None
        start = self.plan.offsets[value]
        return self.plan.pool_of[value], start, start + value.type.bytes

    def _read(self, now: int, node: Node) -> None:
        for value in node.inputs:
            base = self.storage[value]
            place = self._place(value)
            if place is None:
                continue
            pool, start, end = place
            others = self.memory[pool].owners(start, end) - {base}
            if others:
                who = next(iter(others))
                what = f"'{who.name}'" if isinstance(who, Value) else "scratch memory" if who else "nothing"
                raise _error(node.name, f"reads '{value.name}' at step {now}, but {what} is there")
            self._alive(now, value)
            if isinstance(node.op, Retrieve) != self._external(pool):
                raise _error(node.name, f"'{value.name}' is in pool '{self.plan.pools[pool].name}'")

    def _write(self, now: int, node: Node) -> None:
        reads = [(i, place) for i, v in enumerate(node.inputs) if (place := self._place(v)) is not None]
        writes: list[tuple[int, tuple[int, int, int]]] = []
        for o, value in enumerate(node.outputs):
            place = self._place(value)
            if place is None:
                continue
            self._alive(now, value)
            if isinstance(node.op, Spill) != self._external(place[0]):
                raise _error(node.name, f"'{value.name}' is in pool '{self.plan.pools[place[0]].name}'")
            for _, other in writes:
                if _meet(place, other):
                    raise _error(node.name, f"writes '{value.name}' over another output")
            for i, other in reads:
                distance = self.needs[node].overlaps.get((o, i))
                if _meet(place, other) and (distance is None or place[1] + distance > other[1]):
                    raise _error(node.name, f"writes '{value.name}' over '{node.inputs[i].name}' too early")
            writes.append((o, place))
        scratch = self.plan.scratch[now]
        if scratch is not None:
            pool = self.plan.scratch_pools[now]
            work = (pool, scratch, scratch + self.needs[node].scratch)
            if any(_meet(work, place) for _, place in [*reads, *writes]):
                raise _error(node.name, "its scratch memory lies over what it reads or writes")
            self.memory[pool].write(*work[1:], node)
        for o, (pool, start, end) in writes:
            self.memory[pool].write(start, end, node.outputs[o])

    def _alive(self, now: int, value: Value) -> None:
        first, end = self.plan.lifetimes[value]
        if not first <= now < end:
            raise _error(value.name, f"is used at step {now}, but lives in [{first}, {end})")

    def _external(self, pool: int) -> bool:
        """Whether nothing computes in this pool: the last one where anything is spilled."""
        return any(isinstance(s.op, Spill) for s in self.plan.steps) and pool == len(self.plan.pools) - 1


def _meet(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _check_figures(needs: Mapping[Node, KernelNeeds], plan: Plan) -> None:
    spills = any(isinstance(s.op, Spill) for s in plan.steps)
    arena = sum(p.bytes for p in plan.pools[: len(plan.pools) - spills])
    if arena != plan.arena_bytes:
        raise _error("arena", f"{plan.arena_bytes} bytes claimed, {arena} used")
    if plan.bound_bytes > arena or (plan.status == "optimal") != (plan.bound_bytes == arena):
        raise _error("bound", f"{plan.status} with {arena} bytes and bound {plan.bound_bytes}")
    if plan.steps and not 0 <= plan.peak_step < len(plan.steps):
        raise _error("peak", f"at step {plan.peak_step} of {len(plan.steps)}")
