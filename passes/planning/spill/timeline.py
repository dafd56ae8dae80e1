"""One order of the operators, seen from the scratchpad: gaps between uses, and what evicting them costs and saves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dnncc.passes.planning.footprint import Rule
from dnncc.passes.planning.spill.model import SpillModel


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between two consecutive uses of a storage, in which it may be off-chip.

    Attributes:
        storage: of which it is.
        start: step of the use before; -1 is the beginning.
        end: step of the use after; the number of steps is the end.
        version: index of the content in `Timeline.writes`, None where a copy off-chip is valid anyhow.
        read: bytes to retrieve if it is evicted: 0 at the end.
    """

    storage: int
    start: int
    end: int
    version: int | None
    read: int


class Timeline:
    """The gaps of an order and the room that they have to share.

    Attributes:
        model, order: as given.
        steps: how many.
        gaps: all of them, also empty ones, where only an overlap rule makes use of an eviction.
        writes: bytes to write per version of a storage, at its first eviction.
        beginning: version -> gap before the first use of an initial storage: evicting that one makes the copy valid.
        own: bytes of each step's operator without overlaps.
        rules: of each step the rules whose output is born there, with the gap behind the input; None: it dies.
    """

    def __init__(self, model: SpillModel, order: Sequence[int]) -> None:
        self.model = model
        self.order = tuple(order)
        self.steps = len(self.order)
        self.gaps: list[Gap] = []
        self.writes: list[int] = []
        self.beginning: dict[int, int] = {}
        position = [0] * self.steps
        for now, v in enumerate(self.order):
            position[v] = now
        self.own = [model.own(v) for v in self.order]
        self.first: dict[int, int] = {}
        self.uses: dict[int, list[int]] = {}
        following: dict[tuple[int, int], int] = {}
        for s, touchers in enumerate(model.touchers):
            if not model.size[s] or not touchers:
                continue  # what nobody touches begins and ends off-chip
            uses = sorted(position[v] for v in touchers)
            self.uses[s] = uses
            self.first[s] = -1 if s in model.initial else uses[0]
            times = [-1, *uses] if s in model.initial else list(uses)
            if s in model.kept:
                times.append(self.steps)
            self._add_gaps(s, times, following)
        self.rules: list[tuple[tuple[Rule, int | None], ...]] = [
            tuple(
                (rule, following.get((rule[1], now)))
                for rule in model.order.rules[v]
                if self.first[rule[0]] == now and self._may_leave(v, now, rule[1], following)
            )
            for now, v in enumerate(self.order)
        ]

    def _may_leave(self, v: int, now: int, s: int, following: dict[tuple[int, int], int]) -> bool:
        """Whether storage s dies at this step, or may be evicted right at it."""
        return (s, now) not in following or self.model.may_leave(v, s)

    def _add_gaps(self, s: int, times: list[int], following: dict[tuple[int, int], int]) -> None:
        bytes_ = self.model.traffic[s]
        version: int | None = None
        for a, b in pairwise(times):
            if a == -1 or version is None or s in self.model.written[self.order[a]]:
                version = len(self.writes)
                self.writes.append(bytes_)
            gap = len(self.gaps)
            if a == -1:
                self.beginning[version] = gap
            following[s, a] = gap
            outside = a == -1  # it begins off-chip: nothing to write
            self.gaps.append(Gap(s, a, b, None if outside else version, bytes_ if b < self.steps else 0))

    def saving(self, step: int, evicted: Collection[int]) -> int:
        """Bytes that overlap rules save at a step, if these gaps are evicted."""
        rules = self.rules[step]
        if not rules:
            return 0
        active = tuple(rule for rule, gap in rules if gap is None or gap in evicted)
        return self.model.order.saving(active) if active else 0

    def loads(self, evicted: Collection[int]) -> list[int]:
        """Bytes in the scratchpad at every step."""
        found = [own - self.saving(t, evicted) for t, own in enumerate(self.own)]
        change = [0] * (self.steps + 1)
        for g, gap in enumerate(self.gaps):
            if g not in evicted and gap.end - gap.start > 1:
                size = self.model.size[gap.storage]
                change[gap.start + 1] += size
                change[gap.end] -= size
        held = 0
        for t in range(self.steps):
            held += change[t]
            found[t] += held
        return found

    def cost(self, evicted: Collection[int]) -> int:
        """Bytes copied if these gaps are evicted."""
        total = sum(self.gaps[g].read for g in evicted)
        written = {self.gaps[g].version for g in evicted} - {None}
        return total + sum(self.writes[v] for v in written if v is not None and self.pays(v, evicted))

    def pays(self, version: int, evicted: Collection[int]) -> bool:
        """Whether the first eviction of a version has to write it: not if it began off-chip."""
        return self.beginning.get(version) not in evicted


