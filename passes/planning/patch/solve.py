"""Which stage runs in parts, in which form, over which grid: every choice is laid out, none is estimated."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from dnncc.passes.planning.patch.check import check
from dnncc.passes.planning.patch.problem import Ending, Form, PatchProblem, PatchSolution, Stage, StagePlan
from dnncc.passes.planning.patch.schedule import RowProgram, lay_out_strips, rows_of, work


def solve(problem: PatchProblem) -> PatchSolution:
    """The best choice; one without a stage where none is better. It has been checked."""
    plain = PatchSolution(None, None, problem.peak, 0)
    return min([plain, *front(problem)], key=lambda found: _merit(problem, found))


def front(problem: PatchProblem) -> list[PatchSolution]:
    """The choices below the peak of the whole network that no other one beats in peak and added work, by peak.

    All have been checked. The first one's peak is the least that any choice within ``most_added`` has.
    """
    best: list[PatchSolution] = []

    def beaten(peak: int, added: int) -> bool:
        return peak >= problem.peak or any(k.peak <= peak and k.added <= added for k in best)

    for index, ending in enumerate(problem.endings):
        for form, bands, strips in _choices(problem, ending):
            added = work(ending.stage, form, (bands, strips)) - ending.stage.macs
            # Without any workspace it would need so much.
            if added > problem.most_added or beaten(max(ending.rest, ending.beside), added):
                continue
            plan = lay_out_strips(ending.stage, form, _rows(ending.stage, form, bands), strips)
            peak = peak_with(ending, plan)
            if not beaten(peak, added):
                best = [k for k in best if k.peak < peak or k.added < added]
                best.append(PatchSolution(index, plan, peak, added))
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


def _choices(problem: PatchProblem, ending: Ending) -> Iterator[tuple[Form, int, int]]:
    """Forms and grids of a stage, the simplest ones first."""
    output = ending.stage.images[-1]
    for form in problem.forms:
        most_bands = 1 if form == "rows" else min(problem.grids[0], output.height)
        for bands in range(1, most_bands + 1):
            for strips in range(1, min(problem.grids[1], output.width) + 1):
                if form == "rows" or bands * strips > 1:
                    yield form, bands, strips


@lru_cache(maxsize=2)
def _rows(stage: Stage, form: Form, bands: int) -> RowProgram:
    """The program that grids which differ in their strips have in common."""
    return rows_of(stage, form, bands)
