"""An order problem in the form that searches want: storages instead of tensors, sets as bit masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.footprint import Rule, saved_bytes
from dnncc.passes.planning.problem import OrderProblem


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _invalid(reason: str, name: str) -> InternalError:
    return InternalError("the operator-order problem is not well formed", [Culprit(name, reason=reason)])


@dataclass(frozen=True)
class Base:
    """Where a tensor's bytes are: in which storage (index of the tensor that is no view), and how far from
    its start."""

    storage: int
    offset: int


def bases(problem: OrderProblem) -> list[Base]:
    """The storage of every tensor.

    Raises:
        InternalError: a view of a tensor that does not exist or that does not contain it, or a cycle of
            views.
    """
    found = []
    for start, tensor in enumerate(problem.tensors):
        at, offset, seen = start, 0, {start}
        while (parent := problem.tensors[at].view_of) is not None:
            if not 0 <= parent < len(problem.tensors) or parent in seen:
                raise _invalid(f"view of {parent}, which is missing or a view of it", f"tensor {start}")
            offset += problem.tensors[at].view_offset
            at = parent
            seen.add(at)
        whole = problem.tensors[at].size
        if tensor.size < 0 or offset < 0 or (whole and offset + tensor.size > whole):
            raise _invalid(f"bytes {offset} to {offset + tensor.size} of {whole}", f"tensor {start}")
        found.append(Base(at, offset))
    return found


def producers(problem: OrderProblem) -> list[int | None]:
    """The operator after which each tensor can be read; None for what is there from the start.

    Raises:
        InternalError: a tensor that does not exist or that two operators create.
    """
    made: dict[int, int] = {}
    for v, op in enumerate(problem.operators):
        for t in (*op.inputs, *op.outputs):
            if not 0 <= t < len(problem.tensors):
                raise _invalid(f"tensor {t} does not exist", f"operator {v}")
        for t in op.outputs:
            if t in made:
                raise _invalid(f"tensor {t} is created by operator {made[t]} already", f"operator {v}")
            made[t] = v
    found: list[int | None] = []
    for start in range(len(problem.tensors)):
        at: int | None = start
        while at is not None and at not in made:
            at = problem.tensors[at].view_of
        found.append(None if at is None else made[at])
    return found


def storage_rules(problem: OrderProblem, base: Sequence[Base]) -> list[list[Rule]]:
    """The overlap rules of every operator, between storages, without those that can never have effect.

    A storage may be overlapped only if every tensor that the operator reads from it may be, by every tensor
    that the operator writes to the output's storage; the strictest of these rules counts.

    Raises:
        InternalError: a rule that names no output and input of its operator, or a pair twice.
    """
    found: list[list[Rule]] = []
    for v, op in enumerate(problem.operators):
        distance: dict[tuple[int, int], int] = {}
        for rule in op.overlaps:
            pair = (rule.output, rule.input)
            if rule.output not in op.outputs or rule.input not in op.inputs or pair in distance:
                raise _invalid(
                    f"overlap of {pair} is no pair of its tensors, or stated twice", f"operator {v}"
                )
            distance[pair] = rule.distance + base[rule.output].offset - base[rule.input].offset
        read: dict[int, set[int]] = {}
        written: dict[int, set[int]] = {}
        for t in op.inputs:
            read.setdefault(base[t].storage, set()).add(t)
        for t in op.outputs:
            written.setdefault(base[t].storage, set()).add(t)
        rules = []
        for o in sorted(written):
            for i in sorted(read):
                pairs = [(a, b) for a in written[o] for b in read[i]]
                size = problem.tensors[o].size
                if o == i or not size or not problem.tensors[i].size or any(p not in distance for p in pairs):
                    continue
                gap = max(distance[p] for p in pairs)
                if gap < size:
                    rules.append((o, i, gap))
        found.append(rules)
    return found


class OrderModel:
    """Answers what an operator needs and leaves, for any downset of executed operators.

    A downset is a bit mask of operators that contains all predecessors of its members. Storages of no bytes
    are left out; `touch[s]` is the mask of the operators that read or write storage s.

    Raises:
        InternalError: the problem is not well formed, or its own order is not valid.
    """

    def __init__(self, problem: OrderProblem) -> None:
        base = bases(problem)
        made = producers(problem)
        count = len(problem.operators)
        self.count = count
        self.size = [t.size if t.view_of is None else 0 for t in problem.tensors]
        self.workspace = [op.workspace for op in problem.operators]
        self.touch = [0] * len(problem.tensors)
        self.predecessors = [0] * count
        self.successors: list[list[int]] = [[] for _ in range(count)]
        self._touched: list[list[int]] = []
        for v, op in enumerate(problem.operators):
            if op.workspace < 0:
                raise _invalid("negative workspace", f"operator {v}")
            for t in op.inputs:
                source = made[t]
                if source is not None and source >= v:
                    raise _invalid(f"it reads tensor {t}, created by operator {source}", f"operator {v}")
                if source is not None and not self.predecessors[v] >> source & 1:
                    self.predecessors[v] |= 1 << source
                    self.successors[source].append(v)
            storages = sorted({base[t].storage for t in (*op.inputs, *op.outputs)})
            self._touched.append([s for s in storages if self.size[s]])
            for s in storages:
                self.touch[s] |= 1 << v
        if any(not 0 <= t < len(problem.tensors) for t in problem.outputs):
            raise _invalid("a graph output does not exist", "outputs")
        self.kept = {base[t].storage for t in problem.outputs}
        self.rules = storage_rules(problem, base)
        self._saving: dict[tuple[Rule, ...], int] = {}
        # There from the start: created by no operator, and somebody wants it.
        self.initial = [
            s
            for s, size in enumerate(self.size)
            if size and made[s] is None and (self.touch[s] or s in self.kept)
        ]
        self._initial = frozenset(self.initial)
        self.everything = (1 << count) - 1
        self.backwards = False

    def reversed(self) -> OrderModel:
        """The same problem with time running backwards: its orders are this one's, read from the end.

        What is there from the start and what is kept to the end change places, and so do precedences; a storage
        is born where it died. Every operator then needs what it needs here, so that peaks and bounds are equal.
        """
        other = copy(self)
        other.backwards = not self.backwards
        other.predecessors = [sum(1 << w for w in after) for after in self.successors]
        other.successors = [list(bits(before)) for before in self.predecessors]
        other.kept = set(self._initial)
        other.initial = [s for s in sorted(self.kept) if self.size[s]]
        other._initial = frozenset(other.initial)
        return other

    def start(self) -> tuple[int, list[int]]:
        """(resident bytes, ready operators) before the first operator."""
        resident = sum(self.size[s] for s in self.initial)
        return resident, [v for v in range(self.count) if not self.predecessors[v]]

    def step(self, done: int, resident: int, v: int) -> tuple[int, int]:
        """(bytes needed while v runs, resident bytes after it), from the downset `done` with `resident`
        bytes."""
        after = done | 1 << v
        born = freed = 0
        born_set = dying = 0
        for s in self._touched[v]:
            touch = self.touch[s]
            if not touch & done and s not in self._initial:
                born += self.size[s]
                born_set |= 1 << s
            if not touch & ~after and s not in self.kept:
                freed += self.size[s]
                dying |= 1 << s
        need = resident + born + self.workspace[v]
        if rules := self.rules[v]:
            if self.backwards:
                born_set, dying = dying, born_set
            active = tuple(r for r in rules if born_set >> r[0] & 1 and dying >> r[1] & 1)
            if active:
                need -= self.saving(active)
        return need, resident + born - freed

    def saving(self, active: tuple[Rule, ...]) -> int:
        """`saved_bytes`, remembered."""
        saved = self._saving.get(active)
        if saved is None:
            saved = self._saving[active] = saved_bytes(active, self.size)
        return saved

    def ready_after(self, done: int, ready: Sequence[int], v: int) -> list[int]:
        """The ready operators once v has run; `done` includes v."""
        fresh = [w for w in self.successors[v] if not self.predecessors[w] & ~done]
        return [w for w in ready if w != v] + fresh

    def loads(self, order: Sequence[int]) -> list[int]:
        """Bytes needed while each operator of a valid order runs."""
        found = []
        done, (resident, _) = 0, self.start()
        for v in order:
            need, resident = self.step(done, resident, v)
            found.append(need)
            done |= 1 << v
        return found

    def peak(self, order: Sequence[int]) -> int:
        """The peak of a valid order, in bytes."""
        return max([self.start()[0], *self.loads(order)])

    def closure_bound(self) -> int:
        """Bytes that some operator needs in every order.

        While v runs, a storage lives for certain if v or an ancestor of v touches it (or it is there from the
        start) and v or a descendant of v touches it (or it is a graph output). All overlaps that some order
        could give v are granted.
        """
        touched_by = [sum(1 << s for s in touched) for touched in self._touched]
        initial = sum(1 << s for s in self.initial)
        kept = sum(1 << s for s in self.kept if self.size[s])
        before, after = [0] * self.count, [0] * self.count
        for v in range(self.count):  # the problem's own order is topological
            for u in bits(self.predecessors[v]):
                before[v] |= before[u] | touched_by[u]
        for v in reversed(range(self.count)):
            for w in self.successors[v]:
                after[v] |= after[w] | touched_by[w]
        bound = sum(self.size[s] for s in self.initial)
        for v in range(self.count):
            born = before[v] | initial
            wanted = after[v] | kept
            certain = (born | touched_by[v]) & (wanted | touched_by[v])
            need = sum(self.size[s] for s in bits(certain)) + self.workspace[v]
            active = tuple(r for r in self.rules[v] if not born >> r[0] & 1 and not wanted >> r[1] & 1)
            bound = max(bound, need - self.saving(active))
        return bound
