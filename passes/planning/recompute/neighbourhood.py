"""Large-neighbourhood search: take some recomputations out, repair with noise, keep what is no worse."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.recompute.greedy import prune, repair, repeats
from dnncc.passes.planning.recompute.insertion import Draft

_SIZES = (1, 2, 3, 4, 6, 8, 12)
_NOISES = (0.3, 0.6, 0.9)
_RESTART = 100


def improve(draft: Draft, clock: Clock, rounds: int, rng: Random, offer: Callable[[Draft], bool]) -> None:
    """Search around a draft that keeps within its budget.

    Args:
        draft: the start; it ends as something else.
        clock: checked all the time.
        rounds: how many neighbours to try.
        rng: the only source of chance.
        offer: gets every draft within the budget; True ends the search.
    """
    best = here = draft.sequence
    best_added = here_added = draft.added
    for number in range(rounds):
        steps = repeats(here.tolist())
        if not steps:
            return
        count = min(len(steps), rng.choice(_SIZES))
        if rng.random() < 0.5:
            first = rng.randrange(len(steps) - count + 1)
            gone = steps[first : first + count]
        else:
            gone = rng.sample(steps, count)
        draft.replace(np.delete(here, gone))
        if repair(draft, clock, 3 * count + 10, rng.choice(_NOISES), rng):
            prune(draft, clock)
            added = draft.added
            slack = 0.002 * best_added if rng.random() < 0.3 else 0.0
            if added <= here_added + slack:
                here, here_added = draft.sequence, added
            if added < best_added:
                best, best_added = draft.sequence, added
            if offer(draft):
                return
        if number % _RESTART == _RESTART - 1:
            here, here_added = best, best_added
