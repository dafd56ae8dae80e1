"""Which stage runs in parts, in which form, over which grid: every choice is laid out, none is estimated."""

from __future__ import annotations

from collections.abc import Iterator

from dnncc.passes.planning.patch.check import check
from dnncc.passes.planning.patch.problem import Ending, PatchProblem, PatchSolution, StagePlan
from dnncc.passes.planning.patch.schedule import lay_out_strips, rows_of


def solve(problem: PatchProblem) -> PatchSolution:
    """The best choice; one without a stage where none is better. It has been checked."""
    plain = PatchSolution(None, None, problem.peak, 0)
    return min([plain, *front(problem)], key=lambda found: _merit(problem, found))


def front(problem: PatchProblem) -> list[PatchSolution]:
    """The choices below the peak of the whole network that no other one beats in peak and added work, by peak.

    All have been checked. The first one's peak is the least that any choice within ``most_added`` has.
    """
    best: list[PatchSolution] = []
    for index, ending in enumerate(problem.endings):
        for plan in _plans(problem, ending):
            found = PatchSolution(index, plan, peak_with(ending, plan), plan.macs - ending.stage.macs)
            if found.added > problem.most_added or found.peak >= problem.peak:
                continue
            if not any(known.peak <= found.peak and known.added <= found.added for known in best):
                best = [k for k in best if k.peak < found.peak or k.added < found.added] + [found]
    for found in best:
        assert found.ending is not None and found.plan is not None
        check(problem.endings[found.ending].stage, found.plan)
    return sorted(best, key=lambda found: found.peak)


def peak_with(ending: Ending, plan: StagePlan) -> int:
    """The network's peak with this stage in parts, in bytes."""
    return max(ending.rest, ending.beside + plan.workspace)


def _merit(problem: PatchProblem, found: PatchSolution) -> tuple[int, int, int]:
    """Smaller is better."""
    if problem.budget is None or found.peak > problem.budget:
        return 1, found.peak, found.added
    return 0, found.added, found.peak


def _plans(problem: PatchProblem, ending: Ending) -> Iterator[StagePlan]:
    """Every layout of a stage, the simplest ones first."""
    stage = ending.stage
    output = stage.images[-1]
    for form in problem.forms:
        most_bands = 1 if form == "rows" else min(problem.grids[0], output.height)
        for bands in range(1, most_bands + 1):
            rows = rows_of(stage, form, bands)
            for strips in range(1, min(problem.grids[1], output.width) + 1):
                if form == "rows" or bands * strips > 1:
                    yield lay_out_strips(stage, form, rows, strips)
