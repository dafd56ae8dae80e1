"""Placement heuristics: lowest feasible position in a given order, and local search over orders."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from dnncc.passes.planning.layout import Layout, round_up

Offer = Callable[[Sequence[int], str], bool]
"""Takes offsets and the method's name; True once the placement is good enough to stop."""

_TRIALS_PER_BUFFER = 100


@dataclass(frozen=True)
class Start:
    """What a heuristic placement is made of: the order of the buffers and the ceiling of `first_fit`."""

    order: list[int]
    ceiling: int


def first_fit(layout: Layout, order: Sequence[int], ceiling: int = 0) -> list[int]:
    """Places the buffers one after the other, each as low as its conflicts with those already placed allow.

    With a ceiling, a buffer that cannot rest on the floor hangs from the ceiling where that is free:
    consecutive tensors of a chain then alternate between the ends, as they should.
    """
    offsets = [-1] * len(layout.size)
    for b in order:
        # Between off(c) - gap(b below c) and off(c) + gap(b above c), both exclusive, b may not start.
        blocked = [
            (offsets[c] - under, offsets[c] + over)
            for c, over, under in layout.neighbours[b]
            if offsets[c] >= 0
        ]
        blocked.sort()
        x = 0
        for low, high in blocked:
            if x <= low:
                break
            if x < high:
                x = round_up(high, layout.alignment[b])
        hung = (ceiling - layout.size[b]) // layout.alignment[b] * layout.alignment[b]
        if x and hung > x and not any(low < hung < high for low, high in blocked):
            x = hung
        offsets[b] = x
    return offsets


def compact(layout: Layout, offsets: Sequence[int]) -> list[int]:
    """Moves every buffer down as far as possible without changing who lies above whom in any conflicting
    pair."""
    above: list[list[tuple[int, int]]] = [[] for _ in offsets]
    for p in layout.pairs:
        if offsets[p.b] >= offsets[p.a] + p.above:
            above[p.b].append((p.a, p.above))
        else:
            above[p.a].append((p.b, p.below))
    order = sorted(range(len(offsets)), key=lambda n: offsets[n])
    lowest = [0] * len(offsets)
    changed = True
    while changed:  # one sweep where all gaps are positive; negative ones may need more
        changed = False
        for n in order:
            x = max((lowest[m] + gap for m, gap in above[n]), default=0)
            x = round_up(max(x, 0), layout.alignment[n])
            if x > lowest[n]:
                lowest[n], changed = x, True
    return lowest


def _orders(layout: Layout) -> Iterator[list[int]]:
    """Orders that are good for one problem or another: by size, area, demand around the buffer, life,
    time."""
    size, lower, upper = layout.size, layout.lower, layout.upper
    count = range(len(size))
    life = [up - low for low, up in zip(lower, upper, strict=True)]
    around = [size[n] + sum(size[c] for c, _, _ in layout.neighbours[n]) for n in count]
    load = layout.loads()
    demand = [max(load[now] for now in load if lower[n] <= now < upper[n]) for n in count]
    for key in (
        lambda n: (-size[n], -life[n]),
        lambda n: (-size[n] * life[n], 0),
        lambda n: (-around[n], -size[n]),
        lambda n: (-demand[n], -size[n]),
        lambda n: (-life[n], -size[n]),
        lambda n: (lower[n], -size[n]),
        lambda n: (-upper[n], -size[n]),
    ):
        yield sorted(count, key=key)


def greedy(layout: Layout, bound: int, offer: Offer) -> list[Start]:
    """Offers two placements per order until one suffices; returns what was tried, from best to worst."""
    found = []
    for order, ceiling in product(_orders(layout), (0, bound)):
        offsets = compact(layout, first_fit(layout, order, ceiling))
        found.append((layout.height(offsets), Start(order, ceiling)))
        if offer(offsets, "first-fit"):
            break
    return [start for _, start in sorted(found, key=lambda item: item[0])]


def local_search(layout: Layout, starts: Sequence[Start], work: int, offer: Offer) -> None:
    """Moves a buffer that reaches the top before one of its neighbours, and keeps what is not worse.

    Args:
        starts: starting points, which share the work.
        work: how many visits of a conflicting neighbour in total: a deterministic measure, unlike seconds.
    """
    price = 2 * len(layout.pairs) + len(layout.size)
    trials = min(work // len(starts) // price, _TRIALS_PER_BUFFER * len(layout.size))
    rng = random.Random(0)
    for start in starts:
        order = start.order
        offsets = first_fit(layout, order, start.ceiling)
        height = layout.height(offsets)
        for _ in range(trials):
            tops = [n for n in order if offsets[n] + layout.size[n] == height and layout.neighbours[n]]
            if not tops:
                return  # a buffer without conflicts sets the height
            top = rng.choice(tops)
            trial = [n for n in order if n != top]
            trial.insert(trial.index(rng.choice(layout.neighbours[top])[0]), top)
            moved = first_fit(layout, trial, start.ceiling)
            if layout.height(moved) <= height:
                order, offsets, height = trial, moved, layout.height(moved)
                if offer(offsets, "local-search"):
                    return
