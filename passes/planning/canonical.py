"""Placement below a given height by depth-first search over canonical placements.

After Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning" (ASPLOS 2023).
In a canonical placement every buffer rests on another or on the floor, and buffers are placed by rising offset, so that
each lies at the lowest offset that those placed before allow. Exact reductions:

- *Sections*: between two starts of lives the set of living buffers is constant. A section's floor is what nothing
  can lie below any more: its highest placed buffer, or the least offset that one of its waiting buffers can have.
  The floor and the bytes still waiting must stay within the height. Floors raise offsets, which raise floors.
- *Dominance*: no buffer is placed so high that a waiting one would fit below it.
- *Hats*: a buffer with nothing waiting beside it is placed without alternatives.
- *Parts*: where no waiting buffer spans two sections, both sides are independent.

The order breaks ties. The search is for equally aligned buffers without overlap rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.layout import Layout
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_NEVER = np.int64(1 << 40)


def applies(layout: Layout) -> bool:
    """Whether the search can treat this problem."""
    return not layout.rules and len(set(layout.step)) == 1


@dataclass(frozen=True)
class _Part:
    """Waiting buffers, by rank, and the sections that they span, numbered from 0.

    Attributes:
        ids: numbers in the layout.
        size: in grains.
        first, end: the sections of each buffer, half-open.
        spans: first and end of all buffers in turn, for `reduceat`.
        members, starts: the buffers of all sections one after the other, and where each section begins.
    """

    ids: Ints
    size: Ints
    first: Ints
    end: Ints
    spans: Ints = field(init=False)
    members: Ints = field(init=False)
    starts: Ints = field(init=False)

    def __post_init__(self) -> None:
        sections = int(self.end.max())
        inside = [
            np.flatnonzero((self.first <= s) & (s < self.end)).astype(np.int64) for s in range(sections)
        ]
        lengths = [len(members) for members in inside]
        object.__setattr__(self, "spans", np.stack([self.first, self.end], axis=1).ravel())
        object.__setattr__(self, "members", np.concatenate(inside))
        object.__setattr__(self, "starts", np.cumsum([0, *lengths[:-1]]))


@dataclass(frozen=True, slots=True)
class _State:
    """What is open within a part: least offsets, floors (with a last one that is no section), waiting bytes."""

    lowest: Ints
    floor: Ints
    waiting: Ints
    free: NDArray[np.bool_]


@dataclass(slots=True)
class _Frame:
    """A node of the search.

    Attributes:
        candidates: buffers to be tried, the next one last.
        others: parts to be done when this one is.
        base: to how many frames the stack shrinks when the candidates are exhausted.
    """

    part: _Part
    state: _State
    candidates: list[int]
    others: tuple[tuple[_Part, _State], ...]
    base: int


class Search:
    """The search in one order of the buffers, which can be continued.

    Attributes:
        nodes: nodes so far.
        offsets: set once found, in bytes.
        refuted: proven that there is no placement.
    """

    def __init__(self, layout: Layout, target: int, order: Sequence[int]) -> None:
        self.layout = layout
        self.nodes = 0
        self.offsets: list[int] | None = None
        self.refuted = False
        self._unit = layout.step[0] if layout.step else 1
        self._top = target // self._unit
        # A padded buffer may end above the last whole unit: then nothing is proven.
        self._exact = all(size % self._unit == 0 for size in layout.size)
        self._at = np.zeros(len(layout.size), dtype=np.int64)
        self._stack: list[_Frame] = []
        starts = np.array(sorted(set(layout.lower)), dtype=np.int64)
        ids = np.array(order, dtype=np.int64)
        size = -(-np.array(layout.size, dtype=np.int64)[ids] // self._unit)
        first = np.searchsorted(starts, np.array(layout.lower)[ids])
        end = np.searchsorted(starts, np.array(layout.upper)[ids])
        waiting = np.zeros(len(starts) + 1, dtype=np.int64)
        for s, a, b in zip(size, first, end, strict=True):
            waiting[a:b] += s
        free = np.ones(len(ids), dtype=np.bool_)
        whole = _State(np.zeros(len(ids), dtype=np.int64), np.zeros_like(waiting), waiting, free)
        if (waiting > self._top).any():
            self.refuted = self._exact
        else:
            self._enter(_split(ids, size, first, end, whole), 0)

    @property
    def over(self) -> bool:
        return self.refuted or self.offsets is not None or not self._stack

    def run(self, nodes: int, clock: Clock) -> None:
        """Goes on for at most so many nodes.

        Raises:
            TimeUpError: the limit is over.
        """
        limit = self.nodes + nodes
        while self._stack and self.offsets is None and self.nodes < limit:
            if self.nodes % 64 == 0:
                clock.check()
            frame = self._stack[-1]
            if not frame.candidates:
                del self._stack[frame.base :]
                continue
            self.nodes += 1
            self._try(frame, frame.candidates.pop())
        if not self._stack and self.offsets is None:
            self.refuted = self._exact

    def _try(self, frame: _Frame, n: int) -> None:
        """Places one buffer and opens what is left."""
        part, old = frame.part, frame.state
        first, end, size = part.first[n], part.end[n], part.size[n]
        offset = old.lowest[n]
        free = old.free.copy()
        free[n] = False
        waiting = old.waiting.copy()
        waiting[first:end] -= size
        if not waiting[first:end].any():
            frame.candidates.clear()  # it has no hat: another place is no better
        floor = old.floor.copy()
        floor[first:end] = offset + size
        self._at[part.ids[n]] = offset
        lowest = np.maximum(old.lowest, offset)
        state = self._lift(part, lowest, floor, waiting, free)
        if state is None:
            return
        depth = len(self._stack)
        if not free.any():
            self._enter(frame.others, depth)
            return
        # Who spans the border between two sections?
        bridges = np.zeros(len(floor) + 1, dtype=np.int64)
        np.add.at(bridges, part.first[free] + 1, 1)
        np.add.at(bridges, part.end[free], -1)
        if (np.cumsum(bridges)[first + 1 : end] == 0).any():
            ids, sizes = part.ids[free], part.size[free]
            inner = _State(state.lowest[free], state.floor, state.waiting, state.free[free])
            parts = _split(ids, sizes, part.first[free], part.end[free], inner)
            self._enter((*parts, *frame.others), depth)
        else:
            self._push(part, state, frame.others, depth, (int(offset), n))

    def _lift(
        self, part: _Part, lowest: Ints, floor: Ints, waiting: Ints, free: NDArray[np.bool_]
    ) -> _State | None:
        """Floors and least offsets until nothing changes; None where the height is exceeded."""
        while True:
            raised = np.maximum.reduceat(floor, part.spans)[::2]
            lowest = np.maximum(lowest, raised)
            least = np.minimum.reduceat(np.where(free, lowest, _NEVER)[part.members], part.starts)
            least[least == _NEVER] = 0
            higher = np.maximum(floor[:-1], least)
            if (higher + waiting[:-1] > self._top).any():
                return None
            if (higher == floor[:-1]).all():
                return _State(lowest, floor, waiting, free)
            floor = np.append(higher, 0)

    def _enter(self, parts: tuple[tuple[_Part, _State], ...], base: int) -> None:
        """Begins with the first of several independent parts; its failure is that of whoever split them."""
        if not parts:
            self.offsets = [int(x) * self._unit for x in self._at]
            return
        (part, state), *others = parts
        self._push(part, state, tuple(others), base, (-1, -1))

    def _push(
        self,
        part: _Part,
        state: _State,
        others: tuple[tuple[_Part, _State], ...],
        base: int,
        after: tuple[int, int],
    ) -> None:
        """Opens a node: who may come next, after an offset and a rank in the canonical order."""
        waiting = np.flatnonzero(state.free)
        lowest = state.lowest[waiting]
        height = (lowest + part.size[waiting]).min()
        fit = (lowest < height) & ((lowest > after[0]) | ((lowest == after[0]) & (waiting > after[1])))
        chosen = waiting[fit]
        by_offset = np.argsort(lowest[fit], kind="stable")
        candidates: list[int] = chosen[by_offset][::-1].tolist()
        self._stack.append(_Frame(part, state, candidates, others, base))


def _split(ids: Ints, size: Ints, first: Ints, end: Ints, state: _State) -> tuple[tuple[_Part, _State], ...]:
    """The waiting buffers, in groups that share no section."""
    return tuple(_split_into(ids, size, first, end, state))


def _split_into(
    ids: Ints, size: Ints, first: Ints, end: Ints, state: _State
) -> Iterator[tuple[_Part, _State]]:
    order = np.argsort(first, kind="stable")
    reach = np.maximum.accumulate(end[order])
    fresh = np.concatenate([[True], first[order][1:] >= reach[:-1]])
    label = np.empty(len(ids), dtype=np.int64)
    label[order] = np.cumsum(fresh) - 1
    for group in range(int(label.max(initial=-1)) + 1):
        chosen = label == group
        low, high = int(first[chosen].min()), int(end[chosen].max())
        part = _Part(ids[chosen], size[chosen], first[chosen] - low, end[chosen] - low)
        floor, waiting = state.floor[low : high + 1].copy(), state.waiting[low : high + 1].copy()
        floor[-1] = waiting[-1] = 0
        yield part, _State(state.lowest[chosen], floor, waiting, state.free[chosen])
