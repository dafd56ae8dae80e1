"""A placement problem as solvers want it: for every conflicting pair two gaps, of which one must hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.footprint import saved_bytes
from dnncc.passes.planning.problem import PlaceProblem


def _invalid(reason: str, name: str) -> InternalError:
    return InternalError("the placement problem is not well formed", [Culprit(name, reason=reason)])


def round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


@dataclass(frozen=True)
class Pair:
    """Either ``offset[b] >= offset[a] + above`` or ``offset[a] >= offset[b] + below``."""

    a: int
    b: int
    above: int
    below: int


class Layout:
    """The non-empty buffers, numbered from 0, and their conflicts.

    Gaps are rounded up to the greatest common divisor of the alignments, which every difference of two
    offsets is a multiple of.

    Attributes:
        size, alignment, lower, upper: of each buffer.
        rounded: sizes in whole units.
        unit: greatest common divisor of the alignments.
        rules: gap by (output, input), for the overlap rules that have effect.
        pairs: the conflicts that can be violated, sorted.
        step: some lowest placement has offsets that are multiples of these, one per buffer.
        grain: then its height is a multiple of this.
        neighbours: for each buffer b its (other c, gap of b above c, gap of c above b).

    Raises:
        InternalError: the problem is not well formed.
    """

    def __init__(self, problem: PlaceProblem) -> None:
        self.problem = problem
        self._validate()
        self.members = [n for n, b in enumerate(problem.buffers) if b.size]
        chosen = [problem.buffers[n] for n in self.members]
        self.size = [b.size for b in chosen]
        self.alignment = [b.alignment for b in chosen]
        self.lower = [b.lower for b in chosen]
        self.upper = [b.upper for b in chosen]
        self.unit = math.gcd(*self.alignment) if chosen else 1
        index = {b.id: n for n, b in enumerate(chosen)}
        self.rounded = [round_up(size, self.unit) for size in self.size]
        self.rules: dict[tuple[int, int], int] = {}
        self._distance: dict[tuple[int, int], int] = {}
        for r in problem.overlaps:
            if r.output in index and r.input in index:
                o, i = index[r.output], index[r.input]
                gap = round_up(r.distance, self.unit)
                if gap < self.rounded[o]:
                    self.rules[o, i], self._distance[o, i] = gap, r.distance
        self.pairs = self._find_pairs()
        # The lowest placements consist of sums of gaps rounded up to alignments.
        gaps = (gap for p in self.pairs for gap in (p.above, p.below))
        quantum = math.gcd(*gaps, *(a for a in self.alignment if a > 1)) or 1
        self.step = [a if a > 1 else quantum for a in self.alignment]
        self.grain = math.gcd(quantum, *self.size)
        self.neighbours: list[list[tuple[int, int, int]]] = [[] for _ in chosen]
        for p in self.pairs:
            self.neighbours[p.b].append((p.a, p.above, p.below))
            self.neighbours[p.a].append((p.b, p.below, p.above))

    def _validate(self) -> None:
        buffers = {b.id: b for b in self.problem.buffers}
        if len(buffers) != len(self.problem.buffers):
            raise _invalid("an id occurs twice", "buffers")
        for b in self.problem.buffers:
            if b.lower >= b.upper or b.size < 0 or b.alignment < 1:
                raise _invalid(f"it lives in [{b.lower}, {b.upper}), {b.size} bytes", f"buffer {b.id}")
        seen: set[frozenset[int]] = set()
        for r in self.problem.overlaps:
            name = f"overlap of {r.output}, {r.input}"
            pair = frozenset((r.output, r.input))
            if r.output not in buffers or r.input not in buffers or len(pair) == 1 or pair in seen:
                raise _invalid("no pair of buffers, or stated twice", name)
            seen.add(pair)
            if buffers[r.output].lower != buffers[r.input].upper - 1:
                raise _invalid("the output's first step is not the input's last one", name)

    def _find_pairs(self) -> list[Pair]:
        found = []
        by_start = sorted(range(len(self.size)), key=lambda n: (self.lower[n], n))
        alive: list[int] = []
        for b in by_start:
            alive = [a for a in alive if self.upper[a] > self.lower[b]]
            for a in alive:
                found.append(self._pair(min(a, b), max(a, b)))
            alive.append(b)
        # Where the gaps add up to at most the unit of offsets, every position satisfies one of them.
        return sorted((p for p in found if p.above + p.below > self.unit), key=lambda p: (p.a, p.b))

    def _pair(self, a: int, b: int) -> Pair:
        above = self.rules.get((a, b), self.rounded[a])
        below = self.rules.get((b, a), self.rounded[b])
        return Pair(a, b, above, below)

    def height(self, offsets: Sequence[int]) -> int:
        return max((x + size for x, size in zip(offsets, self.size, strict=True)), default=0)

    def offsets(self, chosen: Sequence[int]) -> tuple[int, ...]:
        """Offsets of all buffers of the problem, those of empty ones being 0."""
        found = [0] * len(self.problem.buffers)
        for n, x in zip(self.members, chosen, strict=True):
            found[n] = x
        return tuple(found)

    def loads(self) -> dict[int, int]:
        """The sum of the sizes of the living buffers, at every step where one begins to live."""
        count = range(len(self.size))
        return {
            now: sum(self.size[n] for n in count if self.lower[n] <= now < self.upper[n])
            for now in sorted(set(self.lower))
        }

    def load_bound(self) -> int:
        """The most bytes that live at one step; holds for several pools together, too."""
        return max((need for need, _ in self._needs()), default=0)

    def bound(self) -> int:
        """The largest joint need of the buffers that live at one step.

        Counted in bytes, and counted in units of offsets, where all but the topmost buffer count in full.
        """
        most = max((max(needs) for needs in self._needs()), default=0)
        return round_up(max(most, max(self.size, default=0)), self.grain)

    def _needs(self) -> Iterator[tuple[int, int]]:
        """(bytes, bytes in units less the topmost buffer's padding) at every step where a buffer begins to live."""
        for now in sorted(set(self.lower)):
            alive = [n for n in range(len(self.size)) if self.lower[n] <= now < self.upper[n]]
            rules = [(o, i, gap) for (o, i), gap in self.rules.items() if self.lower[o] == now]
            stated = [(o, i, self._distance[o, i]) for o, i, _ in rules]
            need = sum(self.size[n] for n in alive) - saved_bytes(stated, self.size)
            units = sum(self.rounded[n] for n in alive) - saved_bytes(rules, self.rounded)
            yield need, units - max(self.rounded[n] - self.size[n] for n in alive)
