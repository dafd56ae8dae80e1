"""Exact search for small graphs: cheapest first over what has run and what lies in memory.

Whatever a sequence may do is covered: any number of copies, in any order. After every execution, any of the
storages that it touched may be dropped; to drop another one then is no better than to have dropped it after
its last access. States are expanded by added work, the ones that have come farthest first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.footprint import saved_bytes
from dnncc.passes.planning.recompute.problem import RematProblem
from dnncc.passes.planning.recompute.sequence import SequenceModel
from dnncc.passes.planning.storages import bits


@dataclass(frozen=True)
class Exact:
    """The answer of a search that came to its end.

    Attributes:
        sequence: of least added work, or None if nothing keeps within the budget.
    """

    sequence: tuple[int, ...] | None


_State = tuple[int, int]
"""(operators that have run, storages in memory), as bit masks."""


class _Moves:
    """What can happen next."""

    def __init__(self, problem: RematProblem, model: SequenceModel) -> None:
        self.problem, self.model = problem, model
        self.size = model.size.tolist()
        self.kept = sum(1 << s for s in model.kept)
        self.fixed = [s for s, maker in enumerate(model.maker.tolist()) if maker < 0]
        self.touchers = [0] * len(self.size)
        for v, storages in enumerate(model.accessed):
            for s in storages:
                self.touchers[s] |= 1 << v
        self.needs = [sum(1 << u for u in needs) for needs in model.needs]
        self.creates = [sum(1 << s for s in storages) for storages in model.creates]
        self.reads = [sum(1 << s for s in storages) for storages in model.reads]
        self.lasting = sum(1 << s for s in self.fixed)
        self.everything = (1 << model.count) - 1

    def start(self) -> _State:
        wanted = (s for s in self.model.initial if self.touchers[s] or self.kept >> s & 1)
        return 0, sum(1 << s for s in wanted if self.size[s])

    def bytes(self, mask: int) -> int:
        return sum(size for s, size in enumerate(self.size) if mask >> s & 1)

    def candidates(self, state: _State) -> Iterator[int]:
        """The operators that may run."""
        done, resident = state
        for v in range(self.model.count):
            again = done >> v & 1
            if again:
                if not self.model.repeatable[v] or self.creates[v] & resident or not self.creates[v]:
                    continue
            elif self.needs[v] & ~done or (self.problem.fixed_order and done & (1 << v) - 1 != (1 << v) - 1):
                continue
            missing = self.reads[v] & ~resident
            # What cannot be computed again begins to live when it is touched first.
            if all(self.lasting >> s & 1 and not self.touchers[s] & done for s in bits(missing)):
                yield v

    def run(self, state: _State, v: int) -> Iterator[_State]:
        """The states after operator v, within the budget."""
        done, resident = state
        touched = self.creates[v] | self.reads[v]
        born = touched & ~resident
        load = self.bytes(resident | touched) + int(self.model.workspace[v])
        after = done | 1 << v
        droppable = 0
        for s in bits(touched):
            lasts = self.lasting >> s & 1
            if not lasts or (not self.touchers[s] & ~after and not self.kept >> s & 1):
                droppable |= 1 << s
        dropped = droppable
        while True:
            rules = [r for r in self.model.rules[v] if born >> r[0] & 1 and dropped >> r[1] & 1]
            if load - saved_bytes(rules, self.size) <= self.problem.budget:
                yield after, (resident | touched) & ~dropped
            if not dropped:
                return
            dropped = (dropped - 1) & droppable


def search(problem: RematProblem, model: SequenceModel, limit: int, clock: Clock) -> Exact | None:
    """The best sequence, or the proof that there is none; None if expanding `limit` states does not tell."""
    moves = _Moves(problem, model)
    start = moves.start()
    if moves.bytes(start[1]) > problem.budget:
        return Exact(None)
    queue: list[tuple[int, int, int, _State]] = [(0, 0, 0, start)]
    cost: dict[_State, int] = {start: 0}
    came: dict[_State, tuple[_State, int]] = {}
    closed: set[_State] = set()
    serial = 0
    while queue:
        paid, _, _, state = heapq.heappop(queue)
        if state in closed:
            continue
        if state[0] == moves.everything and not moves.kept & ~state[1]:
            return Exact(_path(came, state))
        if len(closed) >= limit:
            return None
        clock.check()
        closed.add(state)
        for v in moves.candidates(state):
            price = paid + (problem.work[v] if state[0] >> v & 1 else 0)
            for following in moves.run(state, v):
                if following not in closed and price < cost.get(following, price + 1):
                    cost[following] = price
                    came[following] = state, v
                    serial += 1
                    entry = price, -following[0].bit_count(), serial, following
                    heapq.heappush(queue, entry)
    return Exact(None)


def _path(came: dict[_State, tuple[_State, int]], state: _State) -> tuple[int, ...]:
    found = []
    while state in came:
        state, v = came[state]
        found.append(v)
    return tuple(reversed(found))
