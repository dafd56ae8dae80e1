"""The two dynamic programs of depth merging: published tables, and brute force over every choice."""

from __future__ import annotations

import csv
import math
import random
from itertools import combinations, pairwise, product
from pathlib import Path

import pytest
from dnncc.errors import InternalError, UsageError
from dnncc.passes.depth.check import check_depth
from dnncc.passes.depth.options import Option, solve_options
from dnncc.passes.depth.problem import DepthProblem
from dnncc.passes.depth.solve import merged_latency, solve

ENTRIES = {"mbv2_1.0": 171, "mbv2_1.4": 171, "vgg19_no_trt": 36}


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("network", ENTRIES)
def test_stage_one_finds_the_published_optima(network: str, data_dir: Path) -> None:
    folder = data_dir / "depth-merging" / network
    latency = {(int(r["st"]), int(r["end"])): float(r["time"]) for r in _table(folder / "latency.csv")}
    best, _ = merged_latency(latency)
    rows = _table(folder / "optimal.csv")
    assert len(rows) == ENTRIES[network]
    for row in rows:
        segment = int(row["st"]), int(row["end"])
        breaks = [int(position) for position in row["breaks"].split(",")]
        assert best[segment] == pytest.approx(float(row["time"]), rel=1e-12)
        assert sum(latency[s] for s in pairwise(breaks)) == pytest.approx(best[segment], rel=1e-12)


def _random_problem(rng: random.Random) -> DepthProblem:
    """Merging may pay or not, removing activations costs more the more there are; entries may be missing."""
    layers = rng.randint(1, 9)
    latency = {(p, p + 1): rng.randint(1, 30) for p in range(layers)}
    importance = {}
    for i, j in combinations(range(layers + 1), 2):
        if j > i + 1 and rng.random() < 0.7:
            latency[i, j] = rng.randint(0, 20 * (j - i))
        for a, b in product((0, 1), repeat=2):
            if j == i + 1 or rng.random() < 0.7:
                importance[i, j, a, b] = -rng.random() * (j - i - 1) - rng.random() * (2 - a - b)
    unmerged = sum(latency[p, p + 1] for p in range(layers))
    return DepthProblem(layers, latency, importance, rng.randint(0, unmerged))


def _brute_force(problem: DepthProblem) -> tuple[float | None, int]:
    """The highest importance within the budget, and the least latency: for every set of kept activations every set
    of cuts that holds it, and every sequence of parts whose ends they are."""
    inner = range(1, problem.layers)
    subsets = [frozenset(c) for n in range(problem.layers) for c in combinations(inner, n)]

    def latency(cuts: frozenset[int]) -> float:
        return sum(problem.latency.get(s, math.inf) for s in pairwise([0, *sorted(cuts), problem.layers]))

    def importance(kept: frozenset[int], ends: frozenset[int], first: int, last: int) -> float:
        flags = {p: int(p in kept) for p in ends} | {0: first, problem.layers: last}
        places = [0, *sorted(ends), problem.layers]
        return sum(problem.importance.get((i, j, flags[i], flags[j]), -math.inf) for i, j in pairwise(places))

    times = {cuts: latency(cuts) for cuts in subsets}
    best, least = -math.inf, math.inf
    for kept in subsets:
        above = [other for other in subsets if kept <= other]
        time = min(times[cuts] for cuts in above)
        worth = max(importance(kept, ends, *f) for ends in above for f in product((0, 1), repeat=2))
        if worth > -math.inf:
            least = min(least, time)
            if time <= problem.budget:
                best = max(best, worth)
    return (None if best == -math.inf else best), int(least)


def _agrees(seed: int) -> None:
    problem = _random_problem(random.Random(seed))
    expected, least = _brute_force(problem)
    solution = solve(problem)
    assert solution.least_latency == least
    if expected is None:
        assert solution.status == "infeasible"
        assert solution.latency == least
    else:
        assert solution.status == "optimal"
        assert solution.latency <= problem.budget
        assert solution.importance == pytest.approx(expected, abs=1e-9)


def test_both_stages_equal_brute_force() -> None:
    for seed in range(60):
        _agrees(seed)


