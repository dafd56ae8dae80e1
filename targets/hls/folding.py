"""Folding: for each layer one of its choices, such that the slowest stage is as fast as the part allows.

First the fewest cycles of the slowest stage, by bisection over the cycle counts that occur; each question is a
feasibility problem of CP-SAT, answered with proof. Then, at that speed, the least resources: the sum of the shares of
the part that are taken. Lower bounds: below the fewest cycles every next count is proven infeasible; the shares have
the solver's bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from dnncc.ir.types import Array
from dnncc.targets.hls.resources import KINDS, Resources, total
from dnncc.targets.hls.stages.base import Choice, Wire
from dnncc.targets.hls.stages.movement import conversion, fork_resources

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

SCALE = 100_000_000
"""Shares of a part are counted in units of 10^-8."""
DETERMINISTIC_LIMIT = 8.0
"""CP-SAT's own measure of work, about seconds, for each question."""


@dataclass(frozen=True, eq=False)
class Edge:
    """A wire from one layer to an input of another.

    Attributes:
        source, target: indices of the layers.
        port: which input of the target.
        wire: what it carries.
        forked: the wire has several readers: a fork of the source's lanes stands before the converters.
    """

    source: int
    target: int
    port: int
    wire: Wire
    forked: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """Layers with their choices, and how they are connected.

    Attributes:
        names: of the layers.
        choices: per layer.
        edges: the wires.
        limit: what the part lets a design take.
        reserve: what is taken besides: FIFOs between layers, as far as they are known.
        cycles: no stage may take more; None: as fast as possible.
    """

    names: tuple[str, ...]
    choices: tuple[tuple[Choice, ...], ...]
    edges: tuple[Edge, ...]
    limit: Resources
    reserve: Resources = field(default_factory=Resources)
    cycles: int | None = None


@dataclass(frozen=True)
class Solution:
    """One choice per layer.

    Attributes:
        picks: index of the choice, per layer; empty if there is none that fits.
        cycles: of the slowest stage.
        bound: no folding that fits has fewer.
        resources: of all layers, converters, forks, and the reserve.
        cost: the sum of the shares of the limit, in units of 1 / ``SCALE``.
        cost_bound: no folding of this speed that fits costs less.
    """

    picks: tuple[int, ...]
    cycles: int
    bound: int
    resources: Resources
    cost: int
    cost_bound: int

    @property
    def optimal(self) -> bool:
        return self.cycles == self.bound and self.cost == self.cost_bound


Progress = Callable[[str], None]


def solve(problem: Problem, progress: Progress | None = None) -> Solution:
    """The fastest folding that fits, then the smallest of that speed; without picks if none fits."""
    say = progress or (lambda text: None)
    speeds = [s for s in _speeds(problem) if problem.cycles is None or s <= problem.cycles]
    picks = _ask(problem, speeds[-1]).picks if speeds else ()
    if not picks:
        return Solution((), 0, 0, Resources(), 0, 0)
    low, high, proven = 0, len(speeds) - 1, 0
    if problem.cycles is not None:
        low = proven = high
    while low < high:
        middle = (low + high) // 2
        answer = _ask(problem, speeds[middle])
        if answer.picks:
            picks, high = answer.picks, middle
        else:
            low = middle + 1
            proven = low if answer.proven else proven
        say(f"folding: {speeds[high]:,} cycles, at least {speeds[proven]:,}")
    answer = _ask(problem, speeds[high], optimise=True, start=picks)
    cycles, resources = measure(problem, answer.picks or picks)
    bound = speeds[proven] if problem.cycles is None else cycles
    return Solution(
        answer.picks or picks, cycles, bound, resources, cost_of(resources, problem.limit), answer.bound
    )


def check(problem: Problem, solution: Solution) -> None:
    """AssertionError unless the solution is what it says, recomputed from the choices."""
    picked = [choices[i] for choices, i in zip(problem.choices, solution.picks, strict=True)]
    used = {kind: getattr(problem.reserve, kind) for kind in KINDS}
    slowest = max(choice.cycles for choice in picked)
    forks = set()
    for choice in picked:
        for kind in KINDS:
            used[kind] += getattr(choice.resources, kind)
    for edge in problem.edges:
        out, into = picked[edge.source].lanes_out, picked[edge.target].lanes_in[edge.port]
        assert edge.wire.elements % out == 0 and edge.wire.elements % into == 0
        cycles, needed = conversion(edge.wire, out, into)
        slowest = max(slowest, cycles)
        for kind in KINDS:
            used[kind] += getattr(needed, kind)
        if edge.forked and edge.source not in forks:
            forks.add(edge.source)
            for kind in KINDS:
                used[kind] += getattr(fork_resources(out * edge.wire.number.bits), kind)
    for kind in KINDS:
        assert used[kind] == getattr(solution.resources, kind) <= getattr(problem.limit, kind), kind
    assert solution.bound <= slowest == solution.cycles
    assert problem.cycles is None or slowest <= problem.cycles
    assert solution.cost_bound <= solution.cost == cost_of(solution.resources, problem.limit)


