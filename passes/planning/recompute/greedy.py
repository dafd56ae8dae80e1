"""Greedy insertion, and the deletion of what turns out not to be needed.

At the worst step something that lies idle has to go and to be computed again before its next use. The
insertion that takes most excess per work is made, until nothing exceeds the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.recompute.insertion import Draft, Gap

_DEPTH = 6
_LONGEST = 12


@dataclass(frozen=True)
class _Insertion:
    """Operators to insert before a step, and by how much the excess falls per work."""

    at: int
    block: tuple[int, ...]
    score: float
    price: float


def repair(draft: Draft, clock: Clock, limit: int, noise: float = 0.0, rng: Random | None = None) -> bool:
    """Insert recomputations until the draft keeps within its budget; False where nothing helps any more.

    Args:
        draft: changed in place.
        clock: checked at every insertion.
        limit: the largest number of insertions.
        noise: up to how much a score varies, as a fraction; 0 takes the best insertion always.
        rng: where the noise comes from.
    """
    price = 1.0
    for _ in range(limit):
        if not draft.excess:
            return True
        clock.check()
        found = _best(draft, int(np.argmax(draft.over)), price, noise, rng)
        if found is None:
            return False
        price = found.price
        before = draft.excess
        draft.insert(found.at, found.block)
        if draft.excess >= before:  # overlaps were left aside
            return False
    return not draft.excess


def _best(draft: Draft, worst: int, price: float, noise: float, rng: Random | None) -> _Insertion | None:
    ranked = []
    for number, gap in enumerate(draft.idle(worst)):
        luck = 1.0 if rng is None else rng.uniform(1 - noise, 1 + noise)
        v = int(draft.model.maker[gap.storage])
        # No insertion for the gap can score more.
        ranked.append((luck * draft.relief(gap) / (draft.work[v] + 1), -number, luck, gap, v))
    ranked.sort(key=lambda entry: entry[:2], reverse=True)
    best: _Insertion | None = None
    for most, _, luck, gap, v in ranked:
        if best is not None and most <= best.score:
            break
        for at in _places(draft, gap, v, worst):
            for block in _blocks(draft, v, at, price):
                fall = -draft.change(at, block)
                if fall <= 0:
                    continue
                work = sum(draft.work[w] for w in block) + 1
                if best is None or fall * luck / work > best.score:
                    best = _Insertion(at, block, fall * luck / work, work / fall)
    return best


def _places(draft: Draft, gap: Gap, v: int, worst: int) -> Iterator[int]:
    """Before the next use; or earlier, while what the operator reads is still there."""
    yield gap.next
    earlier = set()
    for s in draft.model.reads[v]:
        last, alive = draft.before(s, gap.next)
        if not alive and worst < last < gap.next - 1:
            earlier.add(last + 1)
    yield from sorted(earlier)


def _blocks(draft: Draft, v: int, at: int, price: float) -> Iterator[tuple[int, ...]]:
    """The operator alone, what it reads being kept; and with those that are cheaper to run again than to
    keep, at a price of work per excess."""
    yield (v,)
    block: list[int] = []
    seen: set[int] = set()

    def add(w: int, depth: int) -> None:
        for s in draft.model.reads[w]:
            maker = int(draft.model.maker[s])
            last, alive = draft.before(s, at)
            if alive or maker < 0 or maker in seen or depth == 0 or len(seen) >= _LONGEST:
                continue
            if draft.work[maker] < price * draft.stretch(s, last, at):
                seen.add(maker)
                add(maker, depth - 1)
        if w not in block:
            block.append(w)

    seen.add(v)
    add(v, _DEPTH)
    if len(block) > 1:
        yield tuple(block)


def repeats(sequence: list[int]) -> list[int]:
    """The steps of executions that are not first ones."""
    seen: set[int] = set()
    found = []
    for at, v in enumerate(sequence):
        if v in seen:
            found.append(at)
        seen.add(v)
    return found


def prune(draft: Draft, clock: Clock) -> None:
    """Delete repeated executions, the costliest first, as long as the draft keeps within its budget."""
    changed = True
    while changed:
        changed = False
        sequence = draft.sequence
        stays = np.ones(len(sequence), bool)
        steps = repeats(sequence.tolist())
        for at in sorted(steps, key=lambda i: (-draft.work[int(sequence[i])], i)):
            clock.check()
            stays[at] = False
            if draft.model.profile(sequence[stays]).peak <= draft.budget:
                changed = True
            else:
                stays[at] = True
        if changed:
            draft.replace(sequence[stays])
