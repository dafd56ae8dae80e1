"""Placement in several pools: exact against exhaustive search, honest bounds, a checker that refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from dnncc.errors import InternalError
from dnncc.passes.planning import place
from dnncc.passes.planning.check import check_place
from dnncc.passes.planning.problem import Buffer, Overlap, PlaceProblem, Pool
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_cases import random_place_problem


def fits(problem: PlaceProblem, assigned: Sequence[int]) -> bool:
    """Tries all offsets."""
    allowed = {(r.output, r.input): r.distance for r in problem.overlaps}

    def legal(a: Buffer, x: int, p: int, b: Buffer, y: int, q: int) -> bool:
        if p != q or a.upper <= b.lower or b.upper <= a.lower or x + a.size <= y or y + b.size <= x:
            return True
        below = (a.id, b.id) in allowed and x + allowed[a.id, b.id] <= y
        return below or ((b.id, a.id) in allowed and y + allowed[b.id, a.id] <= x)

    chosen = [(b, p) for b, p in zip(problem.buffers, assigned, strict=True) if b.size]

    def extend(offsets: list[int]) -> bool:
        if len(offsets) == len(chosen):
            return True
        b, p = chosen[len(offsets)]
        room = problem.pools[p].bytes
        top = 40 if room is None else room
        for x in range(0, top - b.size + 1, b.alignment):
            if all(legal(b, x, p, a, y, q) for (a, q), y in zip(chosen, offsets, strict=False)) and extend(
                [*offsets, x]
            ):
                return True
        return False

    return extend([])


def least_cost(problem: PlaceProblem) -> int | None:
    def cost(assigned: Sequence[int]) -> int:
        return sum(b.accesses * problem.pools[p].cost for b, p in zip(problem.buffers, assigned, strict=True))

    every = product(range(len(problem.pools)), repeat=len(problem.buffers))
    return next((cost(a) for a in sorted(every, key=cost) if fits(problem, a)), None)


@given(st.randoms(use_true_random=False), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_least_cost_against_all_assignments(rng: Random, count: int) -> None:
    problem = random_place_problem(rng, count)
    buffers = tuple(replace(b, accesses=rng.randint(0, 9)) for b in problem.buffers)
    pools = tuple(
        Pool(n, rng.randint(0, 12), rng.randint(0, 3)) for n in ("a", "b", "c")[: rng.randint(1, 3)]
    )
    problem = replace(problem, buffers=buffers, pools=pools)
    best = least_cost(problem)
    solution = place.solve(problem)
    if best is None:
        assert (solution.fits, solution.status) == (False, "infeasible")
    else:
        assert (solution.fits, solution.cost, solution.status) == (True, best, "optimal")


def test_the_fast_pool_takes_what_is_used_most_and_the_first_one_fills_up() -> None:
    buffers = (Buffer(0, 0, 2, 60, 4, 100), Buffer(1, 0, 2, 60, 4, 900), Buffer(2, 0, 2, 20, 4, 300))
    pools = (Pool("sram", 128, 1), Pool("ccm", 64, 0), Pool("external", None, 8))
    solution = place.solve(PlaceProblem(buffers, pools=pools))
    assert (solution.pools, solution.cost, solution.status) == ((0, 1, 0), 400, "optimal")
    equal = tuple(replace(p, cost=0) for p in pools)
    assert place.solve(PlaceProblem(buffers, pools=equal)).pools in ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert place.solve(PlaceProblem(buffers, pools=equal[1:])).fits


def test_a_buffer_overwrites_another_only_in_its_own_pool() -> None:
    pair = (Buffer(0, 0, 2, 100, 4, 10), Buffer(1, 1, 3, 100, 4, 10))
    pools = (Pool("fast", 100, 0), Pool("slow", 200, 1))
    apart = place.solve(PlaceProblem(pair, pools=pools))
    together = place.solve(PlaceProblem(pair, (Overlap(1, 0, 0),), pools=pools))
    assert (apart.cost, together.cost, together.heights) == (10, 0, (100, 0))


def test_what_fits_by_load_but_not_in_space_is_proven() -> None:
    """One byte less than what these buffers need together sends the cheapest of them elsewhere."""
    rows = [(0, 1, 2), (0, 3, 1), (1, 2, 1), (2, 5, 2), (1, 4, 1), (4, 5, 1), (3, 4, 1), (0, 1, 1)]
    buffers = tuple(Buffer(n, lo, up, size, 1, 1) for n, (lo, up, size) in enumerate(rows))
    alone = place.solve(PlaceProblem(buffers))
    tight = place.solve(PlaceProblem(buffers, pools=(Pool("a", alone.height, 0),)))
    assert tight.fits
    short = place.solve(PlaceProblem(buffers, pools=(Pool("a", alone.height - 1, 0), Pool("b", 100, 5))))
    assert short.status == "optimal"
    assert 0 < short.cost <= 10


def test_what_does_not_fit_is_said_with_a_bound() -> None:
    buffers = (Buffer(0, 0, 2, 60), Buffer(1, 0, 2, 60))
    solution = place.solve(PlaceProblem(buffers, pools=(Pool("a", 64), Pool("b", 59))))
    assert (solution.fits, solution.status, solution.bound) == (False, "infeasible", 120)


def test_the_checker_refuses_wrong_pools() -> None:
    buffers = (Buffer(0, 0, 2, 60, 4, 3), Buffer(1, 0, 2, 60, 4, 9))
    problem = PlaceProblem(buffers, pools=(Pool("a", 64, 0), Pool("b", 64, 1)))
    good = place.solve(problem)
    assert (good.pools, good.cost) == ((1, 0), 3)
    wrong = [
        (replace(good, pools=(0, 0)), "live together"),
        (replace(good, pools=(0, 1)), "3 claimed, 9 measured"),
        (replace(good, pools=(2, 0)), "pool 2 of 2"),
        (replace(good, pools=(1,)), "for 2 buffers"),
        (replace(good, fits=False), "False claimed"),
        (replace(good, cost_bound=4), "exceeds"),
        (replace(good, cost_bound=2), "optimal with"),
        (replace(good, heights=(60, 64)), "measured"),
    ]
    for solution, reason in wrong:
        with pytest.raises(InternalError, match=reason):
            check_place(problem, solution)


def test_malformed_pools_are_refused() -> None:
    buffer = Buffer(0, 0, 1, 4)
    wrong = [
        (PlaceProblem((buffer,), capacity=4, pools=(Pool("a"),)), "not together with pools"),
        (PlaceProblem((replace(buffer, accesses=-1),), pools=(Pool("a"),)), "-1 accesses"),
        (PlaceProblem((buffer,), pools=(Pool("a", 4, -1),)), "4 bytes at cost -1"),
        (PlaceProblem((buffer,), pools=(Pool("a", -4),)), "-4 bytes"),
    ]
    for problem, reason in wrong:
        with pytest.raises(InternalError, match=reason):
            place.solve(problem)


def test_a_time_limit_keeps_the_best() -> None:
    rng = Random(5)
    buffers = []
    for n in range(60):
        lower = rng.randrange(40)
        buffers.append(
            Buffer(n, lower, lower + rng.randint(1, 15), rng.randint(50, 500), 1, rng.randint(1, 9))
        )
    solution = place.solve(PlaceProblem(tuple(buffers)), time_limit=0.0)
    assert solution.interrupted
    assert solution.bound < solution.height
    pools = (Pool("a", solution.bound // 2, 0), Pool("b", None, 3))
    spread = place.solve(PlaceProblem(tuple(buffers), pools=pools), time_limit=0.0)
    assert (spread.fits, spread.interrupted, spread.status) == (True, True, "feasible")