def measure(problem: Problem, picks: Sequence[int]) -> tuple[int, Resources]:
    """Cycles of the slowest stage, and the resources of everything."""
    picked = [choices[i] for choices, i in zip(problem.choices, picks, strict=True)]
    costs = [conversion(e.wire, *_lanes(picked, e)) for e in problem.edges]
    forked = {e.source: e.wire for e in problem.edges if e.forked}
    forks = [fork_resources(picked[s].lanes_out * wire.number.bits) for s, wire in forked.items()]
    cycles = max([c.cycles for c in picked] + [c for c, _ in costs])
    return cycles, total([problem.reserve, *(c.resources for c in picked), *(r for _, r in costs), *forks])


def cost_of(resources: Resources, limit: Resources) -> int:
    """The sum of the shares of the limit."""
    return sum(getattr(resources, kind) * (SCALE // getattr(limit, kind)) for kind in KINDS)


def smallest(problem: Problem) -> Resources:
    """A lower bound of every kind of resource: of each layer the least of any choice."""
    return total(
        [
            problem.reserve,
            *(
                Resources(**{kind: min(getattr(c.resources, kind) for c in choices) for kind in KINDS})
                for choices in problem.choices
            ),
        ]
    )


def _lanes(picked: Sequence[Choice], edge: Edge) -> tuple[int, int]:
    return picked[edge.source].lanes_out, picked[edge.target].lanes_in[edge.port]


def _speeds(problem: Problem) -> list[int]:
    """The cycle counts that a slowest stage can have, ascending: at least every layer's fewest."""
    least = max(min(c.cycles for c in choices) for choices in problem.choices)
    found = {c.cycles for choices in problem.choices for c in choices}
    for edge in problem.edges:
        outs = {c.lanes_out for c in problem.choices[edge.source]}
        ins = {c.lanes_in[edge.port] for c in problem.choices[edge.target]}
        found |= {conversion(edge.wire, a, b)[0] for a in outs for b in ins}
    return sorted(s for s in found if s >= least)


@dataclass(frozen=True)
class _Answer:
    """Picks, or none; whether that there are none is proven; the cost's lower bound."""

    picks: tuple[int, ...]
    proven: bool
    bound: int


def _ask(problem: Problem, cycles: int, optimise: bool = False, start: Sequence[int] = ()) -> _Answer:
    """Is there a folding with no stage above ``cycles``? If ``optimise``, the cheapest one."""
    from dnncc.passes.planning.cpsat import prepare, run
    from ortools.sat.python import cp_model

    kept = _undominated(problem, cycles)
    if not all(kept):
        return _Answer((), True, 0)
    model = cp_model.CpModel()
    x = [[model.new_bool_var("") for _ in indices] for indices in kept]
    for row in x:
        model.add_exactly_one(row)
    terms: list[tuple[cp_model.IntVar, Resources]] = [
        (var, choices[i].resources)
        for row, indices, choices in zip(x, kept, problem.choices, strict=True)
        for var, i in zip(row, indices, strict=True)
    ]
    terms += _edge_terms(model, problem, cycles, kept, x)
    for kind in KINDS:
        room = getattr(problem.limit, kind) - getattr(problem.reserve, kind)
        model.add(sum(getattr(r, kind) * var for var, r in terms) <= room)
    if optimise:
        fixed = cost_of(problem.reserve, problem.limit)
        model.minimize(sum(cost_of(r, problem.limit) * var for var, r in terms) + fixed)
    hints = dict(enumerate(start))
    for layer, (row, indices) in enumerate(zip(x, kept, strict=True)):
        for var, i in zip(row, indices, strict=True):
            if layer in hints:
                model.add_hint(var, hints[layer] == i)
    solver = prepare(1)
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = DETERMINISTIC_LIMIT
    status, _ = run(solver, model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        picks = tuple(
            next(i for var, i in zip(row, indices, strict=True) if solver.boolean_value(var))
            for row, indices in zip(x, kept, strict=True)
        )
        return _Answer(picks, True, round(solver.best_objective_bound) if optimise else 0)
    return _Answer((), status == cp_model.INFEASIBLE, 0)


def _vector(resources: Resources) -> Array:
    return np.array([getattr(resources, kind) for kind in KINDS], np.int64)


def _undominated(problem: Problem, cycles: int) -> list[list[int]]:
    """Per layer the choices within ``cycles`` that no other one undercuts in every resource, even if that one's lanes
    need the most expensive converters that its neighbours could ask for.
    """
    kept = [[i for i, c in enumerate(choices) if c.cycles <= cycles] for choices in problem.choices]
    ports: list[list[tuple[Edge, bool]]] = [[] for _ in kept]
    for edge in problem.edges:
        ports[edge.source].append((edge, True))
        ports[edge.target].append((edge, False))
    found = []
    for layer, indices in enumerate(kept):
        choices = problem.choices[layer]
        cost = np.array([_vector(choices[i].resources) for i in indices]).reshape(-1, len(KINDS))
        # [a, b]: what a costs at most if it takes b's place.
        exchange = np.broadcast_to(cost[:, None, :], (len(indices), len(indices), len(KINDS))).copy()
        for edge, out in ports[layer]:
            other = edge.target if out else edge.source
            around = {_port(problem.choices[other][i], edge, not out) for i in kept[other]}
            lanes = np.array([_port(choices[i], edge, out) for i in indices])
            worst = {a: _worst(edge, a, around, out, cycles) for a in set(lanes.tolist())}
            penalty = np.array([worst[a] for a in lanes.tolist()]).reshape(-1, 1, len(KINDS))
            exchange += np.where((lanes[:, None] == lanes[None, :])[..., None], 0, penalty)
        better: Array = np.all(exchange <= cost[None], axis=-1)
        # Of two that can take each other's place the first one stays.
        mutual = better & better.T
        better &= ~(mutual & (np.arange(len(indices))[:, None] >= np.arange(len(indices))[None, :]))
        beaten: Array = better.any(axis=0, keepdims=True).reshape(-1)
        found.append([i for i, loses in zip(indices, beaten.tolist(), strict=True) if not loses])
    return found


def _port(choice: Choice, edge: Edge, out: bool) -> int:
    return choice.lanes_out if out else choice.lanes_in[edge.port]


def _worst(edge: Edge, lanes: int, around: set[int], out: bool, cycles: int) -> Array:
    """The most that converters at this end can cost, beyond any limit if one would be too slow."""
    found = np.zeros(len(KINDS), np.int64)
    for other in around:
        slowest, needed = conversion(edge.wire, *((lanes, other) if out else (other, lanes)))
        if slowest > cycles:
            return np.full(len(KINDS), 1 << 40)
        found = np.maximum(found, _vector(needed))
    if out and edge.forked:
        found = found + _vector(fork_resources(lanes * edge.wire.number.bits))
    return found


def _edge_terms(
    model: cp_model.CpModel,
    problem: Problem,
    cycles: int,
    kept: Sequence[Sequence[int]],
    x: Sequence[Sequence[cp_model.IntVar]],
) -> list[tuple[cp_model.IntVar, Resources]]:
    """Converters and forks: a Boolean for each pair of lanes that costs something."""

    def by_lanes(layer: int, port: int | None) -> dict[int, list[cp_model.IntVar]]:
        found: dict[int, list[cp_model.IntVar]] = {}
        for var, i in zip(x[layer], kept[layer], strict=True):
            choice = problem.choices[layer][i]
            found.setdefault(choice.lanes_out if port is None else choice.lanes_in[port], []).append(var)
        return found

    terms: list[tuple[cp_model.IntVar, Resources]] = []
    forks = set()
    for edge in problem.edges:
        outs, ins = by_lanes(edge.source, None), by_lanes(edge.target, edge.port)
        if edge.forked and edge.source not in forks:
            forks.add(edge.source)
            for lanes, given in outs.items():
                terms += [(var, fork_resources(lanes * edge.wire.number.bits)) for var in given]
        # The marginals of the pairs are the lanes: on a tree of layers this relaxes to integers by itself.
        pairs: dict[tuple[int, int], cp_model.IntVar] = {}
        for a, b in itertools.product(outs, ins):
            slowest, needed = conversion(edge.wire, a, b)
            if slowest <= cycles:
                pairs[a, b] = model.new_bool_var("")
                terms.append((pairs[a, b], needed))
        for a, given in outs.items():
            model.add(sum(var for (out, _), var in pairs.items() if out == a) == sum(given))
        for b, taken in ins.items():
            model.add(sum(var for (_, into), var in pairs.items() if into == b) == sum(taken))
    return terms
