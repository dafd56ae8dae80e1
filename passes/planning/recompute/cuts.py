"""A lower bound of the work that a budget forces: what must be recomputed after a few steps, the *cuts*.

At the first execution of a cut's operator everything computed so far either stays in memory, beside what the
operator itself needs, or is computed again before somebody reads it, with all that this takes. What lies
between two cuts is relaxed: copies without number, in any order, and memory counts only where it certainly is
in use. So the bound holds for every sequence, and a single cut is a knapsack with precedence constraints.
More cuts are the stages of Checkmate (Jain et al. 2020, section 4) of which only some are kept.

In a free order the first execution of an operator still has all its ancestors before it and all its
descendants after it: one cut at a time, restricted to these, is a bound there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.passes.planning.recompute.programme import Programme
from dnncc.passes.planning.recompute.sequence import SequenceModel


@dataclass(frozen=True)
class Cut:
    """The first execution of an operator.

    Attributes:
        operator: which one.
        before: operators that have certainly run by then.
        after: operators that certainly have not, and do so before the next cut or at it.
    """

    operator: int
    before: frozenset[int]
    after: frozenset[int]


class _Builder:
    """States the relaxation of some cuts."""

    def __init__(
        self, model: SequenceModel, work: Sequence[int], budget: int, limit: int, cuts: Sequence[Cut]
    ) -> None:
        self.model, self.work, self.budget, self.limit, self.cuts = model, work, budget, limit, cuts
        self.size = model.size.tolist()
        self.maker = model.maker.tolist()
        self.touchers: list[set[int]] = [set() for _ in self.size]
        for v, storages in enumerate(model.accessed):
            for s in storages:
                self.touchers[s].add(v)
        self.programme = Programme()
        self.keep: list[dict[int, int]] = [{} for _ in cuts]
        self.again: list[dict[int, int]] = [{} for _ in cuts]
        self.todo: list[tuple[int, int]] = []

    def build(self) -> Programme:
        last = len(self.cuts) - 1
        for i, cut in enumerate(self.cuts):
            wanted = {s for v in cut.after for s in self.model.reads[v]}
            if i == last:
                wanted.update(self.model.kept)
            for s in sorted(wanted):
                self.available(i, s, None)
        while self.todo:
            i, s = self.todo.pop()
            # Resident at cut i: kept since the cut before, or computed again since.
            self.available(i - 1, s, self.keep[i][s])
        for i in range(len(self.cuts)):
            self.capacity(i)
        for i in range(last):
            self.between(i)
        return self.programme

    def certain(self, i: int, s: int) -> bool:
        """Whether storage s, which cannot be computed again, is there at cut i and needed later in any case."""
        cut = self.cuts[i]
        later: set[int] = set().union(*(c.after for c in self.cuts[i:]))
        begun = s in self.model.initial or bool(self.touchers[s] & cut.before)
        return begun and (s in self.model.kept or bool(self.touchers[s] & later))

    def available(self, i: int, s: int, condition: int | None) -> None:
        """Between cut i and the next one somebody reads storage s, if the condition holds."""
        cut, maker = self.cuts[i], self.maker[s]
        guard = () if condition is None else (~condition,)
        if maker < 0:
            gone = not self.certain(i, s)
            if gone and (s in self.model.initial or self.touchers[s] <= cut.before):
                self.programme.clauses.append((self.kept(i, s), *guard))
            return
        if maker in cut.before:
            again = self.repeated(i, maker)
            ways = (self.kept(i, s),) if again is None else (self.kept(i, s), again)
            self.programme.clauses.append((*ways, *guard))

    def kept(self, i: int, s: int) -> int:
        """Storage s lies in memory while cut i runs, and later."""
        if s not in self.keep[i]:
            self.keep[i][s] = self.programme.variable()
            if i:
                self.todo.append((i, s))
        return self.keep[i][s]

    def repeated(self, i: int, v: int) -> int | None:
        """Operator v runs again between cut i and the next one; None if that costs too much in any case."""
        if self.work[v] > self.limit or not self.model.repeatable[v]:
            return None
        if v not in self.again[i]:
            self.again[i][v] = self.programme.variable(self.work[v])
            for s in self.model.reads[v]:
                self.available(i, s, self.again[i][v])
        return self.again[i][v]

    def capacity(self, i: int) -> None:
        v = self.cuts[i].operator
        own = set(self.model.accessed[v])
        beside = [s for s, maker in enumerate(self.maker) if maker < 0 and self.size[s] and s not in own]
        room = self.budget - self.model.need(v) - sum(self.size[s] for s in beside if self.certain(i, s))
        terms = {x: self.size[s] for s, x in self.keep[i].items() if s not in own}
        self.programme.capacities.append((terms, room, None))

    def between(self, i: int) -> None:
        """Where an operator runs again between two cuts, what stays from the one to the other is there."""
        stays: dict[int, int] = {}
        needed = set(self.model.accessed[self.cuts[i + 1].operator])
        for s, x in self.keep[i].items():
            if s not in needed and s not in self.keep[i + 1]:
                continue
            y = stays[s] = self.programme.variable()
            reasons = () if s in needed else (~self.keep[i + 1][s],)
            again = self.again[i].get(self.maker[s])
            self.programme.clauses.append((~x, *reasons, y, *(() if again is None else (again,))))
        for v, again in self.again[i].items():
            own = set(self.model.accessed[v])
            terms = {y: self.size[s] for s, y in stays.items() if s not in own}
            if sum(terms.values()) > self.budget - self.model.need(v):
                self.programme.capacities.append((terms, self.budget - self.model.need(v), again))


@dataclass(frozen=True)
class Relaxation:
    """The relaxation of some cuts, in the order in which they run.

    Attributes:
        cuts: the cuts.
        programme: its solutions are relaxed plans, its cost their added work.
        again: by cut, {operator: variable}: it runs again between this cut and the next one.
        keep: by cut, {storage: variable}: it lies in memory while the cut's operator runs, and later.
    """

    cuts: tuple[Cut, ...]
    programme: Programme
    again: tuple[dict[int, int], ...]
    keep: tuple[dict[int, int], ...]


def relax(
    model: SequenceModel, work: Sequence[int], budget: int, limit: int, cuts: Sequence[Cut]
) -> Relaxation:
    """The relaxation of these cuts, for plans that add at most `limit` work."""
    builder = _Builder(model, work, budget, limit, cuts)
    return Relaxation(tuple(cuts), builder.build(), tuple(builder.again), tuple(builder.keep))


def fixed_cuts(count: int, steps: Sequence[int]) -> list[Cut]:
    """The cuts at these steps, ascending, of operators that run in the order of their numbers."""
    found = []
    for i, t in enumerate(steps):
        end = steps[i + 1] if i + 1 < len(steps) else count - 1
        found.append(Cut(t, frozenset(range(t)), frozenset(range(t + 1, end + 1))))
    return found


def free_cut(model: SequenceModel, v: int) -> Cut:
    """The cut of operator v where the order is free."""
    before: set[int] = set()
    todo = [v]
    while todo:
        fresh = set(model.needs[todo.pop()]) - before
        before |= fresh
        todo += fresh
    after = {v}
    for w in range(v + 1, model.count):  # the numbers are in a valid order
        if after.intersection(model.needs[w]):
            after.add(w)
    return Cut(v, frozenset(before), frozenset(after - {v}))
