"""The selection of least cost within limits, exactly, by OR-tools' CP-SAT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dnncc.errors import InternalError
from dnncc.passes.bits.check import check_bits
from dnncc.passes.bits.problem import BitsProblem, BitsSolution
from dnncc.passes.planning.cpsat import prepare, run

_SCALE = 2.0**40
"""Numbers that are no integers are counted in so many steps of their largest sum."""


def solve(problem: BitsProblem) -> BitsSolution:
    """The cheapest selection, proven.

    What is used is rounded up and limits are rounded down (by 2^-40 of the limit), so that no limit is exceeded.
    """
    solution = _solve(problem)
    check_bits(problem, solution)
    return solution


def _solve(problem: BitsProblem) -> BitsSolution:
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    takes = [[model.new_bool_var(f"b{i}_{k}") for k in range(len(c))] for i, c in enumerate(problem.costs)]
    for layer in takes:
        model.add_exactly_one(layer)
    for resource, limit in zip(problem.usage, problem.limits, strict=True):
        scale = _scale(limit, (u for layer in resource for u in layer))
        terms = [t * math.ceil(u * scale) for t, u in _pairs(takes, resource)]
        model.add(sum(terms) <= math.floor(limit * scale))
    for selection in problem.excluded:
        model.add_bool_or([~takes[i][k] for i, k in enumerate(selection)])
    total = math.fsum(max(c) for c in problem.costs)
    scale = _SCALE / total if total > 0.0 else 1.0
    model.minimize(sum(t * round(c * scale) for t, c in _pairs(takes, problem.costs)))
    solver = prepare(1)
    status, interrupted = run(solver, model)
    if interrupted:
        raise KeyboardInterrupt
    if status == cp_model.INFEASIBLE:
        return BitsSolution(
            (), 0.0, math.inf, tuple(math.fsum(map(min, r)) for r in problem.usage), "infeasible"
        )
    if status != cp_model.OPTIMAL:
        raise InternalError(f"the solver ended with {solver.status_name(status)}")
    choices = tuple(next(k for k, t in enumerate(ts) if solver.value(t)) for ts in takes)
    cost = math.fsum(c[k] for c, k in zip(problem.costs, choices, strict=True))
    # Each cost was rounded by half a step at most.
    bound = max(min(cost, (solver.best_objective_bound - len(takes)) / scale), 0.0)
    used = tuple(math.fsum(c[k] for c, k in zip(r, choices, strict=True)) for r in problem.usage)
    return BitsSolution(choices, cost, bound, used, "optimal")


def _scale(limit: float, numbers: Iterable[float]) -> float:
    """Steps of a resource's unit: 1 where everything is counted in whole units."""
    if all(float(n).is_integer() for n in (*numbers, limit)) and abs(limit) < _SCALE:
        return 1.0
    return _SCALE / limit if limit > 0.0 else 1.0


def _pairs(takes: Sequence[Sequence[Any]], numbers: Sequence[Sequence[float]]) -> Iterator[tuple[Any, float]]:
    """Each choice's Boolean with its number."""
    for layer, row in zip(takes, numbers, strict=True):
        yield from zip(layer, row, strict=True)
