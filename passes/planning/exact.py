"""Placement by constraint programming: one Boolean per conflicting pair says who lies above whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from dnncc.errors import InternalError
from dnncc.passes.planning.clock import Clock
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

    Offsets and heights are counted in the layout's steps and grain. A fixed seed and a deterministic limit
    make the answer independent of the clock, as long as no time limit is given and there is one worker.
    Buffers are rectangles in time and space besides (an input that may be overlapped, without its last step):
    it speeds up the search for tight targets.

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

    model = cp_model.CpModel()
    height = model.new_int_var(bound // grain, top // grain, "height")
    at = []
    for n, size in enumerate(layout.size):
        x = model.new_int_var(0, (top - size) // step[n], f"at{n}")
        model.add(step[n] // grain * x + size // grain <= height)
        model.add_hint(x, start[n] // step[n])
        at.append(x)
    for p in layout.pairs:
        up = model.new_bool_var(f"{p.b}above{p.a}")
        rise = (step[p.b] // grain) * at[p.b] - (step[p.a] // grain) * at[p.a]
        model.add(rise >= p.above // grain).only_enforce_if(up)
        model.add(rise <= -(p.below // grain)).only_enforce_if(~up)
        model.add_hint(up, start[p.b] >= start[p.a] + p.above)
    times, spaces = [], []
    lent = {i for _, i in layout.rules}
    for n, size in enumerate(layout.size):
        if (length := layout.upper[n] - layout.lower[n] - (n in lent)) > 0:
            place = step[n] // grain * at[n]
            times.append(model.new_fixed_size_interval_var(layout.lower[n], length, f"time{n}"))
            spaces.append(model.new_fixed_size_interval_var(place, size // grain, f"space{n}"))
    model.add_no_overlap_2d(times, spaces)
    if target is None:
        model.minimize(height)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    if math.isfinite(effort):
        solver.parameters.max_deterministic_time = effort
    if clock is not None and clock.left is not None:
        solver.parameters.max_time_in_seconds = clock.left
    # These cost much and are hardly counted in deterministic time.
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.catch_sigint_signal = False  # it would not give Python's handler back

    class Watch(cp_model.CpSolverSolutionCallback):  # type: ignore[misc]  # the library is not typed
        def on_solution_callback(self) -> None:
            known = bound if target is not None else math.ceil(self.best_objective_bound) * grain
            report(self.value(height) * grain, max(bound, known))

    interrupted = False
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(solver.solve, model, Watch())
        while not running.done():
            try:
                wait([running], timeout=0.2)  # a wait without a limit could not be interrupted everywhere
                if interrupted:
                    solver.stop_search()
            except KeyboardInterrupt:
                interrupted = True
        status = running.result()
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the placement model is invalid: {model.validate()}")
    if status == cp_model.INFEASIBLE:
        return Exact(None, top + grain, interrupted)
    if target is None:
        bound = max(bound, math.ceil(solver.best_objective_bound) * grain)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        found = [solver.value(x) * s for x, s in zip(at, step, strict=True)]
        return Exact(found, bound, interrupted)
    return Exact(None, bound, interrupted)
