"""The least traffic of one order: which gaps stay in the scratchpad, as a small integer program.

One Boolean per gap that matters (keep it) and per version of a storage (write it off-chip once). Gaps of steps that fit
anyhow stay.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from dnncc.errors import InternalError
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.spill.timeline import Timeline

EFFORT = 2.0
_CONDITIONS = 6
"""Inputs of one operator that may be evicted for it to overwrite them; the powerset is enumerated."""


@dataclass(frozen=True)
class Kept:
    """What the program found: the gaps to evict, None if nothing fits, and a lower bound of the order's traffic."""

    evicted: frozenset[int] | None
    bound: int


def solve_keep(
    timeline: Timeline,
    hint: Collection[int] | None,
    *,
    slack: int = 0,
    effort: float = EFFORT,
    clock: Clock | None = None,
    threads: int = 1,
) -> Kept:
    """The gaps of least cost whose eviction lets every step fit.

    Args:
        timeline: the order.
        hint: an eviction set that fits, if known.
        slack: bytes of the capacity that stay free.
        effort: CP-SAT's deterministic time.
        clock: when to stop at the latest.
        threads: workers.
    """
    from ortools.sat.python import cp_model

    model, gaps = timeline.model, timeline.gaps
    capacity = model.capacity - slack
    full = timeline.loads(())
    tight = [t for t, load in enumerate(full) if load > capacity]
    if not tight:
        return Kept(frozenset(), 0)
    program = cp_model.CpModel()
    evict: dict[int, Any] = {}

    def variable(g: int) -> Any:
        if g not in evict:
            evict[g] = program.new_bool_var(f"evict{g}")
        return evict[g]

    idle: dict[int, list[int]] = {t: [] for t in tight}
    for g, gap in enumerate(gaps):
        for t in tight:
            if gap.start < t < gap.end:
                idle[t].append(g)
    for t in tight:
        rules = timeline.rules[t]
        conditions = sorted({gap for _, gap in rules if gap is not None})[:_CONDITIONS]
        own = timeline.own[t] + sum(model.size[gaps[g].storage] for g in idle[t])
        freed = sum(model.size[gaps[g].storage] * variable(g) for g in idle[t])
        for count in range(len(conditions) + 1):
            for kept in combinations(conditions, count):
                # If these inputs stay, at best all the others leave at this operator.
                gone = set(conditions) - set(kept)
                need = own - timeline.saving(t, gone) - capacity
                if need > 0:
                    row = program.add(freed >= need)
                    if kept:
                        row.only_enforce_if([~variable(g) for g in kept])
    written: dict[int, Any] = {}
    for g, x in list(evict.items()):
        version = gaps[g].version
        if version is None:
            continue
        if version not in written:
            written[version] = program.new_bool_var(f"write{version}")
        start = timeline.beginning.get(version)
        if start in evict:
            program.add_bool_or([~x, written[version], evict[start]])
        else:
            program.add_implication(x, written[version])
    program.minimize(
        sum(gaps[g].read * x for g, x in evict.items())
        + sum(timeline.writes[version] * x for version, x in written.items())
    )
    if hint is not None:
        for g, x in evict.items():
            program.add_hint(x, g in hint)
        for version, x in written.items():
            program.add_hint(x, any(gaps[g].version == version for g in hint))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_deterministic_time = effort
    if clock is not None and clock.left is not None:
        solver.parameters.max_time_in_seconds = clock.left
    status = solver.solve(program)
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the spill model is invalid: {program.validate()}")
    if status == cp_model.INFEASIBLE:
        return Kept(None, 0)
    bound = max(0, math.ceil(solver.best_objective_bound - 1e-6))
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        chosen = frozenset(g for g, x in evict.items() if solver.boolean_value(x))
        return Kept(chosen, bound)
    return Kept(None if hint is None else frozenset(hint), bound)
