"""Placement in several pools of different size and speed: least access cost within the capacities.

Logic-based Benders decomposition (Hooker, Ottosson 2003). The master problem assigns buffers to pools so that no
pool's load ever exceeds its capacity, at the least cost; its optimum is a lower bound. Each pool is then one
placement problem with a capacity. Where that cannot be met, a cut forbids this set of buffers in this pool (and in
every smaller one), and the master is asked again. The bound stays proven as long as only proven cuts were added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.layout import Layout, round_up
from dnncc.passes.planning.problem import PlaceProblem, PlaceSolution, Pool, Progress, Status

PlaceOne = Callable[[PlaceProblem], PlaceSolution]
"""Places one pool's buffers: a problem with a capacity and without pools."""

_ROUNDS = 40
_MASTER_EFFORT = 4.0
_LARGE = 1 << 60


@dataclass(frozen=True)
class Assignment:
    """What the solver found for every buffer of the problem, in its order."""

    pools: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass
class _State:
    """The best answer so far and what is proven."""

    problem: PlaceProblem
    layout: Layout
    best: Assignment
    bound: int
    progress: Progress
    infeasible: bool = False
    placements: int = 0

    def offer(self, found: Assignment) -> None:
        self.placements += 1
        if (excess(self.problem, found), cost(self.problem, found.pools)) < (
            excess(self.problem, self.best),
            cost(self.problem, self.best.pools),
        ):
            self.best = found
            self.progress(cost(self.problem, found.pools), self.bound)


def cost(problem: PlaceProblem, pools: Sequence[int]) -> int:
    """The sum of accesses times cost."""
    return sum(b.accesses * problem.pools[p].cost for b, p in zip(problem.buffers, pools, strict=True))


def heights(problem: PlaceProblem, found: Assignment) -> tuple[int, ...]:
    """Bytes used of every pool."""
    tops = [0] * len(problem.pools)
    for b, p, x in zip(problem.buffers, found.pools, found.offsets, strict=True):
        if b.size:
            tops[p] = max(tops[p], x + b.size)
    return tuple(tops)


def excess(problem: PlaceProblem, found: Assignment) -> int:
    """Bytes beyond the capacities."""
    used = heights(problem, found)
    return sum(max(0, h - p.bytes) for h, p in zip(used, problem.pools, strict=True) if p.bytes is not None)


def solve_pools(
    problem: PlaceProblem, layout: Layout, place_one: PlaceOne, clock: Clock, threads: int, progress: Progress
) -> PlaceSolution:
    """An assignment of least cost, or the best one found with its proven bound.

    Args:
        problem: with pools.
        layout: of its buffers, all in one address space.
        place_one: how one pool is placed.
        clock: when to stop.
        threads: of the master problem's solver.
        progress: called with (cost so far, bound).
    """
    _validate(problem)
    cheapest = min(p.cost for p in problem.pools)
    bound = sum(b.accesses for b in problem.buffers) * cheapest
    greedy = [_first_fit(problem, layout, order) for order in _orders(layout)]
    start = min(greedy, key=lambda a: (excess(problem, a), cost(problem, a.pools)))
    state = _State(problem, layout, start, bound, progress, placements=len(greedy))
    progress(cost(problem, start.pools), bound)
    interrupted = False
    try:
        if not _closed(state):
            _single_pool(state, place_one)
        if not _closed(state):
            _decompose(state, place_one, clock, threads)
    except (TimeUpError, KeyboardInterrupt):
        interrupted = True
    return _solution(state, interrupted)


def _closed(state: _State) -> bool:
    return not excess(state.problem, state.best) and cost(state.problem, state.best.pools) <= state.bound


def _solution(state: _State, interrupted: bool) -> PlaceSolution:
    problem, found = state.problem, state.best
    used, paid = heights(problem, found), cost(problem, found.pools)
    fits = not excess(problem, found)
    status: Status = "optimal" if _closed(state) else "infeasible" if state.infeasible else "feasible"
    return PlaceSolution(
        offsets=found.offsets,
        height=sum(used),
        bound=min(state.layout.load_bound(), sum(used)),
        status=status,
        method="pools",
        placements=state.placements,
        pairs=len(state.layout.pairs),
        interrupted=interrupted,
        pools=found.pools,
        heights=used,
        fits=fits,
        cost=paid,
        cost_bound=state.bound,
    )


