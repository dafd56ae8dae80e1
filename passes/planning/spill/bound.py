"""Bytes that every plan copies, whatever its order.

While operator v runs, a storage exists for certain, in one memory or the other, if v or an ancestor has touched it (or
no operator creates it) and v or a descendant touches it (or it is an output). Where those storages exceed the
scratchpad, some that v does not touch must be off-chip. Each such storage was written (unless it may begin there) and
is read back by some operator that can run between v and any descendant of v that touches it. The program below
chooses, for all operators at once, the least such traffic; reads shared by several operators count once.
"""

from __future__ import annotations

import math
from typing import Any

from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.storages import bits

EFFORT = 2.0


def _certain(model: SpillModel) -> list[int]:
    """Of every operator the mask of storages that it does not touch and that exist while it runs."""
    touched = [sum(1 << s for s in storages) for storages in model.touched]
    initial = sum(1 << s for s in model.initial)
    kept = sum(1 << s for s in model.kept)
    found = []
    for v in range(model.count):
        born = initial
        for u in bits(model.before[v]):
            born |= touched[u]
        wanted = kept
        for u in bits(model.after[v]):
            wanted |= touched[u]
        found.append(born & wanted & ~touched[v])
    return found


def traffic_bound(
    model: SpillModel, *, effort: float = EFFORT, clock: Clock | None = None, threads: int = 1
) -> int:
    """A lower bound of the traffic over all orders."""
    certain = _certain(model)
    rows: dict[int, tuple[int, list[int]]] = {}
    for v in range(model.count):
        idle = list(bits(certain[v]))
        over = model.working_set(v) + sum(model.size[s] for s in idle) - model.capacity
        if over > 0:
            rows[v] = (over, idle)
    if not rows:
        return 0
    from ortools.sat.python import cp_model

    program = cp_model.CpModel()
    writes: dict[int, Any] = {}
    reads: dict[tuple[int, int], Any] = {}
    seen: set[tuple[Any, ...]] = set()
    for v, (over, idle) in rows.items():
        away = {s: program.new_bool_var(f"away{s}_{v}") for s in idle}
        program.add(sum(model.size[s] * x for s, x in away.items()) >= over)
        for s, x in away.items():
            if s not in model.initial:
                if s not in writes:
                    writes[s] = program.new_bool_var(f"write{s}")
                program.add_implication(x, writes[s])
            later = [u for u in model.touchers[s] if model.after[v] >> u & 1]
            for d in later:
                if any(model.before[d] >> u & 1 for u in later):
                    continue  # an earlier one says more
                able = [u for u in model.touchers[s] if not (model.before[v] | model.after[d]) >> u & 1]
                key = (s, v, tuple(able))
                if key in seen:
                    continue
                seen.add(key)
                for u in able:
                    if (s, u) not in reads:
                        reads[s, u] = program.new_bool_var(f"read{s}_{u}")
                program.add_bool_or([~x, *(reads[s, u] for u in able)])
    program.minimize(
        sum(model.traffic[s] * x for s, x in writes.items())
        + sum(model.traffic[s] * x for (s, _), x in reads.items())
    )
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_deterministic_time = effort
    if clock is not None and clock.left is not None:
        solver.parameters.max_time_in_seconds = clock.left
    solver.solve(program)
    return max(0, math.ceil(float(solver.best_objective_bound) - 1e-6))
