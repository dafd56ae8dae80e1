"""Recomputation under a memory budget (rematerialization), with a fixed or a free order.

The problem is Moccasin's (Bartan et al. 2023), the answer is for any number of copies:

- small graphs: exact search;
- a free order: an order within the budget needs no recomputation; else the order of least peak is taken on;
- greedy insertion, then large-neighbourhood search around the best plan;
- lower bounds, and further starts for the search, from relaxations over a few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from dnncc.passes.planning import order
from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.problem import OrderProblem, Progress
from dnncc.passes.planning.recompute import exact
from dnncc.passes.planning.recompute.bound import Prover
from dnncc.passes.planning.recompute.check import check_remat
from dnncc.passes.planning.recompute.greedy import prune, repair
from dnncc.passes.planning.recompute.incumbent import Incumbent
from dnncc.passes.planning.recompute.insertion import Draft
from dnncc.passes.planning.recompute.neighbourhood import improve
from dnncc.passes.planning.recompute.problem import RematProblem, RematSolution, Status
from dnncc.passes.planning.recompute.sequence import Ints, SequenceModel

_SMALL = 16
_STATES = 20_000
_ROUNDS = 100
_ORDERS = 3000
_ORDER_SECONDS = 3.0
_INSERTIONS = 20
_SLICE = 1.0


@dataclass(frozen=True)
class _Numbering:
    """The problem with its operators in another order, in which the heuristics work.

    Attributes:
        order: the operators' original numbers.
        model: of the renumbered graph.
        work: of the renumbered operators.
    """

    order: tuple[int, ...]
    model: SequenceModel
    work: tuple[int, ...]

    @staticmethod
    def of(problem: RematProblem, chosen: Sequence[int]) -> _Numbering:
        graph = problem.graph
        renumbered = OrderProblem(graph.tensors, tuple(graph.operators[v] for v in chosen), graph.outputs)
        once = {i for i, v in enumerate(chosen) if v in problem.once}
        return _Numbering(
            tuple(chosen), SequenceModel(renumbered, once), tuple(problem.work[v] for v in chosen)
        )


class _Search:
    """The heuristics in one numbering, which offer what they find in the original one."""

    def __init__(self, problem: RematProblem, numbering: _Numbering, best: Incumbent, seed: int) -> None:
        self.problem, self.numbering, self.best = problem, numbering, best
        self.rng = Random(seed)
        self.start: Ints | None = None
        self.start_added = 0

    def draft(self, sequence: Sequence[int] | Ints) -> Draft:
        n = self.numbering
        return Draft(n.model, n.work, self.problem.budget, np.asarray(sequence, np.int64))

    def offer(self, draft: Draft) -> bool:
        added = draft.added
        peak = int(draft.over.max()) + draft.budget
        if peak <= draft.budget and (self.start is None or added < self.start_added):
            self.start, self.start_added = draft.sequence, added
        original = [self.numbering.order[v] for v in draft.sequence.tolist()]
        return self.best.offer(original, peak, added, self.problem.budget)

    def polish(self, sequence: Sequence[int] | Ints) -> None:
        """Bring a sequence within the budget, greedily, and take from it what is not needed."""
        draft = self.draft(sequence)
        count = self.numbering.model.count
        if not repair(draft, self.best.clock, _INSERTIONS * count):
            # Chance finds ways where the best insertions end in a dead end.
            for _ in range(8):
                self.offer(draft)
                draft = self.draft(sequence)
                if repair(draft, self.best.clock, _INSERTIONS * count, 0.9, self.rng):
                    break
            else:
                self.offer(draft)
                return
        prune(draft, self.best.clock)
        self.offer(draft)

    def improve(self, rounds: int, clock: Clock) -> None:
        """Search around the best plan of this numbering."""
        if self.start is not None:
            improve(self.draft(self.start), clock, rounds, self.rng, self.offer)


def least_budget(problem: RematProblem) -> tuple[int, int | None]:
    """(bytes that every sequence needs, the operator that sets them).

    While an operator runs, what it touches is there, and of what cannot be computed again all that lives then
    for certain.
    """
    model = SequenceModel(problem.graph, problem.once)
    lasting = [s for s, maker in enumerate(model.maker.tolist()) if maker < 0 and model.size[s]]
    touchers = {s: {v for v, a in enumerate(model.accessed) if s in a} for s in lasting}
    before: list[set[int]] = []
    for needs in model.needs:
        before.append(set(needs).union(*(before[u] for u in needs)))
    after: list[set[int]] = [set() for _ in before]
    for w, earlier in enumerate(before):
        for u in earlier:
            after[u].add(w)
    found = sum(
        int(model.size[s]) for s in lasting if s in model.initial and (touchers[s] or s in model.kept)
    )
    setter: int | None = None
    for v in range(model.count):
        earlier = set(range(v)) if problem.fixed_order else before[v]
        later = set(range(v + 1, model.count)) if problem.fixed_order else after[v]
        beside = 0
        for s in lasting:
            begun = s in model.initial or touchers[s] & earlier
            if v not in touchers[s] and begun and (s in model.kept or touchers[s] & later):
                beside += int(model.size[s])
        if model.need(v) + beside > found:
            found, setter = model.need(v) + beside, v
    return int(found), setter


def solve(
    problem: RematProblem,
    effort: float = 1.0,
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> RematSolution:
    """A sequence of least added work within the budget, or the best one found with its proven bound.

    KeyboardInterrupt and the time limit end the search and keep the best plan and bound so far.

    Args:
        problem: operators, their work, the budget.
        effort: a deterministic limit, used where there is no time limit; 1 takes some ten seconds for graphs
            of hundreds of operators.
        time_limit: seconds after which the search ends.
        threads: that the search may use; with one and without a time limit the answer does not depend on the
            clock.
        progress: called with (added work so far, bound).

    Raises:
        InternalError: the problem is not well formed, or the solution fails its check.
    """
    model = SequenceModel(problem.graph, problem.once)
    given = np.arange(model.count)
    least, setter = least_budget(problem)
    best = Incumbent(Clock(time_limit), tuple(given.tolist()), model.profile(given).peak, progress=progress)
    interrupted = False
    try:
        if best.offer(best.sequence, best.peak, 0, problem.budget):
            pass
        elif least > problem.budget:
            best.infeasible = True
        else:
            _stages(problem, model, best, effort, time_limit, threads)
    except (KeyboardInterrupt, TimeUpError):
        interrupted = True
    status: Status = "infeasible" if best.infeasible else "unknown"
    if best.added is not None:
        status = "optimal" if best.closed else "feasible"
    added = sum(problem.work[v] for v in best.sequence) - sum(problem.work)
    solution = RematSolution(best.sequence, best.peak, added, best.bound, least, setter, status, interrupted)
    check_remat(problem, solution)
    return solution


def _stages(
    problem: RematProblem,
    model: SequenceModel,
    best: Incumbent,
    effort: float,
    time_limit: float | None,
    threads: int,
) -> None:
    if model.count <= _SMALL:
        answer = exact.search(problem, model, _STATES, best.clock)
        if answer is not None:
            _settle(problem, model, best, answer.sequence)
            return
    given = _Numbering(tuple(range(model.count)), model, problem.work)
    searches = [_Search(problem, given, best, 0)]
    if not problem.fixed_order:
        other = _order_within(problem, best, effort)
        if best.closed:
            return
        if other != given.order:
            searches.insert(0, _Search(problem, _Numbering.of(problem, other), best, 1))
    for search in searches:
        search.polish(np.arange(model.count))
    prover = Prover(
        model, problem.work, problem.budget, problem.fixed_order, best, threads, searches[-1].polish
    )
    if time_limit is None:
        for search in searches:
            search.improve(round(_ROUNDS * effort), best.clock)
        if not best.closed:
            prover.raise_bound(effort, None)
        return
    length = _SLICE
    while not best.closed:
        prover.raise_bound(None, length)
        # The search that is ahead gets the time.
        ahead = min(searches, key=lambda s: (s.start is None, s.start_added))
        if ahead.start is None and prover.exhausted:
            for search in searches:
                search.polish(np.arange(model.count))
        _slice(ahead, best, length)
        best.clock.check()
        length *= 1.5


def _slice(search: _Search, best: Incumbent, seconds: float) -> None:
    left = best.clock.left
    part = Clock(seconds if left is None else min(seconds, left))
    try:
        search.improve(1_000_000_000, part)
    except TimeUpError:
        best.clock.check()


def _settle(
    problem: RematProblem, model: SequenceModel, best: Incumbent, sequence: Sequence[int] | None
) -> None:
    """The exact search has ended."""
    if sequence is None:
        best.infeasible = True
        return
    added = sum(problem.work[v] for v in sequence) - sum(problem.work)
    best.offer(sequence, model.profile(np.asarray(sequence)).peak, added, problem.budget)
    best.raise_bound(added)


def _order_within(problem: RematProblem, best: Incumbent, effort: float) -> tuple[int, ...]:
    """An order within the budget, or else one of low peak; the incumbent learns of it."""
    left = best.clock.left
    share = Clock(None if left is None else min(left, max(left / 2, _ORDER_SECONDS)))
    limit = round(_ORDERS * effort) if left is None else None
    found = order.solve(problem.graph, limit, target=problem.budget, time_limit=share.left)
    best.offer(found.order, found.peak, 0, problem.budget)
    if found.bound > problem.budget:
        best.raise_bound(min(problem.work))  # no order does without recomputation
    if found.interrupted and share.left != 0:
        raise KeyboardInterrupt
    return found.order
