"""Static placement: offsets of buffers with known lifetimes in one arena of least height.

Stages, until the height meets the bound: first-fit in several orders, local search over orders, tree searches for
a placement at the bound (or the capacity), constraint programming for the least height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dnncc.passes.planning import portfolio
from dnncc.passes.planning.check import check_place
from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.exact import solve_exactly
from dnncc.passes.planning.firstfit import compact, first_fit, greedy, local_search
from dnncc.passes.planning.layout import Layout
from dnncc.passes.planning.pools import solve_pools
from dnncc.passes.planning.problem import PlaceProblem, PlaceSolution, Progress

DEFAULT_EFFORT = 2.0
_VISITS = 2_000_000
"""Neighbours that the local search may visit per unit of effort: about a second."""
_LOCAL_SHARE = 1 / 8
"""Of that, before the searches for a tight target; the rest after them."""


@dataclass
class _Incumbent:
    """What is known so far; every stage improves it in place."""

    layout: Layout
    offsets: Sequence[int]
    height: int
    bound: int
    method: str = "first-fit"
    placements: int = 1
    clock: Clock = field(default_factory=Clock)

    def closed(self) -> bool:
        """Whether nothing more is wanted, or nothing more can be had."""
        return self.height <= max(self.bound, self.layout.problem.capacity or 0)

    def offer(self, offsets: Sequence[int], method: str) -> bool:
        """Takes a valid placement; returns whether the search may stop."""
        self.clock.check()
        self.placements += 1
        height = self.layout.height(offsets)
        if height < self.height:
            self.offsets, self.height, self.method = tuple(offsets), height, method
        return self.closed()


def _silent(height: int, bound: int) -> None:
    """No progress wanted."""


def _stages(layout: Layout, best: _Incumbent, effort: float, threads: int, progress: Progress) -> bool:
    """Runs the stages until the search may stop; returns whether Ctrl-C ended the last one."""

    def offer(offsets: Sequence[int], method: str) -> bool:
        before = best.height
        stop = best.offer(offsets, method)
        if best.height < before:
            progress(best.height, best.bound)
        return stop

    best.bound = layout.bound()
    progress(best.height, best.bound)
    if best.closed():
        return False
    starts = greedy(layout, best.bound, offer)
    if best.closed() or not effort:
        return False
    local_search(layout, starts[:2], int(_VISITS * min(effort, DEFAULT_EFFORT) * _LOCAL_SHARE), offer)
    if best.closed():
        return False
    # A tight target is easier to reach, or to refute, than a minimum is to prove.
    target = max(best.bound, layout.problem.capacity or 0)
    found = portfolio.search(layout, target, effort, best.clock, threads)
    if found.offsets is not None:
        offer(compact(layout, found.offsets), "branch-and-bound")
    elif found.refuted:
        best.bound = min(target // layout.grain * layout.grain + layout.grain, best.height)
    if found.interrupted or best.closed():
        return found.interrupted
    rest = _VISITS * min(effort, DEFAULT_EFFORT) * (1 - _LOCAL_SHARE)
    local_search(layout, starts[:2], int(rest), offer)
    if best.closed():
        return False
    for goal in (None,) if found.refuted else (target, None):
        answer = solve_exactly(
            layout, best.offsets, best.bound, goal, effort / 2, progress, best.clock, threads
        )
        if answer.offsets is not None:
            offer(compact(layout, answer.offsets), "cp-sat")
        best.bound = min(answer.bound, best.height)
        if answer.interrupted or best.closed():
            return answer.interrupted
    return False


def solve(
    problem: PlaceProblem,
    effort: float | None = None,
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> PlaceSolution:
    """A placement of least height, or in pools of least cost, or the best one found with its proven bound.

    With a capacity, the first placement that fits ends the search. KeyboardInterrupt and the time limit end it
    too and keep the best placement and bound so far.

    Args:
        problem: the buffers and which of them may overlap.
        effort: a deterministic limit; 1 takes up to some ten seconds on large problems, 0 stops after
            first-fit. None is DEFAULT_EFFORT, or no such limit where there is a time limit.
        time_limit: seconds after which the search ends. Without one (and with one thread) the answer does not
            depend on the clock.
        threads: that the search may use.
        progress: called with (height so far, bound), with pools (cost so far, bound).

    Raises:
        InternalError: the problem is not well formed, or the solution fails its check.
    """
    clock = Clock(time_limit)
    if effort is None:
        effort = DEFAULT_EFFORT if time_limit is None else math.inf
    layout = Layout(problem)
    if problem.pools:

        def place_one(part: PlaceProblem) -> PlaceSolution:
            return _solve_one(Layout(part), effort, clock, threads, _silent)

        solution = solve_pools(problem, layout, place_one, clock, threads, progress or _silent)
    else:
        solution = _solve_one(layout, effort, clock, threads, progress or _silent)
    check_place(problem, solution)
    return solution


def _solve_one(
    layout: Layout, effort: float, clock: Clock, threads: int, progress: Progress
) -> PlaceSolution:
    """Without pools."""
    problem = layout.problem
    offsets = first_fit(layout, range(len(layout.size)))
    best = _Incumbent(layout, offsets, layout.height(offsets), 0, clock=clock)
    try:
        interrupted = _stages(layout, best, effort, threads, progress)
    except (KeyboardInterrupt, TimeUpError):
        interrupted = True
    return PlaceSolution(
        layout.offsets(best.offsets),
        best.height,
        best.bound,
        "optimal" if best.bound == best.height else "feasible",
        best.method,
        best.placements,
        len(layout.pairs),
        interrupted,
        pools=(0,) * len(problem.buffers),
        heights=(best.height,),
        fits=problem.capacity is None or best.height <= problem.capacity,
    )
