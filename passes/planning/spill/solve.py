"""The least off-chip traffic for a scratchpad: orders, then evictions, then addresses.

1. Orders: the given one, one of least peak, beam searches guided by the best so far, and the exact search (`exact`)
   where it needs to look at few states.
2. Evictions of each order: chosen greedily, for the best orders optimally (`keep`).
3. Networks that remain open are divided at narrow places and improved part by part.
4. Each residency is a rectangle in time and space, placed at the capacity; where that fails, the plan is made again
   with a little less room.

The bound (`bound`) holds for every order; the search ends when it is met.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dnncc.passes.planning import order
from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.problem import Progress
from dnncc.passes.planning.spill.bound import traffic_bound
from dnncc.passes.planning.spill.check import check_spill
from dnncc.passes.planning.spill.exact import search as find
from dnncc.passes.planning.spill.keep import solve_keep
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.spill.plan import Placed, realize
from dnncc.passes.planning.spill.problem import SpillProblem, SpillSolution, Status
from dnncc.passes.planning.spill.search import Beam, first_state, state_at
from dnncc.passes.planning.spill.timeline import Timeline, evict

WIDTHS = (4, 24)
_ORDER_LIMIT = 3000
_POLISHED = 3
_PART = 24
_ROUNDS = 2
_FEW_STATES = 300
_MANY_STATES = 3000
_PLACE_EFFORT = 0.03
_REFUSED = 300
_RETRIES = 10
_ORDERS = 16
_SEARCH_SHARE = 0.6
"""Of a time limit; the rest is for addresses, without which no plan is one."""


@dataclass(frozen=True)
class _Plan:
    """An order with gaps to evict, and what they cost."""

    timeline: Timeline
    evicted: frozenset[int]
    cost: int


@dataclass
class _Search:
    """The best plans so far, cheapest first, and what is proven."""

    model: SpillModel
    clock: Clock
    progress: Progress | None
    plans: list[_Plan] = field(default_factory=list)
    bound: int = 0
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def best(self) -> _Plan:
        return self.plans[0]

    @property
    def closed(self) -> bool:
        return bool(self.plans) and self.best.cost <= self.bound

    def offer(self, sequence: Sequence[int]) -> bool:
        """Takes an order; whether it is the best so far."""
        chosen = tuple(sequence)
        if chosen in self.seen:
            return False
        self.seen.add(chosen)
        timeline = Timeline(self.model, chosen)
        evicted = evict(timeline)
        return evicted is not None and self.take(_Plan(timeline, evicted, timeline.cost(evicted)))

    def take(self, plan: _Plan) -> bool:
        better = not self.plans or plan.cost < self.best.cost
        self.plans = sorted([*self.plans, plan], key=lambda p: p.cost)[:_ORDERS]
        if better:
            self.report()
        return better

    def raise_bound(self, bound: int) -> None:
        if bound > self.bound:
            self.bound = bound
            self.report()

    def report(self) -> None:
        if self.progress is not None and self.plans:
            self.progress(self.best.cost, self.bound)


def solve(
    problem: SpillProblem,
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> SpillSolution:
    """A plan of little traffic, with its proven bound.

    KeyboardInterrupt and the time limit end the search and keep the best plan so far.

    Args:
        problem: the operators and the scratchpad.
        time_limit: seconds. Without one (and with one thread) the answer does not depend on the clock.
        threads: that the solvers may use.
        progress: called with (bytes so far, bound).

    Returns:
        A checked solution; "infeasible" if the capacity is below the largest working set, "unknown" if no plan could
        be placed.

    Raises:
        InternalError: the problem is not well formed, or the solution fails its check.
    """
    model = SpillModel(problem)
    least, at = model.largest_working_set()
    if least > model.capacity:
        solution = _without_plan(problem, least, at, "infeasible")
        check_spill(problem, solution)
        return solution
    clock = Clock(time_limit)
    search = _Search(model, Clock(None if time_limit is None else time_limit * _SEARCH_SHARE), progress)
    interrupted = False
    try:
        _run(search, threads)
    except (KeyboardInterrupt, TimeUpError):
        interrupted = True
    solution = _placed(search, clock, least, at, interrupted, threads)
    check_spill(problem, solution)
    return solution


def _run(search: _Search, threads: int) -> None:
    model, clock = search.model, search.clock
    given = tuple(range(model.count))
    search.offer(given)
    if search.closed:
        return
    _beam(search, WIDTHS[0], given)
    if search.closed:
        return
    # Few states: networks that are nearly chains. A larger search pays only where the least peak does not fit.
    if _exactly(search, _FEW_STATES, threads):
        return
    quiet = order.solve(model.problem.graph, _ORDER_LIMIT, time_limit=clock.left)
    search.offer(quiet.order)
    if search.closed or _exactly(search, _MANY_STATES, threads):
        return
    search.raise_bound(traffic_bound(model, clock=clock, threads=threads))
    _beam(search, WIDTHS[1], quiet.order)
    _polish(search, threads)
    for _ in range(_ROUNDS):
        if search.closed or not _divide(search, _PART) | _divide(search, 3 * _PART):
            break
        _polish(search, threads)


def _exactly(search: _Search, limit: int, threads: int) -> bool:
    """The exact search, as far as the limit goes; whether the search is over."""
    _polish(search, threads)
    below = search.best.cost if search.plans else None
    found = find(search.model, below, limit, search.clock)
    if found.order is not None:
        search.offer(found.order)
        _polish(search, threads)
    search.raise_bound(found.bound)
    return search.closed


def _beam(search: _Search, width: int, guide: Sequence[int]) -> None:
    """Beam searches, each guided by the best order so far, as long as they help."""
    model = search.model
    for _ in range(_ROUNDS):
        if search.closed:
            return
        guide = search.best.timeline.order if search.plans else guide
        beam = Beam(model, guide, model.order.everything, search.clock)
        better = [search.offer(state.order()) for state in beam.run(first_state(model), width)]
        if not any(better):
            return


def _polish(search: _Search, threads: int) -> None:
    """Optimal evictions for the best orders."""
    for plan in search.plans[:_POLISHED]:
        if search.closed:
            return
        kept = solve_keep(plan.timeline, plan.evicted, clock=search.clock, threads=threads)
        if kept.evicted is not None and (cost := plan.timeline.cost(kept.evicted)) < plan.cost:
            search.plans.remove(plan)
            search.take(_Plan(plan.timeline, kept.evicted, cost))
    if not search.plans:  # greedy evictions failed everywhere
        timeline = Timeline(search.model, range(search.model.count))
        kept = solve_keep(timeline, None, clock=search.clock, threads=threads)
        if kept.evicted is not None:
            search.take(_Plan(timeline, kept.evicted, timeline.cost(kept.evicted)))


def _divide(search: _Search, size: int) -> bool:
    """Searches the best order again part by part, each from the state that the plan has reached there."""
    if not search.plans or search.model.count <= size // 2:
        return False
    improved = False
    cuts = [0, *_cuts(search.best.timeline, size), search.model.count]
    for low, high in _overlapping(cuts):
        if search.closed:
            break
        plan = search.best
        sequence = plan.timeline.order
        if not any(
            low - 1 <= plan.timeline.gaps[g].end and plan.timeline.gaps[g].start < high for g in plan.evicted
        ):
            continue
        goal = sum(1 << v for v in sequence[low:high])
        beam = Beam(search.model, sequence, goal, search.clock)
        for state in beam.run(state_at(plan.timeline, plan.evicted, low), WIDTHS[-1]):
            improved |= search.offer((*sequence[:low], *state.order(), *sequence[high:]))
    return improved


def _overlapping(cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Every part, and every two neighbours together."""
    for n in range(len(cuts) - 1):
        yield cuts[n], cuts[n + 1]
    for n in range(len(cuts) - 2):
        yield cuts[n], cuts[n + 2]


