"""Operator order: exact against all permutations, fast on real shapes, honest where it is not exact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from dnncc.errors import InternalError
from dnncc.passes.planning import order
from dnncc.passes.planning.check import check_order
from dnncc.passes.planning.footprint import Rule, saved_bytes
from dnncc.passes.planning.problem import Operator, OrderProblem, OrderSolution, Overlap, Tensor
from dnncc.passes.planning.storages import OrderModel
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_cases import Net, chain, inception, layered, mobilenet, nasnet, random_order_problem, resnet


def root(problem: OrderProblem, tensor: int) -> tuple[int, int]:
    offset = 0
    while (parent := problem.tensors[tensor].view_of) is not None:
        offset += problem.tensors[tensor].view_offset
        tensor = parent
    return tensor, offset


def valid_orders(problem: OrderProblem) -> Iterator[list[int]]:
    """Every order in which each tensor, or what it is a view of, is created before it is read."""
    created = {t for op in problem.operators for t in op.outputs}

    def available(tensor: int, ready: set[int]) -> bool:
        if tensor in created:
            return tensor in ready
        parent = problem.tensors[tensor].view_of
        return parent is None or available(parent, ready)

    def extend(done: list[int], ready: set[int]) -> Iterator[list[int]]:
        if len(done) == len(problem.operators):
            yield done
        for v, op in enumerate(problem.operators):
            if v not in done and all(available(t, ready) for t in op.inputs):
                yield from extend([*done, v], ready | set(op.outputs))

    return extend([], set())


class Naive:
    """The definition of the memory in use, read literally."""

    def __init__(self, problem: OrderProblem) -> None:
        self.problem = problem
        self.root = [root(problem, t) for t in range(len(problem.tensors))]
        self.touched = [{self.root[t][0] for t in (*op.inputs, *op.outputs)} for op in problem.operators]
        self.created = {t for op in problem.operators for t in op.outputs}
        self.kept = {self.root[t][0] for t in problem.outputs}
        self.wanted = self.kept.union(*self.touched)
        self.start = sum(problem.tensors[s].size for s in self.wanted - self.created)

    def step(self, done: Iterable[int], v: int) -> int:
        """Bytes while operator v runs after these; all others run later."""
        problem, op = self.problem, self.problem.operators[v]
        before = (self.wanted - self.created).union(*(self.touched[u] for u in done))
        others = set(range(len(problem.operators))) - {v, *done}
        later = self.kept.union(*(self.touched[u] for u in others))
        alive = (before | self.touched[v]) & (later | self.touched[v])
        pairs: dict[tuple[int, int], list[int | None]] = {}
        for o in op.outputs:
            for i in op.inputs:
                (out, out_at), (into, in_at) = self.root[o], self.root[i]
                rule = [r.distance + out_at - in_at for r in op.overlaps if (r.output, r.input) == (o, i)]
                pairs.setdefault((out, into), []).append(rule[0] if rule else None)
        size = {s: problem.tensors[s].size for s in alive}
        rules: list[Rule] = []
        for (o, i), distances in pairs.items():
            known = [d for d in distances if d is not None]
            if len(known) < len(distances) or o in before or i in later or o == i or not size[i]:
                continue
            if max(known) < size[o]:
                rules.append((o, i, max(known)))
        return sum(size.values()) - saved_bytes(rules, size) + op.workspace


def naive_peak(problem: OrderProblem, sequence: list[int]) -> int:
    naive = Naive(problem)
    return max([naive.start, *(naive.step(sequence[:now], v) for now, v in enumerate(sequence))])


def least_peak(problem: OrderProblem) -> int:
    """Of all orders, by what has run: nothing else matters for what comes."""
    naive = Naive(problem)
    count = len(problem.operators)
    created = {t: v for v, op in enumerate(problem.operators) for t in op.outputs}

    def maker(tensor: int) -> int | None:
        parent = problem.tensors[tensor].view_of
        return created.get(tensor, None if parent is None else maker(parent))

    needs = [{m for t in op.inputs if (m := maker(t)) is not None} for op in problem.operators]
    best = {frozenset[int](): naive.start}
    for _ in range(count):
        reached: dict[frozenset[int], int] = {}
        for done, peak in best.items():
            for v in set(range(count)) - done:
                if needs[v] <= done:
                    after = done | {v}
                    need = max(peak, naive.step(done, v))
                    reached[after] = min(need, reached.get(after, need))
        best = reached
    return best[frozenset(range(count))]


@given(st.randoms(use_true_random=False), st.integers(0, 5))
@settings(max_examples=150)
def test_optimal_and_bounds_hold_against_all_permutations(rng: Random, count: int) -> None:
    problem = random_order_problem(rng, count)
    best = min(naive_peak(problem, sequence) for sequence in valid_orders(problem))
    solution = order.solve(problem)
    assert (solution.peak, solution.status) == (best, "optimal")
    assert naive_peak(problem, list(solution.order)) == best
    hurried = order.solve(problem, limit=0)
    assert hurried.bound <= best <= hurried.peak


def exact(seed: int, count: int) -> None:
    problem = random_order_problem(Random(seed), count)
    best = least_peak(problem)
    solution = order.solve(problem)
    assert (solution.peak, solution.status) == (best, "optimal")


def test_brute_force_by_sets_is_the_one_over_orders() -> None:
    for seed in range(30):
        problem = random_order_problem(Random(seed), seed % 5)
        assert least_peak(problem) == min(naive_peak(problem, o) for o in valid_orders(problem))


@pytest.mark.parametrize("seed", range(60))
def test_optimal_against_brute_force(seed: int) -> None:
    exact(seed, seed % 8)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(1000))
def test_optimal_against_brute_force_on_a_thousand(seed: int) -> None:
    exact(1000 + seed, 4 + seed % 6)


@given(st.randoms(use_true_random=False), st.integers(0, 7))
@settings(max_examples=100)
def test_every_operator_needs_the_same_with_time_running_backwards(rng: Random, count: int) -> None:
    problem = random_order_problem(rng, count)
    forward = OrderModel(problem)
    backward, count = forward.reversed(), forward.count
    assert backward.loads(range(count)[::-1]) == forward.loads(range(count))[::-1]
    # Whatever is ready backwards may be last: any run of the reversed model, read from the end, is an order.
    done, ready, found = 0, backward.start()[1], []
    while ready:
        found.append(rng.choice(ready))
        done |= 1 << found[-1]
        ready = backward.ready_after(done, ready, found[-1])
    peak = backward.peak(found)
    assert len(found) == count
    assert naive_peak(problem, found[::-1]) == max(peak, forward.start()[0])
    twice = backward.reversed()
    assert (twice.predecessors, twice.start()) == (forward.predecessors, forward.start())


@pytest.mark.parametrize("seed", range(6))
def test_search_is_exact_where_heuristics_fail(seed: int) -> None:
    """Against a plain dynamic programme over all sets of executed operators."""
    problem = layered(Random(seed), 16, 8)
    readers = [sum(1 << v for v, op in enumerate(problem.operators) if t in op.inputs) for t in range(17)]
    creator = [0] + [1 << v for v in range(16)]
    size = [t.size for t in problem.tensors]
    everything = (1 << 16) - 1
    best = {0: 0}
    for done in range(everything):  # supersets come later
        if done not in best:
            continue
        for v, op in enumerate(problem.operators):
            if done >> v & 1 or any(creator[t] & ~done for t in op.inputs):
                continue
            alive = sum(size[t] for t in range(17) if creator[t] & done and readers[t] & ~done)
            peak = max(best[done], alive + size[op.outputs[0]])
            after = done | 1 << v
            best[after] = min(peak, best.get(after, peak))
    solution = order.solve(problem)
    assert (solution.peak, solution.status) == (best[everything], "optimal")


@pytest.mark.parametrize(
    ("problem", "gain"),
    [(chain(1000), 0), (resnet(30), 100), (mobilenet(30), 0), (inception(9), 125_440)],
    ids=["chain", "resnet", "mobilenet", "inception"],
)
def test_usual_networks_are_closed_without_search(problem: OrderProblem, gain: int) -> None:
    solution = order.solve(problem)
    assert solution.status == "optimal"
    assert solution.nodes == 0
    assert max(order.loads(problem, range(len(problem.operators)))) - solution.peak == gain
    assert max(order.loads(problem, solution.order)) == solution.peak


def test_cells_of_an_architecture_search_are_closed() -> None:
    problem = nasnet(4)
    solution = order.solve(problem)
    given = max(order.loads(problem, range(len(problem.operators))))
    assert solution.status == "optimal"
    assert solution.peak == 13 * 42 * 42 * 168
    assert given == 18 * 42 * 42 * 168


def test_limit_is_respected_and_more_of_it_never_hurts() -> None:
    problem = layered(Random(3), 120, 25)
    solutions = [order.solve(problem, limit=limit) for limit in (0, 50, 1000)]
    assert all(s.status == "feasible" and s.bound < s.peak for s in solutions)
    assert solutions[0].nodes == 0
    assert 50 <= solutions[1].nodes <= 50 + 5 * 8
    assert solutions[0].peak >= solutions[1].peak >= solutions[2].peak


def test_interrupt_keeps_the_best_so_far() -> None:
    problem = layered(Random(3), 120, 25)
    seen: list[tuple[int, int]] = []

    def interrupt(peak: int, bound: int) -> None:
        seen.append((peak, bound))
        if len(seen) == 3:
            raise KeyboardInterrupt

    solution = order.solve(problem, progress=interrupt)
    assert solution.interrupted
    assert (solution.peak, solution.bound) == seen[2]
    assert solution.peak < seen[0][0]


def test_interrupt_before_anything_is_known() -> None:
    def interrupt(peak: int, bound: int) -> None:
        raise KeyboardInterrupt

    problem = inception(2)
    solution = order.solve(problem, progress=interrupt)
    assert solution.interrupted
    assert solution.order == tuple(range(len(problem.operators)))


def test_result_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from random import Random; from planning_cases import layered, random_order_problem\n"
        "from dnncc.passes.planning import lifetimes, order, place\n"
        "for problem in (layered(Random(3), 60, 25), random_order_problem(Random(7), 12)):\n"
        "    s = order.solve(problem, limit=300); p = lifetimes.place_problem(problem, s.order)\n"
        "    print(s, p, place.solve(p, effort=0.2))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "12345")
    }
    assert len(outputs) == 1
    assert "OrderSolution" in outputs.pop()


def test_empty_problem_and_passed_through_input() -> None:
    assert order.solve(OrderProblem((), ())).peak == 0
    assert order.solve(OrderProblem((Tensor(5), Tensor(7)), (), (1,))).peak == 7


def test_overlap_needs_the_input_to_die() -> None:
    net = Net()
    x = net.op([net.tensor(0)], 10)
    y = net.op([x], 10, over={x: 2})
    assert order.solve(net.problem(y)).peak == 12
    assert order.solve(net.problem(x, y)).peak == 20
    z = net.op([x, y], 1)
    assert order.solve(net.problem(z)).peak == 21


def test_overlap_needs_every_view_that_the_operator_reads_to_allow_it() -> None:
    tensors = (Tensor(0), Tensor(10), Tensor(10, 1), Tensor(10))
    make = Operator((0,), (1,))
    one, both = Overlap(3, 1, 0), Overlap(3, 2, 4)
    peaks = [
        order.solve(OrderProblem(tensors, (make, Operator((1, 2), (3,), overlaps=rules)), (3,))).peak
        for rules in ((one,), (one, both))
    ]
    assert peaks == [20, 14]


def test_views_hold_their_storage_and_shift_the_distance() -> None:
    # Tensor 2 is the upper half of tensor 1; writing over it in place starts 6 bytes above the storage.
    tensors = (Tensor(0), Tensor(12), Tensor(6, 1, 6), Tensor(8))
    operators = (Operator((0,), (1,)), Operator((2,), (3,), overlaps=(Overlap(3, 2, 0),)))
    assert order.solve(OrderProblem(tensors, operators, (3,))).peak == 12


def test_concatenation_in_place_holds_the_whole_from_the_first_part_on() -> None:
    tensors = (Tensor(0), Tensor(12), Tensor(6, 1), Tensor(6, 1, 6))
    operators = (Operator((0,), (2,)), Operator((0,), (3,), workspace=1), Operator((2, 3), (1,)))
    problem = OrderProblem(tensors, operators, (1,))
    assert order.loads(problem, order.solve(problem).order) == [12, 13, 12]


T = Tensor


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (OrderProblem((T(1), T(1)), (Operator((1,), (0,)), Operator((0,), (1,)))), "created by operator 1"),
        (OrderProblem((T(1),), (Operator((), (0,)), Operator((), (0,)))), "created by operator 0 already"),
        (OrderProblem((T(1),), (Operator((3,), (0,)),)), "tensor 3 does not exist"),
        (OrderProblem((T(1, 1), T(1, 0)), ()), "a view of it"),
        (OrderProblem((T(4), T(2, 0, 3)), ()), "bytes 3 to 5 of 4"),
        (OrderProblem((T(-1),), ()), "bytes 0 to -1"),
        (OrderProblem((T(1),), (Operator((), (0,), -1),)), "negative workspace"),
        (OrderProblem((T(1),), (), (1,)), "a graph output does not exist"),
        (OrderProblem((T(1),), (Operator((), (0,), 0, (Overlap(0, 0, 0),)),)), "no pair of its tensors"),
    ],
)
def test_malformed_problems_are_refused(problem: OrderProblem, reason: str) -> None:
    with pytest.raises(InternalError, match=reason):
        order.solve(problem)


def test_the_checker_refuses_wrong_solutions() -> None:
    problem = resnet(2)
    good = order.solve(problem)
    check_order(problem, good)
    last = len(problem.operators) - 1
    swapped = [*good.order]
    swapped[0], swapped[1] = swapped[1], swapped[0]
    wrong: list[tuple[OrderSolution, str]] = [
        (replace(good, order=tuple(swapped)), "operators 0, "),
        (replace(good, order=good.order[:last]), "exactly once"),
        (replace(good, peak=good.peak - 1, bound=good.bound - 1), "measured"),
        (replace(good, bound=good.peak + 1), "exceeds"),
        (replace(good, status="feasible"), "feasible with"),
    ]
    for solution, reason in wrong:
        with pytest.raises(InternalError, match=reason):
            check_order(problem, solution)


@given(st.randoms(use_true_random=False), st.integers(1, 3), st.booleans())
@settings(max_examples=150)
def test_joint_footprint_of_a_star_is_the_least_span(rng: Random, partners: int, mirrored: bool) -> None:
    """One output over several inputs, or several over one, against all arrangements."""
    size = [rng.randint(1, 5) for _ in range(partners + 1)]
    rules: list[Rule] = []
    for n in range(1, partners + 1):
        o, i = (n, 0) if mirrored else (0, n)
        rules.append((o, i, rng.randint(-3, size[o] - 1)))
    total = sum(size)
    gap = {(o, i): g for o, i, g in rules}

    def legal(a: int, b: int, x: int, y: int) -> bool:
        if x + size[a] <= y or y + size[b] <= x:
            return True
        return ((a, b) in gap and x + gap[a, b] <= y) or ((b, a) in gap and y + gap[b, a] <= x)

    def least(chosen: list[int], best: int) -> int:
        if len(chosen) == len(size):
            return min(best, max(x + s for x, s in zip(chosen, size, strict=True)))
        n = len(chosen)
        for x in range(best - size[n] + 1):
            if all(legal(n, m, x, y) for m, y in enumerate(chosen)):
                best = least([*chosen, x], best)
        return best

    assert total - saved_bytes(rules, size) == least([], total)


@given(st.randoms(use_true_random=False))
def test_joint_footprint_of_any_group_is_not_overestimated(rng: Random) -> None:
    """Two outputs over two inputs: the formula may be below the least span, never above."""
    size = [rng.randint(1, 4) for _ in range(4)]
    rules = [(o, i, rng.randint(-3, size[o] - 1)) for o in (0, 1) for i in (2, 3) if rng.random() < 0.8]
    gap = {(o, i): g for o, i, g in rules}
    spots = [range(sum(size) - s + 1) for s in size]
    best = sum(size)
    for a in spots[0]:
        for b in (b for b in spots[1] if a + size[0] <= b or b + size[1] <= a):
            for c in spots[2]:
                for d in (d for d in spots[3] if c + size[2] <= d or d + size[3] <= c):
                    at = (a, b, c, d)
                    span = max(x + s for x, s in zip(at, size, strict=True))
                    if span < best and all(
                        at[o] + size[o] <= at[i]
                        or at[i] + size[i] <= at[o]
                        or ((o, i) in gap and at[o] + gap[o, i] <= at[i])
                        for o in (0, 1)
                        for i in (2, 3)
                    ):
                        best = span
    assert sum(size) - saved_bytes(rules, size) <= best
