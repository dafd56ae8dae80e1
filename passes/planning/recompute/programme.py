"""Binary programmes, solved by branch and cut (SCIP) and by constraint programming (CP-SAT), both from OR-tools.

Relaxations over one cut are knapsacks with precedence, where linear relaxations are strong; over many cuts
clause learning is often faster. With two threads both run and the first answer counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from dnncc.errors import InternalError

_POLL = 0.1
_INTEGRAL = 1e-6
_NODES = 2000
_LARGE = 3000
"""Variables from which on linear relaxations are tried first where only one solver may run."""


@dataclass
class Programme:
    """Binary variables, clauses and capacities: minimise the cost.

    Attributes:
        cost: of every variable.
        clauses: literals of which one must hold; variable v is v, its negation ~v.
        capacities: (terms {variable: bytes}, room, variable or None): the terms keep within the room, if the
            variable holds.
    """

    cost: list[int] = field(default_factory=list)
    clauses: list[tuple[int, ...]] = field(default_factory=list)
    capacities: list[tuple[dict[int, int], int, int | None]] = field(default_factory=list)

    def variable(self, cost: int = 0) -> int:
        """A new variable."""
        self.cost.append(cost)
        return len(self.cost) - 1


@dataclass(frozen=True)
class Answer:
    """What is known about a programme.

    Attributes:
        values: of the variables, at a cost of at most the limit; None if none were found.
        bound: no solution costs less; one more than the limit if there is none within it.
        complete: whether the values are optimal, or proven not to exist.
    """

    values: list[bool] | None
    bound: int
    complete: bool


@dataclass(frozen=True)
class _Run:
    """One solver at work: how to run it and how to stop it."""

    solve: Callable[[], Answer]
    stop: Callable[[], object]


def solve(
    programme: Programme,
    limit: int,
    *,
    effort: float | None,
    seconds: float | None,
    threads: int,
    stop: Callable[[], bool],
) -> Answer:
    """A solution of least cost, if one costs at most `limit`.

    Args:
        programme: what to solve.
        limit: the largest cost of interest.
        effort: a deterministic limit, or None.
        seconds: a limit by the clock, or None.
        threads: with more than one, two solvers race.
        stop: asked ten times a second; true ends the search.

    Raises:
        KeyboardInterrupt: Ctrl-C; the solvers have ended then.
    """
    linear = len(programme.cost) >= _LARGE
    runs = []
    if linear or threads > 1:
        runs.append(_branch_and_cut(programme, limit, effort, seconds))
    if not linear or threads > 1:
        runs.append(_constraints(programme, limit, effort, seconds, max(1, threads - 1)))
    with ThreadPoolExecutor(len(runs)) as pool:
        futures = [pool.submit(run.solve) for run in runs]
        interrupted = False
        while pending := [f for f in futures if not f.done()]:
            try:
                wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
                over = interrupted or stop() or any(f.done() and f.result().complete for f in futures)
            except KeyboardInterrupt:
                over = interrupted = True
            if over:
                for run in runs:
                    run.stop()
        if interrupted:
            raise KeyboardInterrupt
    return _best(futures)


def _best(futures: list[Future[Answer]]) -> Answer:
    answers = [f.result() for f in futures]
    complete = [a for a in answers if a.complete]
    if complete:
        return complete[0]
    found = next((a for a in answers if a.values is not None), answers[0])
    return Answer(found.values, max(a.bound for a in answers), False)


def _branch_and_cut(programme: Programme, limit: int, effort: float | None, seconds: float | None) -> _Run:
    from ortools.linear_solver import pywraplp

    solver: Any = pywraplp.Solver.CreateSolver("SCIP")
    if solver is None:
        raise InternalError("OR-tools has no SCIP")
    infinity = solver.infinity()
    x = [solver.BoolVar("") for _ in programme.cost]
    for clause in programme.clauses:
        row = solver.Constraint(1 - sum(literal < 0 for literal in clause), infinity)
        for literal in clause:
            row.SetCoefficient(x[literal if literal >= 0 else ~literal], 1 if literal >= 0 else -1)
    for terms, room, condition in programme.capacities:
        total = sum(terms.values())
        row = solver.Constraint(-infinity, room if condition is None else total)
        if condition is not None:
            row.SetCoefficient(x[condition], total - room)
        for variable, bytes in terms.items():
            row.SetCoefficient(x[variable], bytes)
    cost, row = solver.Objective(), solver.Constraint(-infinity, limit)
    for variable, each in zip(x, programme.cost, strict=True):
        if each:
            cost.SetCoefficient(variable, each)
            row.SetCoefficient(variable, each)
    cost.SetMinimization()
    if seconds is not None:
        solver.SetTimeLimit(max(1, int(1000 * seconds)))
    if effort is not None:
        solver.SetSolverSpecificParametersAsString(f"limits/totalnodes = {max(1, int(_NODES * effort))}\n")

    def run() -> Answer:
        status = solver.Solve()
        if status == solver.INFEASIBLE:
            return Answer(None, limit + 1, True)
        found = status in (solver.OPTIMAL, solver.FEASIBLE)
        values = [v.solution_value() > 0.5 for v in x] if found else None
        if status == solver.OPTIMAL:
            return Answer(values, round(cost.Value()), True)
        below = cost.BestBound()
        return Answer(values, math.ceil(below - _INTEGRAL) if 0 < below <= limit else 0, False)

    return _Run(run, solver.InterruptSolve)


def _constraints(
    programme: Programme, limit: int, effort: float | None, seconds: float | None, workers: int
) -> _Run:
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in programme.cost]

    def literal(number: int) -> Any:
        return x[number] if number >= 0 else ~x[~number]

    for clause in programme.clauses:
        model.add_bool_or([literal(number) for number in clause])
    for terms, room, condition in programme.capacities:
        row = model.add(sum(bytes * x[v] for v, bytes in terms.items()) <= room)
        if condition is not None:
            row.only_enforce_if(x[condition])
    cost = sum(each * v for v, each in zip(x, programme.cost, strict=True))
    model.add(cost <= limit)
    model.minimize(cost)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = 0
    solver.parameters.catch_sigint_signal = False
    if seconds is not None:
        solver.parameters.max_time_in_seconds = max(0.01, seconds)
    if effort is not None:
        solver.parameters.max_deterministic_time = effort

    def run() -> Answer:
        status = solver.solve(model)
        if status == cp_model.MODEL_INVALID:
            raise InternalError(f"the recomputation model is invalid: {model.validate()}")
        if status == cp_model.INFEASIBLE:
            return Answer(None, limit + 1, True)
        found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
        values = [bool(solver.value(v)) for v in x] if found else None
        below = solver.best_objective_bound
        return Answer(values, max(0, math.ceil(below - _INTEGRAL)), status == cp_model.OPTIMAL)

    return _Run(run, solver.stop_search)