def _cuts(timeline: Timeline, size: int) -> list[int]:
    """Steps at which few storages live, about `size` apart."""
    live = [0] * (timeline.steps + 1)
    for gap in timeline.gaps:
        for t in range(gap.start + 1, gap.end + 1):
            if t <= timeline.steps:
                live[t] += 1
    cuts: list[int] = []
    low = 0
    while timeline.steps - low > size * 3 // 2:
        cut = min(range(low + size // 2, low + size * 3 // 2), key=lambda t: (live[t], abs(t - low - size)))
        cuts.append(cut)
        low = cut
    return cuts


def _placed(
    search: _Search, clock: Clock, least: int, at: int | None, interrupted: bool, threads: int
) -> SpillSolution:
    """The cheapest plan found that can be placed at the capacity.

    Plans are tried from the cheapest on; one that cannot be placed is followed by the next one of its order. The first
    is always tried; once the time is over, only greedily.
    """
    model = search.model
    capacity = model.problem.capacity
    best: tuple[_Plan, Placed] | None = None
    serial = 0
    todo: list[tuple[int, int, _Plan, tuple[frozenset[int], ...]]] = []
    for plan in search.plans:
        heapq.heappush(todo, (plan.cost, serial := serial + 1, plan, ()))
    refusals = max(2, _REFUSED // max(model.count, 1))
    for attempt in range(refusals + _RETRIES):
        over = clock.left == 0.0
        if not todo or (attempt and over) or (best is not None and best[0].cost <= todo[0][0]):
            break
        _, _, plan, refused = heapq.heappop(todo)
        found = realize(
            plan.timeline, plan.evicted, effort=_PLACE_EFFORT, time_limit=clock.left, threads=threads
        )
        if found.height <= capacity:
            best = (plan, found)
            break
        refused = (*refused, plan.evicted)
        # Small plans are told apart one by one; large ones need some room, the more the later.
        slack = (found.height - capacity) << attempt - refusals if attempt >= refusals else 0
        kept = solve_keep(plan.timeline, None, slack=slack, refused=refused, clock=clock, threads=threads)
        if kept.evicted is not None:
            plan = _Plan(plan.timeline, kept.evicted, plan.timeline.cost(kept.evicted))
            heapq.heappush(todo, (plan.cost, serial := serial + 1, plan, refused))
    if best is None:
        return _without_plan(model.problem, least, at, "unknown", search.bound, interrupted)
    plan, found = best
    bound = min(search.bound, plan.cost)
    return SpillSolution(
        order=plan.timeline.order,
        events=found.events,
        residencies=found.residencies,
        workspaces=found.workspaces,
        bytes=plan.cost,
        bound=bound,
        least_capacity=least,
        least_operator=at,
        height=found.height,
        status="optimal" if bound == plan.cost else "feasible",
        interrupted=interrupted,
    )


def _without_plan(
    problem: SpillProblem,
    least: int,
    at: int | None,
    status: Status,
    bound: int = 0,
    interrupted: bool = False,
) -> SpillSolution:
    count = len(problem.graph.operators)
    return SpillSolution(
        tuple(range(count)), (), (), (None,) * count, 0, bound, least, at, 0, status, interrupted
    )