def _validate(problem: PlaceProblem) -> None:
    def invalid(name: str, reason: str) -> InternalError:
        return InternalError("the placement problem is not well formed", [Culprit(name, reason=reason)])

    if problem.capacity is not None:
        raise invalid("capacity", "not together with pools")
    for b in problem.buffers:
        if b.accesses < 0:
            raise invalid(f"buffer {b.id}", f"{b.accesses} accesses")
    for p in problem.pools:
        if p.cost < 0 or (p.bytes is not None and p.bytes < 0):
            raise invalid(f"pool {p.name}", f"{p.bytes} bytes at cost {p.cost}")


def _room(pool: Pool) -> int:
    return _LARGE if pool.bytes is None else pool.bytes


def _orders(layout: Layout) -> list[list[int]]:
    """Most accesses per byte first, largest first, as they come to life."""
    size = layout.size
    accesses = [layout.problem.buffers[m].accesses for m in layout.members]
    count = range(len(size))
    return [
        sorted(count, key=lambda n: (-accesses[n] / size[n], -size[n])),
        sorted(count, key=lambda n: -size[n]),
        sorted(count, key=lambda n: (layout.lower[n], -size[n])),
    ]


def _first_fit(problem: PlaceProblem, layout: Layout, order: Sequence[int]) -> Assignment:
    """Every buffer goes as low as possible in the cheapest pool that has room; else in the largest one."""
    by_cost = sorted(range(len(problem.pools)), key=lambda p: (problem.pools[p].cost, p))
    largest = max(by_cost, key=lambda p: _room(problem.pools[p]))
    pool, offset = [-1] * len(order), [0] * len(order)

    def lowest(n: int, p: int) -> int:
        x = 0
        near = [
            (offset[c] - under, offset[c] + over) for c, over, under in layout.neighbours[n] if pool[c] == p
        ]
        for low, high in sorted(near):
            if x <= low:
                break
            if x < high:
                x = round_up(high, layout.alignment[n])
        return x

    for n in order:
        spots = ((p, lowest(n, p)) for p in by_cost)
        chosen = next(((p, x) for p, x in spots if x + layout.size[n] <= _room(problem.pools[p])), None)
        pool[n], offset[n] = chosen or (largest, lowest(n, largest))
    pools = [by_cost[0]] * len(problem.buffers)
    for m, p in zip(layout.members, pool, strict=True):
        pools[m] = p
    return Assignment(tuple(pools), layout.offsets(offset))


def _pool_problem(problem: PlaceProblem, members: Sequence[int], room: int) -> PlaceProblem:
    buffers = tuple(problem.buffers[m] for m in members)
    ids = {b.id for b in buffers}
    rules = tuple(r for r in problem.overlaps if r.output in ids and r.input in ids)
    return PlaceProblem(buffers, rules, capacity=room)


def _single_pool(state: _State, place_one: PlaceOne) -> None:
    """All in the cheapest pool that is large enough, without a master problem."""
    problem = state.problem
    everything = range(len(problem.buffers))
    for p, pool in enumerate(problem.pools):
        if pool.cost * sum(b.accesses for b in problem.buffers) > state.bound:
            continue
        if state.layout.load_bound() > _room(pool):
            continue
        found = place_one(_pool_problem(problem, everything, _room(pool)))
        state.offer(Assignment((p,) * len(problem.buffers), found.offsets))
        if _closed(state):
            return


@dataclass(frozen=True)
class _Cut:
    """These buffers (numbered as in the layout) do not fit together in `room` bytes."""

    buffers: frozenset[int]
    room: int


def _decompose(state: _State, place_one: PlaceOne, clock: Clock, threads: int) -> None:
    problem, layout = state.problem, state.layout
    cuts: list[_Cut] = []
    proven = True
    for _ in range(_ROUNDS):
        clock.check()
        answer = _master(state, cuts, clock, threads)
        if proven and answer.infeasible:
            state.infeasible = True
        if proven:
            state.bound = max(state.bound, answer.bound)
            state.progress(cost(problem, state.best.pools), state.bound)
        if answer.pools is None or _closed(state):
            return
        offsets = [0] * len(problem.buffers)
        pools = list(answer.pools)
        failed = False
        for p, pool in enumerate(problem.pools):
            members = [m for m, q in enumerate(pools) if q == p]
            if not members:
                continue
            clock.check()
            found = place_one(_pool_problem(problem, members, _room(pool)))
            for m, x in zip(members, found.offsets, strict=True):
                offsets[m] = x
            if found.height > _room(pool):
                failed = True
                number = {m: n for n, m in enumerate(layout.members)}
                proven = proven and found.bound > _room(pool)
                cuts += _components(
                    layout, [number[m] for m in members if m in number], _room(pool), found, members
                )
        state.offer(Assignment(tuple(pools), tuple(offsets)))
        if not failed:
            return


