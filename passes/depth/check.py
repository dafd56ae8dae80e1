"""Independent check of a choice of activations and merges."""

from __future__ import annotations

import math
from itertools import pairwise

from dnncc.errors import Culprit, InternalError
from dnncc.passes.depth.problem import DepthProblem, DepthSolution


def check_depth(problem: DepthProblem, solution: DepthSolution) -> None:
    """The cuts and the parts lead through all layers, every kept activation is at a cut, and latency, importance,
    bounds, front and status are the ones claimed.

    Raises:
        InternalError: names what disagrees.
    """
    cuts, parts = solution.cuts, solution.parts
    if cuts[0] != 0 or cuts[-1] != problem.layers or list(cuts) != sorted(set(cuts)):
        raise _error("cuts", f"{cuts} do not lead from 0 to {problem.layers}")
    latency = 0
    for segment in pairwise(cuts):
        if segment not in problem.latency:
            raise _error(f"segment {segment}", "cannot be merged")
        latency += problem.latency[segment]
    position, flag = 0, parts[0][2]
    importance = 0.0
    for part in parts:
        if part not in problem.importance or part[:1] != (position,) or part[2] != flag:
            raise _error(f"part {part}", f"does not follow position {position} with flag {flag}")
        if part[3] and part[1] not in cuts:
            raise _error(f"position {part[1]}", "keeps its activation inside a merged layer")
        importance += problem.importance[part]
        position, flag = part[1], part[3]
    if position != problem.layers:
        raise _error("parts", f"end at {position} of {problem.layers}")
    _figures(problem, solution, latency, importance)


def _figures(problem: DepthProblem, solution: DepthSolution, latency: int, importance: float) -> None:
    if latency != solution.latency:
        raise _error("latency", f"{solution.latency} claimed, {latency} summed")
    if not math.isclose(importance, solution.importance, rel_tol=1e-9, abs_tol=1e-12):
        raise _error("importance", f"{solution.importance} claimed, {importance} summed")
    if latency < solution.least_latency or solution.importance > solution.bound:
        raise _error("bounds", f"{solution.least_latency} and {solution.bound}, but better was reached")
    if (latency <= problem.budget) != (solution.status != "infeasible"):
        raise _error("status", f"{solution.status} with a latency of {latency} of {problem.budget}")
    if solution.status != "infeasible" and (solution.status == "optimal") != (
        solution.bound == solution.importance
    ):
        raise _error("status", f"{solution.status} with {solution.importance} and bound {solution.bound}")
    if solution.front[-1] != (latency, solution.importance):
        raise _error("front", f"ends in {solution.front[-1]}")


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the choice of merges failed its check", [Culprit(name, reason=reason)])
