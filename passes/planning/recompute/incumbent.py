"""What a search for recomputations knows so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.passes.planning.clock import Clock, TimeUpError
from dnncc.passes.planning.problem import Progress


@dataclass
class Incumbent:
    """The best plan, the lowest peak, and the proven bound.

    Attributes:
        clock: the time limit.
        sequence: the plan of least added work within the budget; without one, the sequence of lowest peak.
        peak: of that sequence.
        added: its added work, or None while nothing keeps within the budget.
        bound: no plan adds less.
        infeasible: whether it is proven that there is no plan.
        progress: called with (added work, bound) at news.
    """

    clock: Clock
    sequence: tuple[int, ...]
    peak: int
    added: int | None = None
    bound: int = 0
    infeasible: bool = False
    progress: Progress | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing more can be had."""
        return self.infeasible or (self.added is not None and self.bound >= self.added)

    def offer(self, sequence: Sequence[int], peak: int, added: int, budget: int) -> bool:
        """Takes a valid sequence; returns whether the search may stop."""
        if peak <= budget:
            if self.added is None or added < self.added:
                self.sequence, self.peak, self.added = tuple(sequence), peak, added
                self.bound = min(self.bound, added)
                self.report()
        elif self.added is None and peak < self.peak:
            self.sequence, self.peak = tuple(sequence), peak
        return self.closed

    def raise_bound(self, bound: int) -> None:
        """A new lower bound."""
        if self.added is not None:
            bound = min(bound, self.added)
        if bound > self.bound:
            self.bound = bound
            self.report()

    def stopped(self) -> bool:
        """Whether the time is over."""
        try:
            self.clock.check()
        except TimeUpError:
            return True
        return False

    def report(self) -> None:
        """Tell whoever watches."""
        if self.progress is not None and self.added is not None:
            self.progress(self.added, self.bound)