def _components(
    layout: Layout, chosen: Sequence[int], room: int, found: PlaceSolution, members: Sequence[int]
) -> list[_Cut]:
    """One cut per group of buffers that conflict, directly or through others, and that rises above the room."""
    inside, seen, cuts = set(chosen), set[int](), []
    at = dict(zip(members, found.offsets, strict=True))
    for first in chosen:
        if first in seen:
            continue
        group, todo = {first}, [first]
        while todo:
            for c, _, _ in layout.neighbours[todo.pop()]:
                if c in inside and c not in group:
                    group.add(c)
                    todo.append(c)
        seen |= group
        if any(at[layout.members[n]] + layout.size[n] > room for n in group):
            cuts.append(_Cut(frozenset(group), room))
    return cuts


@dataclass(frozen=True)
class _Answer:
    """Of the master problem: a pool per buffer of the problem or None, a bound of the cost."""

    pools: tuple[int, ...] | None
    bound: int
    infeasible: bool = False


def _master(state: _State, cuts: Sequence[_Cut], clock: Clock, threads: int) -> _Answer:
    """Least cost such that no pool's load exceeds its capacity and no cut is violated.

    An overlap rule saves at most the bytes that its two buffers can share, where they lie in the same pool: the
    union of buffers is at least the sum of their sizes less all pairwise intersections (Bonferroni). Among equal
    costs, the earlier pools are filled first.
    """
    from ortools.sat.python import cp_model

    problem, layout = state.problem, state.layout
    count, pools = len(layout.size), range(len(problem.pools))
    model = cp_model.CpModel()
    x = [[model.new_bool_var(f"x{n}_{p}") for p in pools] for n in range(count)]
    for n in range(count):
        model.add_exactly_one(x[n])
        for p in pools:
            model.add_hint(x[n][p], state.best.pools[layout.members[n]] == p)
    saved: dict[int, list[tuple[int, list[Any]]]] = {}
    for (o, i), gap in layout.rules.items():
        shared = min(layout.rounded[i], layout.rounded[o] - max(gap, 0))
        both = []
        for p in pools:
            y = model.new_bool_var(f"y{o}_{i}_{p}")
            model.add_implication(y, x[o][p])
            model.add_implication(y, x[i][p])
            both.append(y)
        saved.setdefault(layout.lower[o], []).append((shared, both))
    for alive, now in _sections(layout):
        for p, pool in enumerate(problem.pools):
            if pool.bytes is None:
                continue
            load = sum(layout.rounded[n] * x[n][p] for n in alive)
            less = sum(shared * both[p] for shared, both in saved.get(now, []))
            model.add(load - less <= round_up(pool.bytes, layout.unit))
    for cut in cuts:
        for p, pool in enumerate(problem.pools):
            if pool.bytes is not None and pool.bytes <= cut.room:
                model.add(sum(x[n][p] for n in cut.buffers) <= len(cut.buffers) - 1)
    accesses = [problem.buffers[m].accesses for m in layout.members]
    paid = sum(accesses[n] * problem.pools[p].cost * x[n][p] for n in range(count) for p in pools)
    late = sum(layout.size[n] * p * x[n][p] for n in range(count) for p in pools)
    weight = sum(layout.size) * max(len(problem.pools) - 1, 1) + 1
    largest = sum(accesses) * max(p.cost for p in problem.pools)
    if (largest + 1) * weight >= _LARGE:  # the tie-break would overflow
        weight, late = 1, 0
    model.minimize(paid * weight + late)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    if clock.left is None:
        solver.parameters.max_deterministic_time = _MASTER_EFFORT
    else:
        solver.parameters.max_time_in_seconds = clock.left
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return _Answer(None, state.bound, infeasible=True)
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the assignment model is invalid: {model.validate()}")
    # The objective is cost * weight + a remainder below weight; empty buffers are all in the cheapest pool.
    fixed = sum(b.accesses for b in problem.buffers if not b.size) * min(p.cost for p in problem.pools)
    bound = fixed + int(max(0.0, solver.best_objective_bound)) // weight
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return _Answer(None, bound)
    chosen = list(state.best.pools)
    for n, m in enumerate(layout.members):
        chosen[m] = next(p for p in pools if solver.boolean_value(x[n][p]))
    return _Answer(tuple(chosen), bound)


def _sections(layout: Layout) -> list[tuple[list[int], int]]:
    """(buffers that live, step) for every step at which one comes to life: every other step has a subset."""
    count = range(len(layout.size))
    starts = sorted(set(layout.lower))
    return [([n for n in count if layout.lower[n] <= now < layout.upper[n]], now) for now in starts]
