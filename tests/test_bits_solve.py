"""Mixed precision as an integer program: against brute force and the published selections."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import InternalError
from dnncc.passes.bits.check import check_bits
from dnncc.passes.bits.problem import BitsProblem, BitsSolution
from dnncc.passes.bits.solve import solve

from benchmarks.bits import instance


def _best(problem: BitsProblem) -> float:
    """By brute force; infinite if nothing fits."""
    best = math.inf
    for choices in itertools.product(*(range(len(c)) for c in problem.costs)):
        used = [sum(layer[k] for layer, k in zip(r, choices, strict=True)) for r in problem.usage]
        if choices not in problem.excluded and all(
            u <= limit for u, limit in zip(used, problem.limits, strict=True)
        ):
            best = min(best, sum(c[k] for c, k in zip(problem.costs, choices, strict=True)))
    return best


@pytest.mark.parametrize("seed", range(60))
def test_selections_are_the_cheapest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, resources = int(rng.integers(1, 7)), int(rng.integers(1, 3))
    counts = rng.integers(1, 4, layers)
    whole = bool(rng.integers(2))

    def numbers(n: int) -> list[float]:
        return [float(v) for v in (rng.integers(0, 50, n) if whole else rng.uniform(0, 5, n))]

    costs = [numbers(n) for n in counts]
    usage = [[numbers(n) for n in counts] for _ in range(resources)]
    limits = [float(np.floor(sum(map(max, r)) * rng.uniform(0.1, 0.9))) for r in usage]
    problem = BitsProblem(costs, usage, limits)
    found = solve(problem)
    best = _best(problem)
    assert (found.status == "infeasible") == math.isinf(best)
    if found.status == "optimal":
        assert found.cost == pytest.approx(best, rel=1e-9, abs=1e-9) and found.bound <= found.cost
        again = solve(BitsProblem(costs, usage, limits, [found.choices]))
        rest = _best(BitsProblem(costs, usage, limits, [found.choices]))
        assert (again.status == "infeasible") == math.isinf(rest)
        assert again.status == "infeasible" or again.cost == pytest.approx(rest, rel=1e-9, abs=1e-9)


def test_the_checker_finds_what_is_wrong() -> None:
    problem = BitsProblem([[1.0, 0.0], [1.0, 0.0]], [[[1, 2], [1, 2]]], [3])
    good = BitsSolution((1, 0), 1.0, 1.0, (3.0,), "optimal")
    check_bits(problem, good)
    for bad in (
        BitsSolution((1, 1), 0.0, 0.0, (4.0,), "optimal"),
        BitsSolution((1,), 0.0, 0.0, (2.0,), "optimal"),
        BitsSolution((1, 0), 0.5, 0.5, (3.0,), "optimal"),
        BitsSolution((1, 0), 1.0, 2.0, (3.0,), "optimal"),
        BitsSolution((), 0.0, math.inf, (2.0,), "infeasible"),
    ):
        with pytest.raises(InternalError):
            check_bits(problem, bad)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_no_published_selection_is_cheaper(name: str, data_dir: Path) -> None:
    network = json.loads((data_dir / "hawq-v3" / f"{name}.json").read_text())
    for setting, published in network["published"].items():
        kind, fraction = setting.split()
        problem, members = instance(network, kind, float(fraction))
        found = solve(problem)
        theirs = math.fsum(problem.costs[g][int(published[group[0]] == 8)] for g, group in enumerate(members))
        assert found.status == "optimal" and found.cost <= theirs * (1 + 1e-9), setting
        assert found.used[0] <= problem.limits[0]