def evict(timeline: Timeline) -> frozenset[int] | None:
    """Gaps to evict such that every step fits, chosen greedily and then made minimal; None if there are none.

    At the first step that does not fit, the gap of least cost per byte of overflow that it removes, now and later, is
    evicted; finally those that turn out not to be needed stay, the dearest first.
    """
    model, gaps = timeline.model, timeline.gaps
    capacity = model.capacity
    evicted: set[int] = set()
    over = [load - capacity for load in timeline.loads(evicted)]
    if max(over, default=0) <= 0:
        return frozenset()
    covering = _covering(timeline)
    written: set[int] = set()
    for now in range(timeline.steps):
        while over[now] > 0:
            best, best_price = None, 0.0
            for g in covering[now]:
                if g in evicted:
                    continue
                gap = gaps[g]
                relief = _relief(timeline, over, evicted, g, now)
                if relief:
                    price = gap.read
                    if gap.version is not None and gap.version not in written:
                        price += timeline.writes[gap.version]
                    score = price / relief
                    if best is None or score < best_price:
                        best, best_price = g, score
            if best is None:
                return None
            _apply(timeline, over, evicted, best, -1)
            if (version := gaps[best].version) is not None:
                written.add(version)
    for g in sorted(evicted, key=lambda g: (-_price(timeline, evicted, g), g)):
        _apply(timeline, over, evicted, g, 1)
        if max(over) > 0:
            _apply(timeline, over, evicted, g, -1)
    return frozenset(evicted)


def _covering(timeline: Timeline) -> list[list[int]]:
    """Of every step the gaps whose eviction could lower its load."""
    found: list[list[int]] = [[] for _ in range(timeline.steps)]
    for g, gap in enumerate(timeline.gaps):
        for t in range(gap.start + 1, min(gap.end, timeline.steps)):
            found[t].append(g)
    for t, rules in enumerate(timeline.rules):
        found[t] += sorted({gap for _, gap in rules if gap is not None})
    return found


def _relief(timeline: Timeline, over: Sequence[int], evicted: set[int], g: int, now: int) -> int:
    """Bytes of overflow, summed over the steps from now on, that evicting the gap removes."""
    gap = timeline.gaps[g]
    size = timeline.model.size[gap.storage]
    relief = 0
    for t in range(max(gap.start + 1, now), gap.end):
        if over[t] > 0:
            relief += min(over[t], size)
    if gap.start >= now and over[gap.start] > 0:
        saved = timeline.saving(gap.start, evicted | {g}) - timeline.saving(gap.start, evicted)
        relief += min(over[gap.start], saved)
    return relief


def _apply(timeline: Timeline, over: list[int], evicted: set[int], g: int, sign: int) -> None:
    """Evict a gap (sign -1) or keep it again (sign 1)."""
    gap = timeline.gaps[g]
    before = timeline.saving(gap.start, evicted) if gap.start >= 0 else 0
    evicted.symmetric_difference_update((g,))
    after = timeline.saving(gap.start, evicted) if gap.start >= 0 else 0
    if gap.start >= 0:
        over[gap.start] += before - after
    size = timeline.model.size[gap.storage]
    for t in range(gap.start + 1, gap.end):
        over[t] += sign * size


def _price(timeline: Timeline, evicted: set[int], g: int) -> int:
    return timeline.cost(evicted) - timeline.cost(evicted - {g})
