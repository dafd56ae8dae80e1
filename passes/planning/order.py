"""Operator order for minimum peak memory.

The resident bytes depend only on which operators have run (a downset of the precedence order), so the search
goes over downsets, best first by the peak needed to reach them (minimax Dijkstra), deepest first among
equals; a downset reached again at no smaller peak is dropped. Two exact reductions keep it small:

- *Commit*: an operator that fits within the peak so far and leaves no more resident bytes than it found runs
  at once. Moving it to the front of any completion raises nothing, since what it frees can only grow and what
  it allocates can only shrink as more operators have run.
- *Precedence closure*: the search starts at the bound below which no operator can run, so everything up to
  there is free and the first dive usually ends at the optimum.

The peak of the state taken next is a lower bound of the optimum at all times.

Every stage runs forwards and backwards in time (`OrderModel.reversed`), because a graph that is hard in one
direction is often easy in the other: what narrows towards the end is best started there. Where the exact search
does not end soon, it takes turns with beam searches and with dives, each with more states in every round.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from dnncc.passes.planning.check import check_order
from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.problem import OrderProblem, OrderSolution, Progress
from dnncc.passes.planning.storages import OrderModel

DEFAULT_LIMIT = 30_000
BEAM_WIDTHS = (1, 8, 24)
_TARGET_LIMIT = 10_000
_TARGET_WIDTHS = (1, 4)
_TURN = 2_000
_REPORT_EVERY = 1024


@dataclass
class _Incumbent:
    """What is known so far; every stage of the search improves it in place."""

    order: tuple[int, ...]
    peak: int
    bound: int
    target: int = 0
    nodes: int = 0
    progress: Progress | None = None
    clock: Clock = field(default_factory=Clock)

    @property
    def floor(self) -> int:
        """Peaks up to here are equally good."""
        return max(self.bound, self.target) if self.target < self.peak else self.bound

    @property
    def closed(self) -> bool:
        return self.bound >= self.peak

    @property
    def done(self) -> bool:
        """Whether nothing more is wanted, or nothing more can be had."""
        return self.closed or self.peak <= self.target

    def offer(self, model: OrderModel, state: _State) -> None:
        """Takes the order that leads to a state in which everything has run."""
        if state.peak < self.peak:
            order = state.order()
            self.peak = model.peak(order)
            self.order = order[::-1] if model.backwards else order
            self.report()

    def raise_bound(self, bound: int) -> None:
        if bound > self.bound:
            self.bound = min(bound, self.peak)
            self.report()

    def report(self) -> None:
        if self.progress is not None:
            self.progress(self.peak, self.bound)


@dataclass(frozen=True, slots=True)
class _State:
    """A downset that has been reached: how, and what it offers."""

    done: int
    peak: int
    resident: int
    ready: tuple[int, ...]
    parent: _State | None
    ran: tuple[int, ...]

    def order(self) -> tuple[int, ...]:
        parts = []
        state: _State | None = self
        while state is not None:
            parts.append(state.ran)
            state = state.parent
        return tuple(v for part in reversed(parts) for v in part)


def _advance(model: OrderModel, state: _State, v: int, peak: int, resident: int) -> _State:
    """The state after v and after all that can be committed behind it."""
    ran = [v]
    done = state.done | 1 << v
    ready = model.ready_after(done, state.ready, v)
    return _commit(model, state, done, peak, resident, ready, ran)


def _commit(
    model: OrderModel,
    parent: _State | None,
    done: int,
    peak: int,
    resident: int,
    ready: list[int],
    ran: list[int],
) -> _State:
    at = 0
    while at < len(ready):
        w = ready[at]
        need, left = model.step(done, resident, w)
        if need <= peak and left <= resident:
            ran.append(w)
            done |= 1 << w
            resident = left
            ready = model.ready_after(done, ready, w)
            at = 0
        else:
            at += 1
    return _State(done, peak, resident, tuple(ready), parent, tuple(ran))


def _root(model: OrderModel, bound: int) -> _State:
    resident, ready = model.start()
    return _commit(model, None, 0, max(bound, resident), resident, ready, [])


def _beam(model: OrderModel, best: _Incumbent, width: int) -> None:
    """Operator by operator, keep the `width` states of least (peak, resident bytes)."""
    states = [_root(model, best.floor)]
    while states:
        reached: dict[int, _State] = {}
        for state in states:
            best.clock.check()
            if state.done == model.everything:
                best.offer(model, state)
                continue
            for v in state.ready:
                need, resident = model.step(state.done, state.resident, v)
                peak = max(state.peak, need)
                if peak >= best.peak:
                    continue
                child = _advance(model, state, v, peak, resident)
                other = reached.get(child.done)
                if other is None or child.peak < other.peak:
                    reached[child.done] = child
        states = sorted(reached.values(), key=lambda s: (s.peak, s.resident, s.done))[:width]


class _Search:
    """Best-first over downsets, where all peaks up to the floor count as equal.

    Ends with the bound at the optimum if the floor is a lower bound and enough states are expanded. A higher
    floor lets more operators be committed and less be compared: a dive for an order of at most that peak.

    Attributes:
        over: whether nothing is left to look at.
    """

    def __init__(self, model: OrderModel, best: _Incumbent, floor: int) -> None:
        self.model, self.best, self.floor = model, best, floor
        root = _root(model, floor)
        self.queue = [(root.peak, -len(root.ran), root.resident, 0, root)]
        self.reached = {root.done: root.peak}
        self.serial = 0
        self.over = False

    def run(self, limit: int) -> None:
        """Expands up to `limit` states more."""
        model, best, queue, reached = self.model, self.best, self.queue, self.reached
        while queue and queue[0][0] < best.peak:
            peak, depth, _, _, state = queue[0]
            if peak > self.floor:
                best.raise_bound(peak)
            if state.done == model.everything:
                best.offer(model, state)
                self.over = True
                return
            if limit <= 0:
                return
            best.clock.check()
            heapq.heappop(queue)
            if reached[state.done] < peak:
                continue
            limit -= 1
            best.nodes += 1
            if best.nodes % _REPORT_EVERY == 0:
                best.report()
            for v in state.ready:
                need, resident = model.step(state.done, state.resident, v)
                child_peak = max(peak, need)
                if child_peak >= best.peak:
                    continue
                child = _advance(model, state, v, child_peak, resident)
                if child_peak < reached.get(child.done, best.peak):
                    reached[child.done] = child_peak
                    self.serial += 1
                    entry = (child_peak, depth - len(child.ran), child.resident, self.serial, child)
                    heapq.heappush(queue, entry)
        self.over = True
        best.raise_bound(best.peak)  # nothing below the incumbent is left


def _reach(models: Sequence[OrderModel], best: _Incumbent) -> None:
    """Look for an order within the target: to ask for one peak is easier than to look for the least one."""
    for width, model in itertools.product(_TARGET_WIDTHS, models):
        _beam(model, best, width)
        if best.done:
            return
    searches = [_Search(model, best, best.target) for model in models]
    share = _TARGET_LIMIT // 16
    for _ in range(3):
        for search in searches:
            search.run(share)
            if search.over or best.done:
                return
        share *= 2


def _refine(models: Sequence[OrderModel], best: _Incumbent, limit: int) -> None:
    """The exact search, up to `limit` states, by turns with what may find better orders sooner."""
    searches = [_Search(model, best, best.bound) for model in models]
    share, width = _TURN, BEAM_WIDTHS[-1]
    while limit > 0:
        part = min(share, (limit + 1) // 2)
        for search in searches:
            search.run(part)
            if search.over or best.done:
                return
        limit -= 2 * part
        wider = part // models[0].count
        for model in models:
            if wider >= 2 * width:
                _beam(model, best, wider)
            _dive(model, best, part // 10)
            if best.done:
                return
        if wider >= 2 * width:
            width = wider
        share *= 2


def _dive(model: OrderModel, best: _Incumbent, limit: int) -> None:
    """Bisects, to within 1/256, for the least floor from which `limit` states lead to an order."""
    low = best.bound
    while best.peak - low > best.peak // 256 + 1 and not best.done:
        floor = (low + best.peak) // 2
        _Search(model, best, floor).run(limit)
        low = max(low, best.bound, floor if best.peak > floor else 0)


def loads(problem: OrderProblem, order: Sequence[int]) -> list[int]:
    """Bytes needed at each step of a valid order; the largest is its peak."""
    return OrderModel(problem).loads(order)


def solve(
    problem: OrderProblem,
    limit: int | None = None,
    *,
    target: int | None = None,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> OrderSolution:
    """An order of least peak memory, or the best one found with its proven bound.

    The given order, a greedy one and a beam search come first; the exact search runs only where they leave a
    gap. KeyboardInterrupt and the time limit end the search and keep the best order and bound so far.

    Args:
        problem: the operators, in a valid order.
        limit: how many states the exact search may expand, a deterministic measure; where it does not
            suffice, dives for better orders may expand as many again. 0 skips both. None is DEFAULT_LIMIT, or
            no such limit where there is a time limit.
        target: a peak that is good enough: the search stops there. None asks for the least peak.
        time_limit: seconds after which the search ends. Without one the answer does not depend on the clock.
        threads: that the search may use; it needs one.
        progress: called with (peak so far, bound).

    Raises:
        InternalError: the problem is not well formed, or the solution fails its check.
    """
    clock = Clock(time_limit)
    if limit is None:
        limit = DEFAULT_LIMIT if time_limit is None else sys.maxsize
    model = OrderModel(problem)
    models = (model, model.reversed())
    given = tuple(range(model.count))
    best = _Incumbent(given, model.peak(given), 0, target or 0, progress=progress, clock=clock)
    interrupted = False
    try:
        best.raise_bound(model.closure_bound())
        if best.bound <= best.target < best.peak:
            _reach(models, best)
        for width, each in itertools.product(BEAM_WIDTHS, models):
            if not best.done:
                _beam(each, best, width)
        if not best.done:
            _refine(models, best, limit)
    except (KeyboardInterrupt, TimeUpError):
        interrupted = True
    solution = OrderSolution(
        best.order,
        best.peak,
        best.bound,
        "optimal" if best.closed else "feasible",
        best.nodes,
        interrupted,
    )
    check_order(problem, solution)
    return solution
