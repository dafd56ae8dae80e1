"""Spilling: exact against brute force, against the published program, and honest where it is not exact."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain as joined
from itertools import combinations
from random import Random

import pytest
from dnncc.passes.planning import order
from dnncc.passes.planning.footprint import Rule, saved_bytes
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.spill.problem import SpillProblem
from dnncc.passes.planning.spill.solve import solve
from planning_cases import random_order_problem

Where = tuple[frozenset[int], frozenset[int], frozenset[int]]


def home(graph: OrderProblem, tensor: int) -> tuple[int, int]:
    offset = 0
    while (parent := graph.tensors[tensor].view_of) is not None:
        offset += graph.tensors[tensor].view_offset
        tensor = parent
    return tensor, offset


def subsets(items: list[int]) -> Iterator[frozenset[int]]:
    return map(frozenset, joined.from_iterable(combinations(items, n) for n in range(len(items) + 1)))


def brute_force(graph: OrderProblem, capacity: int) -> int | None:
    """The least traffic by trying everything: before every operator any set of storages may leave, what the operator
    reads may leave at it. States are (operators done, resident, valid off-chip)."""
    homes = [home(graph, t)[0] for t in range(len(graph.tensors))]
    size = {s: graph.tensors[s].size for s in homes}
    created = {t for op in graph.operators for t in op.outputs}
    touched = [{homes[t] for t in (*op.inputs, *op.outputs)} for op in graph.operators]
    written = [{homes[t] for t in op.outputs} for op in graph.operators]
    kept = {homes[t] for t in graph.outputs}
    initial = {s for s in kept.union(*touched) if s not in created}
    count = len(graph.operators)

    def ready(tensor: int, done: frozenset[int]) -> bool:
        made = {t: v for v, op in enumerate(graph.operators) for t in op.outputs}
        if tensor in made:
            return made[tensor] in done
        parent = graph.tensors[tensor].view_of
        return parent is None or ready(parent, done)

    start: list[tuple[int, int, Where]] = []
    best: dict[Where, int] = {}
    serial = 0

    def push(cost: int, where: Where) -> None:
        nonlocal serial
        if cost < best.get(where, cost + 1):
            best[where] = cost
            serial += 1
            heapq.heappush(start, (cost, serial, where))

    for resident in subsets(sorted(initial)):
        push(0, (frozenset(), resident, frozenset(initial - resident)))
    while start:
        cost, _, where = heapq.heappop(start)
        if best[where] < cost:
            continue
        done, resident, valid = where
        if len(done) == count:
            return cost
        for v, op in enumerate(graph.operators):
            if v in done or not all(ready(t, done) for t in op.inputs):
                continue
            before = initial.union(*(touched[u] for u in done))
            later = kept.union(*(touched[u] for u in range(count) if u not in done and u != v))
            missing = {s for s in touched[v] if s in before and s not in resident}
            if not missing <= valid:
                continue
            for gone in subsets(sorted(resident - touched[v])):
                spilled = sum(size[s] for s in gone if s not in valid and s in later)
                here = (resident - gone) | touched[v]
                dying = here - later
                for lent in subsets(sorted((touched[v] & later & before) - written[v])):
                    lost = sum(size[s] for s in lent if s not in valid | missing)
                    free = dying | lent
                    rules = active_rules(graph, v, touched[v] - before, free)
                    need = sum(size[s] for s in here) + op.workspace - saved_bytes(rules, size)
                    if need > capacity:
                        continue
                    copies = ((valid | (gone & later) | missing | lent) - written[v]) & later
                    paid = cost + spilled + lost + sum(size[s] for s in missing)
                    push(paid, (done | {v}, here - free, copies))
    return None


def active_rules(graph: OrderProblem, v: int, born: set[int], free: set[int]) -> list[Rule]:
    op = graph.operators[v]
    pairs: dict[tuple[int, int], list[int | None]] = {}
    for o in op.outputs:
        for i in op.inputs:
            (out, out_at), (into, in_at) = home(graph, o), home(graph, i)
            stated = [r.distance + out_at - in_at for r in op.overlaps if (r.output, r.input) == (o, i)]
            pairs.setdefault((out, into), []).append(stated[0] if stated else None)
    rules = []
    created = {t for other in graph.operators for t in other.outputs}
    for (o, i), distances in pairs.items():
        known = [d for d in distances if d is not None]
        allowed = len(known) == len(distances) and o in born and o in created and i in free and o != i
        if allowed and graph.tensors[i].size and max(known) < graph.tensors[o].size:
            rules.append((o, i, max(known)))
    return rules


def capacities(problem: OrderProblem) -> list[int]:
    least = solve(SpillProblem(problem, 0)).least_capacity
    peak = order.solve(problem).peak
    return sorted({least, (least + peak) // 2, peak})


def against_brute_force(rng: Random, count: int) -> None:
    problem = random_order_problem(rng, count)
    for capacity in capacities(problem):
        found = solve(SpillProblem(problem, capacity))
        best = brute_force(problem, capacity)
        if best is None:
            assert found.status in ("infeasible", "unknown")
            continue
        assert found.status in ("optimal", "feasible"), (capacity, best)
        assert found.bound <= best <= found.bytes
        assert found.bytes == best, (found.bytes, best, found.status, capacity)


@pytest.mark.parametrize("seed", range(60))
def test_optimal_against_brute_force(seed: int) -> None:
    against_brute_force(Random(seed), seed % 6)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(1000))
def test_optimal_against_brute_force_on_a_thousand(seed: int) -> None:
    against_brute_force(Random(1000 + seed), seed % 10)
