"""Independent check of a plan with recomputation."""

from __future__ import annotations

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.check import loads
from dnncc.passes.planning.recompute.expand import expand
from dnncc.passes.planning.recompute.problem import RematProblem, RematSolution


def check_remat(problem: RematProblem, solution: RematSolution) -> None:
    """Every operator runs, after what it reads and, if asked for, in the given order; peak, work, bound and
    status are the ones claimed.

    Raises:
        InternalError: names the operator or the figures that disagree.
    """
    expanded = expand(problem.graph, solution.sequence).problem
    if twice := [v for v in problem.once if solution.sequence.count(v) > 1]:
        raise _error(f"operator {twice[0]}", "runs twice")
    first = list(dict.fromkeys(solution.sequence))
    if problem.fixed_order and first != sorted(first):
        raise _error("order", "the first executions are not in the given order")
    creator = {t: i for i, op in enumerate(expanded.operators) for t in op.outputs}
    peak = max(loads(expanded, creator, {i: i for i in range(len(expanded.operators))}))
    if peak != solution.peak:
        raise _error("peak", f"{solution.peak} claimed, {peak} measured")
    added = sum(problem.work[v] for v in solution.sequence) - sum(problem.work)
    if added != solution.added:
        raise _error("added work", f"{solution.added} claimed, {added} measured")
    within = peak <= problem.budget
    if within != (solution.status in ("optimal", "feasible")):
        raise _error("status", f"{solution.status} with a peak of {peak} and a budget of {problem.budget}")
    if solution.least_budget > peak or (within and solution.bound > added):
        raise _error(
            "bound", f"{solution.least_budget} bytes and {solution.bound}, but {peak} and {added} reached"
        )
    if within and (solution.status == "optimal") != (solution.bound == added):
        raise _error("status", f"{solution.status} with added work {added} and bound {solution.bound}")


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the plan with recomputation failed its check", [Culprit(name, reason=reason)])
