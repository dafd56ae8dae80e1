"""Folding: the solver against brute force, and the checker against tampering."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from dnncc.targets.hls.folding import Edge, Problem, check, cost_of, measure, solve
from dnncc.targets.hls.resources import KINDS, Resources
from dnncc.targets.hls.stages.base import Choice, Number, Wire
from hls_networks import ZU3EG, mlp, network


def random_problem(seed: int) -> Problem:
    """A chain with a branch: four layers, up to five choices each, limits that often bind."""
    rng = np.random.default_rng(seed)
    wires = [Wire(f"w{i}", Number(int(rng.integers(1, 24)), True), 24, 12) for i in range(3)]
    edges = (
        Edge(0, 1, 0, wires[0], True),
        Edge(0, 3, 0, wires[0], True),
        Edge(1, 2, 0, wires[1]),
        Edge(2, 3, 1, wires[2]),
    )

    def choice(ports: int) -> Choice:
        lanes = [int(rng.choice([1, 2, 3, 4, 6, 12])) for _ in range(ports + 1)]
        amounts = (int(n) for n in rng.integers(0, 40, len(KINDS)) * [20, 20, 1, 1])
        return Choice({}, tuple(lanes[:-1]), lanes[-1], int(rng.integers(4, 60)), Resources(*amounts))

    choices = tuple(tuple(choice(ports) for _ in range(int(rng.integers(2, 6)))) for ports in (0, 1, 1, 2))
    limit = Resources(*(int(n) for n in rng.integers(40, 120, len(KINDS)) * [60, 60, 1, 1]))
    budget = int(rng.integers(30, 60)) if seed % 3 == 0 else None
    return Problem(("a", "b", "c", "d"), choices, edges, limit, Resources(lut=10), budget)


def brute_force(problem: Problem) -> tuple[int, int] | None:
    """Fewest cycles (at most the budget: the least cost within it), then the least cost."""
    found = []
    for picks in itertools.product(*(range(len(c)) for c in problem.choices)):
        cycles, resources = measure(problem, picks)
        if not resources.exceeding(problem.limit):
            found.append((cycles, cost_of(resources, problem.limit)))
    if problem.cycles is not None:
        return min(((0, cost) for cycles, cost in found if cycles <= problem.cycles), default=None)
    return min(found, default=None)


@pytest.mark.parametrize("seed", range(40))
def test_solver_against_brute_force(seed: int) -> None:
    problem = random_problem(seed)
    best, solution = brute_force(problem), solve(problem)
    assert bool(solution.picks) == (best is not None)
    if best is None:
        return
    check(problem, solution)
    assert solution.optimal
    assert (0 if problem.cycles is not None else solution.cycles, solution.cost) == best


def test_some_random_problems_have_no_folding() -> None:
    answers = [brute_force(random_problem(seed)) for seed in range(40)]
    assert 0 < sum(answer is None for answer in answers) < 40


def test_checker_refuses_what_is_not_so() -> None:
    problem = next(p for p in map(random_problem, range(40)) if solve(p).picks)
    solution = solve(problem)
    picked = [c[i].resources for c, i in zip(problem.choices, solution.picks, strict=True)]
    short = replace(problem, limit=replace(problem.limit, lut=solution.resources.lut - 1))
    assert sum(r.lut for r in picked) > 0
    for wrong, given in (
        (replace(solution, cycles=solution.cycles - 1), problem),
        (replace(solution, bound=solution.cycles + 1), problem),
        (replace(solution, resources=replace(solution.resources, dsp=0)), problem),
        (solution, short),
        (solution, replace(problem, cycles=solution.cycles - 1)),
    ):
        with pytest.raises(AssertionError):
            check(given, wrong)


def test_a_networks_resources_are_those_of_its_stages() -> None:
    """What the choices promise is what the stages take."""
    from dnncc.targets.hls.pipeline import build_design, folding_problem
    from dnncc.targets.hls.resources import total

    net = network(mlp())
    problem = folding_problem(net, ZU3EG)
    solution = solve(problem)
    picks = [choices[i] for choices, i in zip(problem.choices, solution.picks, strict=True)]
    design = build_design(net, ZU3EG, picks)
    assert total([stage.resources(ZU3EG) for stage in design.stages]) == solution.resources
    assert max(stage.schedule().iterations for stage in design.stages) == solution.cycles
