"""Static placement: offsets of buffers with known lifetimes in one arena of least height.

Stages, until the height meets the bound: first-fit in several orders, local search over orders, constraint
programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.passes.planning.check import check_place
from dnncc.passes.planning.exact import solve_exactly
from dnncc.passes.planning.firstfit import compact, first_fit, greedy, local_search
from dnncc.passes.planning.layout import Layout
from dnncc.passes.planning.problem import PlaceProblem, PlaceSolution, Progress

DEFAULT_EFFORT = 2.0
_VISITS = 2_000_000
"""Neighbours that the local search may visit per unit of effort: about a second."""


@dataclass
class _Incumbent:
    """What is known so far; every stage improves it in place."""

    layout: Layout
    offsets: Sequence[int]
    height: int
    bound: int
    method: str = "first-fit"
    placements: int = 1

    def closed(self) -> bool:
        """Whether nothing more is wanted, or nothing more can be had."""
        return self.height <= max(self.bound, self.layout.problem.capacity or 0)

    def offer(self, offsets: Sequence[int], method: str) -> bool:
        """Takes a valid placement; returns whether the search may stop."""
        self.placements += 1
        height = self.layout.height(offsets)
        if height < self.height:
            self.offsets, self.height, self.method = tuple(offsets), height, method
        return self.closed()


def _silent(height: int, bound: int) -> None:
    """No progress wanted."""


def _stages(layout: Layout, best: _Incumbent, effort: float, progress: Progress) -> bool:
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
    if not best.closed() and effort:
        local_search(layout, starts[:2], int(_VISITS * effort), offer)
    if best.closed() or not effort:
        return False
    # A tight target is easier to reach, or to refute, than a minimum is to prove.
    for target in (max(best.bound, layout.problem.capacity or 0), None):
        answer = solve_exactly(layout, best.offsets, best.bound, target, effort / 2, progress)
        if answer.offsets is not None:
            offer(compact(layout, answer.offsets), "cp-sat")
        best.bound = min(answer.bound, best.height)
        if answer.interrupted or best.closed():
            return answer.interrupted
    return False


def solve(
    problem: PlaceProblem, effort: float = DEFAULT_EFFORT, progress: Progress | None = None
) -> PlaceSolution:
    """A placement of least height, or the best one found with its proven bound.

    With a capacity, the first placement that fits ends the search. KeyboardInterrupt ends it too and keeps
    the best placement and bound so far.

    Args:
        problem: the buffers and which of them may overlap.
        effort: a deterministic limit; 1 takes up to some ten seconds on large problems, 0 stops after
            first-fit.
        progress: called with (height so far, bound).

    Raises:
        InternalError: the problem is not well formed, or the solution fails its check.
    """
    layout = Layout(problem)
    offsets = first_fit(layout, range(len(layout.size)))
    best = _Incumbent(layout, offsets, layout.height(offsets), 0)
    try:
        interrupted = _stages(layout, best, effort, progress or _silent)
    except KeyboardInterrupt:
        interrupted = True
    solution = PlaceSolution(
        layout.offsets(best.offsets),
        best.height,
        best.bound,
        "optimal" if best.bound == best.height else "feasible",
        best.method,
        best.placements,
        len(layout.pairs),
        interrupted,
    )
    check_place(problem, solution)
    return solution
