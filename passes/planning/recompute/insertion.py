"""A sequence under repair: what inserting operators at a step would do to its memory, answered fast."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.passes.planning.recompute.sequence import Ints, SequenceModel


@dataclass(frozen=True)
class Gap:
    """A copy that lies idle: between two accesses, or after the last one up to the end.

    Attributes:
        storage: whose copy.
        last: the step of the access before the gap.
        next: the step of the access after it.
    """

    storage: int
    last: int
    next: int


class Draft:
    """A sequence and its *excess*: the sum over all steps of the bytes above the budget.

    Attributes:
        sequence: operators as they run.
        over: bytes above the budget at every step, negative below it.
        excess: the sum of the positive ones.
    """

    def __init__(self, model: SequenceModel, work: Sequence[int], budget: int, sequence: Ints) -> None:
        self.model, self.work, self.budget = model, work, budget
        self._size: list[int] = model.size.tolist()
        self.replace(sequence)

    def replace(self, sequence: Ints) -> None:
        """Go on with another sequence."""
        profile = self._profile = self.model.profile(sequence)
        self.sequence = sequence
        self.over = profile.load - self.budget
        self._above = np.maximum(self.over, 0)
        self.excess = int(self._above.sum())
        self._through = profile.through.tolist()
        self._step: list[int] = profile.step.tolist()
        self._first: list[bool] = profile.first.tolist()
        self._bounds = np.searchsorted(profile.storage, np.arange(len(self._size) + 1)).tolist()

    @property
    def added(self) -> int:
        """Work beyond the first executions."""
        total: int = sum(self.work[v] for v in self.sequence.tolist())
        return total - sum(self.work)

    def idle(self, at: int) -> list[Gap]:
        """The gaps around a step, of copies that can be computed again."""
        p = self._profile
        inside = (
            (p.step[:-1] < at) & (p.step[1:] > at) & ~p.first[1:] & (self.model.maker[p.storage[1:]] >= 0)
        )
        found = np.flatnonzero(inside)
        return [
            Gap(s, a, b)
            for s, a, b in zip(
                p.storage[found].tolist(), p.step[found].tolist(), p.step[found + 1].tolist(), strict=True
            )
        ]

    def relief(self, gap: Gap) -> int:
        """By how much the excess falls if the copy is not there in the gap."""
        return int(np.minimum(self._above[gap.last + 1 : gap.next], self._size[gap.storage]).sum())

    def before(self, storage: int, at: int) -> tuple[int, bool]:
        """(the last access before a step, whether the copy is needed at the step or later)."""
        low, high = self._bounds[storage], self._bounds[storage + 1]
        k = bisect_left(self._step, at, low, high)
        return self._step[k - 1] if k > low else -1, low < k < high and not self._first[k]

    def stretch(self, storage: int, last: int, at: int) -> int:
        """By how much the excess grows if a copy stays from after its last access up to before a step."""
        if last + 1 >= at:
            return 0
        over = self.over[last + 1 : at] + self._size[storage]
        return int(np.maximum(over, 0).sum()) - int(self._above[last + 1 : at].sum())

    def change(self, at: int, block: Sequence[int]) -> int:
        """By how much the excess grows if these operators run before a step too (overlaps left aside)."""
        size = self._size
        stays: dict[int, tuple[int, int]] = {}  # dead copies: last access before, last one in the block
        made: dict[int, tuple[int, int]] = {}  # new copies: creation and last access in the block
        parted: list[tuple[int, int]] = []  # (last access before, bytes) of living copies that are replaced
        end = len(block)
        for i, v in enumerate(block):
            for s in self.model.reads[v]:
                if s in made:
                    made[s] = (made[s][0], max(made[s][1], i))
                elif s in stays:
                    stays[s] = (stays[s][0], i)
                else:
                    last, alive = self.before(s, at)
                    if not alive:
                        stays[s] = (last, i)
            for s in self.model.creates[v]:
                last, alive = self.before(s, at)
                if alive:
                    parted.append((last, size[s]))
                made[s] = (i, end if alive else i)
        through = self._through[at] - sum(bytes for _, bytes in parted)
        grown = 0
        for i, v in enumerate(block):
            load = through + int(self.model.workspace[v])
            load += sum(size[s] for s, (_, last) in stays.items() if last >= i)
            load += sum(size[s] for s, (first, last) in made.items() if first <= i <= last)
            grown += max(load - self.budget, 0)
        start = min([at - 1, *(last for last, _ in parted), *(last for last, _ in stays.values())]) + 1
        if start < at:
            over = self.over[start:at].copy()
            for last, bytes in parted:
                over[last + 1 - start :] -= bytes
            for s, (last, _) in stays.items():
                over[last + 1 - start :] += size[s]
            grown += int(np.maximum(over, 0).sum()) - int(self._above[start:at].sum())
        return grown

    def insert(self, at: int, block: Sequence[int]) -> None:
        """Let these operators run before a step too."""
        self.replace(np.insert(self.sequence, at, block))
