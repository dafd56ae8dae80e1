"""Lower bounds of the added work, by relaxations over more and more cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from dnncc.passes.planning.recompute.cuts import Cut, fixed_cuts, free_cut, relax
from dnncc.passes.planning.recompute.incumbent import Incumbent
from dnncc.passes.planning.recompute.programme import Answer, solve
from dnncc.passes.planning.recompute.realise import overloaded, realise
from dnncc.passes.planning.recompute.sequence import SequenceModel

_GROWTH = 3
_FREE_CUTS = 5


class Prover:
    """Raises the incumbent's bound; remembers the cuts between two calls.

    Args:
        model, work, budget: the problem, in its own order.
        fixed: whether first executions keep that order.
        best: the incumbent; its plans are of the problem's own numbering.
        threads: for the solvers.
        polish: gets sequences that may exceed the budget a little and offers what it makes of them.
    """

    def __init__(
        self,
        model: SequenceModel,
        work: Sequence[int],
        budget: int,
        fixed: bool,
        best: Incumbent,
        threads: int,
        polish: Callable[[Sequence[int]], None],
    ) -> None:
        self.model, self.work, self.budget, self.fixed = model, work, budget, fixed
        self.best, self.threads, self.polish = best, threads, polish
        load = model.profile(np.arange(model.count)).load
        self.load = load.tolist()
        self.steps = [int(np.argmax(load))]
        self.exhausted = False

    def raise_bound(self, effort: float | None, seconds: float | None) -> None:
        """Solve relaxations until the bound meets the incumbent, or a limit ends one."""
        if self.fixed:
            self._fixed(effort, seconds)
        else:
            self._free(effort, seconds)

    def _limit(self) -> int:
        """The most work that is of interest: less than the incumbent's, if there is one."""
        best = self.best.added
        return sum(self.work) * self.model.count if best is None else best - 1

    def _solve(self, cuts: Sequence[Cut], effort: float | None, seconds: float | None) -> Answer:
        relaxation = relax(self.model, self.work, self.budget, self._limit(), cuts)
        self.best.clock.check()
        left = self.best.clock.left
        if seconds is not None and left is not None:
            seconds = min(seconds, left)
        answer = solve(
            relaxation.programme,
            self._limit(),
            effort=effort,
            seconds=seconds,
            threads=self.threads,
            stop=self.best.stopped,
        )
        self.best.raise_bound(answer.bound)
        if answer.values is not None and self.fixed:
            self._realised = realise(self.model, relaxation, answer.values)
            self.polish(self._realised)
        return answer

    def _fixed(self, effort: float | None, seconds: float | None) -> None:
        while not self.best.closed and not self.exhausted:
            self.best.clock.check()
            answer = self._solve(fixed_cuts(self.model.count, sorted(self.steps)), effort, seconds)
            if not answer.complete:
                return
            if answer.values is None:
                # Nothing costs less than the incumbent; without one, nothing keeps within the budget.
                self.exhausted = True
                self.best.infeasible = self.best.added is None
                return
            over = self.model.profile(np.array(self._realised)).load - self.budget
            fresh = overloaded(self._realised, over.tolist(), self.steps, _GROWTH)
            if not fresh:
                self.exhausted = True
                return
            self.steps += fresh

    def _free(self, effort: float | None, seconds: float | None) -> None:
        """The operators that need most of what certainly lives while they run, one at a time."""
        cuts = []
        for v in range(self.model.count):
            cut = free_cut(self.model, v)
            wanted = {s for w in cut.after for s in self.model.reads[w]} | set(self.model.kept)
            made = {s for w in cut.before for s in self.model.creates[w]}
            own = set(self.model.accessed[v])
            certain = self.model.need(v) + sum(int(self.model.size[s]) for s in (wanted & made) - own)
            if certain > self.budget:
                cuts.append((certain, -v, cut))
        for _, _, cut in sorted(cuts, key=lambda entry: entry[:2], reverse=True)[:_FREE_CUTS]:
            if self.best.closed:
                return
            self.best.clock.check()
            answer = self._solve([cut], effort, seconds)
            if answer.complete and answer.values is None and self.best.added is None:
                self.best.infeasible = True
                return
        self.exhausted = True
