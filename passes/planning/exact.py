"""Placement by constraint programming: one Boolean per conflicting pair says who lies above whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from dnncc.errors import InternalError
from dnncc.passes.planning.layout import Layout


@dataclass(frozen=True)
class Exact:
    """What the solver found: offsets lower than before (or None), a bound, and whether Ctrl-C ended the search."""

    offsets: list[int] | None
    bound: int
    interrupted: bool


def solve_exactly(
    layout: Layout,
    start: Sequence[int],
    bound: int,
    capacity: int | None,
    effort: float,
    report: Callable[[int, int], None],
) -> Exact:
    """Looks for a placement lower than `start`, or for any within `capacity`.

    Lowest placements consist of sums of gaps rounded up to alignments, so offsets are counted in the greatest common
    divisor of all these. One worker, a fixed seed and a deterministic limit make the answer independent of the clock.

    Args:
        layout: the problem.
        start: valid offsets.
        bound: bytes that every placement needs.
        capacity: a height below that of `start` that is good enough, or None.
        effort: CP-SAT's deterministic time, roughly seconds.
        report: called with (height, bound) at every improvement.
    """
    from ortools.sat.python import cp_model

    gaps = [gap for p in layout.pairs for gap in (p.above, p.below)]
    unit = math.gcd(*gaps, *(a for a in layout.alignment if a > 1))
    grain = math.gcd(unit, *layout.size)  # every height is a multiple of it
    top = layout.height(start) - grain if capacity is None else max(bound, capacity // grain * grain)
    step = [a if a > 1 else unit for a in layout.alignment]

    model = cp_model.CpModel()
    height = model.new_int_var(-(-bound // grain), top // grain, "height")
    at = []
    for n, size in enumerate(layout.size):
        x = model.new_int_var(0, (top - size) // step[n], f"at{n}")
        model.add(step[n] // grain * x + size // grain <= height)
        model.add_hint(x, start[n] // step[n])
        at.append(x)
    for p in layout.pairs:
        up = model.new_bool_var(f"{p.a}below{p.b}")
        rise = (step[p.b] // grain) * at[p.b] - (step[p.a] // grain) * at[p.a]
        model.add(rise >= p.above // grain).only_enforce_if(up)
        model.add(rise <= -(p.below // grain)).only_enforce_if(~up)
        model.add_hint(up, start[p.b] >= start[p.a] + p.above)
    if capacity is None:
        model.minimize(height)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    solver.parameters.catch_sigint_signal = False  # it would not give Python's handler back

    class Watch(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            report(self.value(height) * grain, math.ceil(self.best_objective_bound) * grain)

    interrupted = False
    watch = Watch()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(solver.solve, model, watch)
        while not running.done():
            try:
                wait([running], timeout=0.2)  # a wait without a limit could not be interrupted everywhere
                if interrupted:
                    solver.stop_search()
            except KeyboardInterrupt:
                interrupted = True
                solver.stop_search()
        status = running.result()
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the placement model is invalid: {model.validate()}")
    if status == cp_model.INFEASIBLE:
        return Exact(None, top + grain, interrupted)
    if capacity is None:
        bound = max(bound, math.ceil(solver.best_objective_bound) * grain)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Exact([solver.value(x) * s for x, s in zip(at, step, strict=True)], bound, interrupted)
    return Exact(None, bound, interrupted)
