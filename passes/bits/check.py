"""Independent check of a selection of bits."""

from __future__ import annotations

import math

from dnncc.errors import Culprit, InternalError
from dnncc.passes.bits.problem import BitsProblem, BitsSolution


def check_bits(problem: BitsProblem, solution: BitsSolution) -> None:
    """Every layer has one of its choices, the sums are right and within the limits, and nothing is excluded.

    Raises:
        InternalError: the solution is wrong.
    """
    if solution.status == "infeasible":
        least = [math.fsum(map(min, resource)) for resource in problem.usage]
        fits = all(u <= limit for u, limit in zip(least, problem.limits, strict=True))
        if fits and len(problem.usage) == 1 and not problem.excluded:
            raise _error("status", "there is a selection within the limit")
        return
    if len(solution.choices) != len(problem.costs):
        raise _error("choices", f"{len(solution.choices)} of {len(problem.costs)}")
    cost = math.fsum(c[k] for c, k in zip(problem.costs, solution.choices, strict=True))
    if not math.isclose(cost, solution.cost, rel_tol=1e-9, abs_tol=1e-12):
        raise _error("cost", f"is {cost}, not {solution.cost}")
    if solution.bound > cost * (1 + 1e-9) + 1e-12:
        raise _error("bound", f"{solution.bound} is above the cost {cost}")
    for i, (resource, limit) in enumerate(zip(problem.usage, problem.limits, strict=True)):
        used = math.fsum(c[k] for c, k in zip(resource, solution.choices, strict=True))
        if used > limit * (1 + 1e-12):
            raise _error(f"resource {i}", f"{used} of {limit}")
    if any(tuple(e) == solution.choices for e in problem.excluded):
        raise _error("choices", "are excluded")


def _error(what: str, reason: str) -> InternalError:
    return InternalError("a selection of bits failed its check", [Culprit(what, reason=reason)])