@pytest.mark.heavy
def test_both_stages_equal_brute_force_on_more() -> None:
    for seed in range(60, 560):
        _agrees(seed)


def test_every_budget_is_kept_and_the_front_is_what_budgets_give() -> None:
    for seed in range(20):
        problem = _random_problem(random.Random(1000 + seed))
        most = sum(problem.latency[p, p + 1] for p in range(problem.layers))
        whole = solve(DepthProblem(problem.layers, problem.latency, problem.importance, most))
        for budget in range(whole.least_latency, most + 1, 3):
            found = solve(DepthProblem(problem.layers, problem.latency, problem.importance, budget))
            assert found.latency <= budget
            affordable = [worth for latency, worth in whole.front if latency <= budget]
            assert found.importance == pytest.approx(affordable[-1])


def test_latencies_are_rounded_up_where_there_are_too_many_choices() -> None:
    """Fifty layers, latencies up to a million: few labels, still within the budget and below a true bound."""
    rng = random.Random(5)
    layers = 50
    latency = {(p, p + 1): rng.randint(500_000, 1_000_000) for p in range(layers)}
    importance = {(p, p + 1, 1, 1): 0.0 for p in range(layers)}
    for p in range(layers - 1):
        latency[p, p + 2] = rng.randint(500_000, 1_000_000)
        importance[p, p + 2, 1, 1] = -rng.random()
    budget = int(0.75 * sum(latency[p, p + 1] for p in range(layers)))
    problem = DepthProblem(layers, latency, importance, budget)
    exact = solve(problem)
    assert exact.status == "optimal"
    rounded = solve(problem, labels=100)
    assert rounded.status == "feasible"
    assert rounded.latency <= budget
    assert rounded.importance <= exact.importance <= rounded.bound


def test_no_way_through_is_an_error() -> None:
    with pytest.raises(UsageError, match="through all layers"):
        solve(DepthProblem(2, {(0, 1): 1}, {(0, 1, 1, 1): 0.0}, 5))


def test_the_check_finds_a_wrong_claim() -> None:
    from dataclasses import replace

    problem = DepthProblem(
        2,
        {(0, 1): 3, (1, 2): 4, (0, 2): 5},
        {(0, 1, 1, 1): 0.0, (1, 2, 1, 1): 0.0, (0, 2, 1, 1): -1.0},
        9,
    )
    solution = solve(problem)
    assert (solution.cuts, solution.kept, solution.latency) == ((0, 1, 2), (0, 1, 2), 7)
    assert solution.front == ((5, -1.0), (7, 0.0))
    wrong = [
        {"latency": 6},
        {"importance": 0.5},
        {"cuts": (0, 2)},
        {"parts": ((0, 2, 1, 1),)},
        {"status": "infeasible"},
        {"bound": -0.5},
    ]
    for claim in wrong:
        with pytest.raises(InternalError, match="failed its check"):
            check_depth(problem, replace(solution, **claim))  # type: ignore[arg-type]


def test_options_equal_brute_force() -> None:
    """Several ways to do each segment, as where layers may be dropped: every chain of options, tried."""

    def chains(options: list[Option], layers: int, position: int = 0) -> list[tuple[int, ...]]:
        if position == layers:
            return [()]
        return [
            (k, *rest)
            for k, option in enumerate(options)
            if option.segment[0] == position
            for rest in chains(options, layers, option.segment[1])
        ]

    for seed in range(60):
        rng = random.Random(seed)
        layers = rng.randint(1, 5)
        options = [
            Option((i, j), rng.randint(0, 20 * (j - i)), -rng.random() * (j - i - 1))
            for i, j in combinations(range(layers + 1), 2)
            for _ in range(1 if j == i + 1 else rng.randint(0, 3))
        ]
        budget = rng.randint(0, 15 * layers)
        every = chains(options, layers)
        sums = [(sum(options[k].latency for k in c), sum(options[k].importance for k in c)) for c in every]
        best = max((worth for latency, worth in sums if latency <= budget), default=None)
        found = solve_options(layers, options, budget)
        assert found.least_latency == min(latency for latency, _ in sums)
        if best is None:
            assert found.status == "infeasible"
        else:
            assert found.status == "optimal"
            assert found.importance == pytest.approx(best, abs=1e-12)
