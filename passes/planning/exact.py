"""Placement by constraint programming: one Boolean per conflicting pair says who lies above whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.cpsat import PlacementModel, prepare, run
from dnncc.passes.planning.layout import Layout


@dataclass(frozen=True)
class Exact:
    """What the solver found: a placement as asked (or None), a lower bound, and whether Ctrl-C ended the
    search."""

    offsets: list[int] | None
    bound: int
    interrupted: bool


def solve_exactly(
    layout: Layout,
    start: Sequence[int],
    bound: int,
    target: int | None,
    effort: float,
    report: Callable[[int, int], None],
    clock: Clock | None = None,
    threads: int = 1,
) -> Exact:
    """Looks for a placement no higher than `target`, or for the lowest one below `start`.

    A fixed seed and a deterministic limit make the answer independent of the clock, as long as no time limit is
    given and there is one worker.

    Args:
        layout: the problem.
        start: valid offsets.
        bound: bytes that every placement needs, a multiple of the grain.
        target: a height of at least `bound`, or None to minimise.
        effort: CP-SAT's deterministic time; a unit takes one to ten seconds.
        report: called with (height, bound) at every improvement.
        clock: when to stop at the latest.
        threads: workers.
    """
    from ortools.sat.python import cp_model

    grain, step = layout.grain, layout.step
    top = layout.height(start) - grain if target is None else target // grain * grain

    placing = PlacementModel(layout, top)
    model = placing.model
    height = model.new_int_var(bound // grain, top // grain, "height")
    for n, (x, size) in enumerate(zip(placing.at, layout.size, strict=True)):
        model.add(step[n] // grain * x + size // grain <= height)
        model.add_hint(x, start[n] // step[n])
    placing.separate(layout.pairs, start)
    if target is None:
        model.minimize(height)

    solver = prepare(threads)
    if math.isfinite(effort):
        solver.parameters.max_deterministic_time = effort
    if clock is not None and clock.left is not None:
        solver.parameters.max_time_in_seconds = clock.left

    class Watch(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]  # the library is not typed
        def on_solution_callback(self) -> None:
            known = bound if target is not None else math.ceil(self.best_objective_bound) * grain
            report(self.value(height) * grain, max(bound, known))

    status, interrupted = run(solver, model, Watch())
    if status == cp_model.INFEASIBLE:
        return Exact(None, top + grain, interrupted)
    if target is None:
        bound = max(bound, math.ceil(solver.best_objective_bound) * grain)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Exact(placing.offsets(solver), bound, interrupted)
    return Exact(None, bound, interrupted)
