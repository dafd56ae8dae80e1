"""Recomputation: exact against brute force, bounds that hold, plans that keep within the budget."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest
from dnncc.passes.planning.footprint import saved_bytes
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.recompute import solve as recompute
from dnncc.passes.planning.recompute.expand import expand
from dnncc.passes.planning.recompute.problem import RematProblem
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_cases import random_order_problem
from test_planning_order import naive_peak, root


def repeatable(graph: OrderProblem, v: int) -> bool:
    """The rule of `RematProblem`: nobody writes a view of what v makes, and v makes no view."""
    own = set(graph.operators[v].outputs)
    others = [t for w, op in enumerate(graph.operators) if w != v for t in op.outputs]
    return all(root(graph, t)[0] == t for t in own) and all(root(graph, t)[0] not in own for t in others)


def sequences(problem: RematProblem, longest: int) -> Iterator[list[int]]:
    """Every valid sequence of at most `longest` executions."""
    graph = problem.graph
    created = {t: v for v, op in enumerate(graph.operators) for t in op.outputs}

    def maker(tensor: int) -> int | None:
        parent = graph.tensors[tensor].view_of
        return created.get(tensor, None if parent is None else maker(parent))

    needs = [{m for t in op.inputs if (m := maker(t)) is not None} for op in graph.operators]
    again = [repeatable(graph, v) for v in range(len(graph.operators))]

    def extend(done: list[int]) -> Iterator[list[int]]:
        if len(set(done)) == len(graph.operators):
            yield done
        if len(done) == longest:
            return
        for v in range(len(graph.operators)):
            if v in done:
                if not again[v]:
                    continue
            elif needs[v] - set(done) or (problem.fixed_order and set(range(v)) - set(done)):
                continue
            yield from extend([*done, v])

    return extend([])


def added(problem: RematProblem, sequence: list[int] | tuple[int, ...]) -> int:
    return sum(problem.work[v] for v in sequence) - sum(problem.work)


def peak(graph: OrderProblem, sequence: list[int]) -> int:
    expanded = expand(graph, sequence).problem
    return naive_peak(expanded, list(range(len(sequence))))


def random_problem(rng: Random, count: int) -> RematProblem:
    graph = random_order_problem(rng, count)
    given = peak(graph, list(range(len(graph.operators))))
    work = tuple(rng.randint(0, 9) for _ in graph.operators)
    return RematProblem(graph, work, max(0, given - rng.randint(0, 5)), rng.random() < 0.5)


@given(st.randoms(use_true_random=False), st.integers(1, 3))
@settings(max_examples=120)
def test_against_all_sequences(rng: Random, count: int) -> None:
    problem = random_problem(rng, count)
    count = len(problem.graph.operators)
    if count > 4:
        return
    costs = {}
    for sequence in sequences(problem, count + 2):
        need, cost = peak(problem.graph, sequence), added(problem, sequence)
        costs[need] = min(cost, costs.get(need, cost))
    within = [cost for need, cost in costs.items() if need <= problem.budget]
    solution = recompute.solve(problem)
    assert solution.least_budget <= min(costs)
    if within:
        # Longer sequences than these could be cheaper only by operators that cost nothing.
        assert solution.status == "optimal"
        assert solution.added <= min(within)
        assert solution.added == min(within) or 0 in problem.work
    else:
        assert solution.status == "infeasible" or len(solution.sequence) > count + 2


def brute_force(problem: RematProblem) -> int | None:
    """The least added work, by what has run and what is in memory; None if nothing keeps within the budget."""
    graph = problem.graph
    count = len(graph.operators)
    home = [root(graph, t)[0] for t in range(len(graph.tensors))]
    size = {s: graph.tensors[s].size for s in set(home)}
    again = [repeatable(graph, v) for v in range(count)]
    made = {home[t]: v for v, op in enumerate(graph.operators) for t in op.outputs if again[v]}
    touched = [{home[t] for t in (*op.inputs, *op.outputs)} for op in graph.operators]
    readers = {s: {v for v in range(count) if s in touched[v]} for s in size}
    creates = [{s for s, maker in made.items() if maker == v} for v in range(count)]

    def source(tensor: int) -> int | None:
        for v, op in enumerate(graph.operators):
            if tensor in op.outputs:
                return v
        parent = graph.tensors[tensor].view_of
        return None if parent is None else source(parent)

    needs = [{m for t in op.inputs if (m := source(t)) is not None} for op in graph.operators]
    kept = {home[t] for t in graph.outputs}
    start = {s for s in size if source(s) is None and (readers[s] or s in kept)}
    if sum(size[s] for s in start) > problem.budget:
        return None

    def rules(v: int, born: set[int], dropped: set[int]) -> list[tuple[int, int, int]]:
        pairs: dict[tuple[int, int], list[int | None]] = {}
        op = graph.operators[v]
        for o in op.outputs:
            for i in op.inputs:
                (out, out_at), (into, in_at) = root(graph, o), root(graph, i)
                said = [r.distance + out_at - in_at for r in op.overlaps if (r.output, r.input) == (o, i)]
                pairs.setdefault((out, into), []).append(said[0] if said else None)
        found = []
        for (o, i), distances in pairs.items():
            known = [d for d in distances if d is not None]
            if o == i or len(known) < len(distances) or o not in born or i not in dropped:
                continue
            if size[o] and size[i] and max(known) < size[o]:
                found.append((o, i, max(known)))
        return found

    queue = [(0, 0, frozenset[int](), frozenset(start))]
    seen: set[tuple[frozenset[int], frozenset[int]]] = set()
    serial = 0
    while queue:
        paid, _, done, resident = heapq.heappop(queue)
        if (done, resident) in seen:
            continue
        seen.add((done, resident))
        if len(done) == count and kept <= resident:
            return paid
        for v in range(count):
            if v in done and (not again[v] or creates[v] & resident):
                continue
            if v not in done and (needs[v] - done or (problem.fixed_order and set(range(v)) - done)):
                continue
            lost = {s for s in touched[v] - creates[v] - resident if s in made or readers[s] & done}
            if lost:
                continue
            born = touched[v] - resident
            there = resident | touched[v]
            free = [s for s in touched[v] if s in made or (readers[s] <= done | {v} and s not in kept)]
            for length in range(len(free) + 1):
                for dropped in combinations(free, length):
                    need = sum(size[s] for s in there) + graph.operators[v].workspace
                    need -= saved_bytes(rules(v, born, set(dropped)), {s: size[s] for s in there})
                    if need <= problem.budget:
                        serial += 1
                        price = paid + (problem.work[v] if v in done else 0)
                        heapq.heappush(queue, (price, serial, done | {v}, there - set(dropped)))
    return None


def agrees(problem: RematProblem) -> None:
    best = brute_force(problem)
    solution = recompute.solve(problem)
    if best is None:
        assert solution.status == "infeasible"
    else:
        assert (solution.status, solution.added) == ("optimal", best)


@given(st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=80)
def test_against_brute_force(rng: Random, count: int) -> None:
    agrees(random_problem(rng, count))


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(1000))
def test_against_brute_force_up_to_nine_operators(seed: int) -> None:
    rng = Random(seed)
    agrees(random_problem(rng, rng.randint(4, 9 if rng.random() < 0.5 else 6)))


@given(st.randoms(use_true_random=False), st.integers(2, 6))
@settings(max_examples=60)
def test_heuristics_and_bounds_enclose_the_optimum(rng: Random, count: int) -> None:
    problem = random_problem(rng, count)
    best = brute_force(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recompute, "_SMALL", 0)
        solution = recompute.solve(problem, effort=0.2)
    if best is None:
        assert solution.status in ("infeasible", "unknown")
    else:
        assert solution.status != "infeasible"
        assert solution.bound <= best
        if solution.status != "unknown":
            assert solution.added >= best
            assert solution.status == "feasible" or solution.added == best
