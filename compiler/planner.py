"""One planner for everything that makes a network fit: it tries measures in the order of their cost and says why.

- "balanced" takes the first candidate that keeps within the board's memories and the budget, and whose added work stays
  under ``WORK_LIMIT``; if there is none, the one of least added work that fits;
- "time" looks at all measures, and takes the one of least added work that fits;
- "ram" takes the smallest arena whose added work stays under the limit. Copies to external memory serve only what does
  not fit otherwise: they move bytes, and do not save them.

If the plain plan fits, "balanced" and "time" look no further. Where nothing fits, the least excess is chosen, and the
caller refuses it with what every measure reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dnncc.measures import MEASURES, Candidate, Goal, Measure, Refusal, Setting, peaks

WORK_LIMIT = 0.25
"""The work that measures may add where there is a choice, as a part of the plain plan's."""
_LONG_EFFORT = 10.0

Verdict = Literal["baseline", "chosen", "rejected", "impossible", "not tried"]


@dataclass(frozen=True)
class Tried:
    """One row of the planner's explanation.

    Attributes:
        measure: what was done, such as "scratch + recompute".
        detail: how, in words.
        verdict: "baseline" (the model's order, for comparison), "chosen", "rejected" (a plan, but another is better),
            "impossible" (no plan), "not tried" (an earlier measure suffices).
        reason: why, in words.
        arena_bytes: of all pools of RAM together; of a baseline the peak without fragmentation; None without a plan.
        bound_bytes: no plan by the same measures has a smaller arena; None if nothing is known.
        fits: whether it keeps within the board's memories and the budget; None without a plan.
        added_macs: multiply-accumulates beyond the plain plan's.
        added_percent: work (multiply-accumulates, elements written, words copied times their waiting) beyond the plain
            plan's, in percent of that.
        copied_bytes: between RAM and external memory, per inference.
        effort: states expanded and placements tried; the same on every machine.
        seconds: wall time; in no file that is to be reproducible.
    """

    measure: str
    detail: str
    verdict: Verdict
    reason: str
    arena_bytes: int | None = None
    bound_bytes: int | None = None
    fits: bool | None = None
    added_macs: int | None = None
    added_percent: float | None = None
    copied_bytes: int | None = None
    effort: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """For manifests: everything but the time."""
        return {k: v for k, v in vars(self).items() if k != "seconds"}


@dataclass(frozen=True)
class Decision:
    """What the planner chose, and why.

    Attributes:
        chosen: the candidate; it may not fit.
        objective: "balanced", "time" or "ram".
        capacity: bytes of RAM that there were, all pools and the budget considered; None without limit.
        budget: what was asked for, or None.
        measures: everything that was looked at, cheapest measure first.
        candidates: every plan.
        refusals: of measures without a plan.
    """

    chosen: Candidate
    objective: str
    capacity: int | None
    budget: int | None
    measures: tuple[Tried, ...]
    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]

    @property
    def bound(self) -> int:
        """No plan by any of the measures that were tried has a smaller arena."""
        bounds = [
            t.bound_bytes for t in self.measures if t.bound_bytes is not None and t.verdict != "baseline"
        ]
        return min(bounds, default=0)


class Planner:
    """Tries measures and keeps book.

    Args:
        setting: the network and the board.
        objective: "balanced", "time" or "ram".
        measures: cheapest first.
    """

    def __init__(self, setting: Setting, objective: str, measures: Sequence[Measure] = MEASURES) -> None:
        self.setting, self.objective, self.measures = setting, objective, measures
        self.found: list[Candidate] = []
        self._log: list[tuple[Measure, Candidate | Refusal, float]] = []
        self._begin = time.perf_counter()

    def decide(self) -> Decision:
        """Try what the objective asks for, and choose."""
        chosen = self._least() if self.objective == "ram" else self._sufficient()
        return self._decision(chosen)

    def explore(self, budgets: int) -> Decision:
        """Choose; then try every measure, for the board's RAM and for budgets from the least bound to the plain plan.

        Args:
            budgets: how many.
        """
        chosen = self.decide().chosen
        done = {m.name for m, _, _ in self._log}
        for measure in self.measures:
            if measure.name not in done:
                self._try(measure, Goal(self.setting.capacity))
        top, low = self.found[0].plan.arena_bytes, self._decision(chosen).bound
        for part in range(budgets):
            budget = low + (top - low) * part // budgets
            for measure in self.measures:
                if measure.aims and budget < top:
                    self._try(measure, Goal(budget))
        return self._decision(chosen)

    def _sufficient(self) -> Candidate:
        """The first that fits without too much work, or the one of least work that fits."""

        def enough(candidate: Candidate) -> bool:
            plain = candidate is self.found[0]
            return candidate.fits and (
                plain or (self.objective == "balanced" and candidate.work <= self._limit)
            )

        for measure in self.measures:
            if self._try(measure, Goal(self.setting.capacity), enough):
                return self.found[-1]
        return self._quickest()

    def _quickest(self) -> Candidate:
        """The least work that fits; if nothing does, the least excess."""
        fits = [c for c in self.found if c.fits]
        return min(fits, key=lambda c: c.work) if fits else min(self.found, key=lambda c: c.excess)

    def _least(self) -> Candidate:
        """The smallest arena within the limit of work; if nothing fits that way, the least work that fits."""
        for measure in self.measures:
            if measure.name != "spill":
                self._try(measure, Goal(None, self._limit if self.found else None))
        within = [c for c in self.found if c.fits and c.work <= self._limit]
        if within:
            return self._polished(min(within, key=lambda c: (c.plan.arena_bytes, c.work)))
        for measure in self.measures:
            if measure.aims:
                self._try(measure, Goal(self.setting.capacity))
        return self._quickest()

    @property
    def _limit(self) -> float:
        return self.found[0].work * (1 + WORK_LIMIT)

    def _polished(self, best: Candidate) -> Candidate:
        """A longer search for addresses, where the arena is not proven least."""
        if best.plan.status == "optimal" or self.setting.effort >= _LONG_EFFORT:
            return best
        graph = best.graph.clone()
        code = {
            here: best.code[n]
            for n, here in zip(best.graph.nodes, graph.nodes, strict=True)
            if n in best.code
        }
        slower = best.work - sum(self.setting.work_of(n) for n in best.plan.steps)
        again = self.setting.candidate(
            best.measures, best.detail, graph, code, bound=best.bound, slower=slower, effort=_LONG_EFFORT
        )
        if not again.fits or again.plan.arena_bytes >= best.plan.arena_bytes:
            return best
        self._log = [(m, again if c is best else c, s) for m, c, s in self._log]
        self.found = [again if c is best else c for c in self.found]
        return again

    def _try(
        self, measure: Measure, goal: Goal, enough: Callable[[Candidate], bool] = lambda candidate: False
    ) -> bool:
        """Take a measure's offers, until one is enough; whether one was."""
        start = time.perf_counter()
        for offer in measure.offer(self.setting, tuple(self.found), goal):
            now = time.perf_counter()
            if isinstance(offer, Candidate):
                self.found.append(offer)
            self._log.append((measure, offer, now - start))
            if isinstance(offer, Candidate) and enough(offer):
                return True
            start = now
        return False

    def _decision(self, chosen: Candidate) -> Decision:
        given, in_place = peaks(self.setting)
        rows = [
            Tried("given order", "the model's", "baseline", "every value in a place of its own", given),
            Tried("in place", "the model's order", "baseline", "outputs written over inputs", in_place),
        ]
        for measure in self.measures:
            tried = [self._row(offer, seconds, chosen) for m, offer, seconds in self._log if m is measure]
            # One measure may be tried for several goals, and lead to the same each time.
            rows += {tuple(t.record().values()): t for t in tried}.values()
            if not tried:
                reason = (
                    "serves only what does not fit otherwise"
                    if self.objective == "ram"
                    else "a cheaper measure suffices"
                )
                rows.append(Tried(measure.name, measure.summary, "not tried", reason))
        return Decision(
            chosen,
            self.objective,
            self.setting.capacity,
            self.setting.budget,
            tuple(rows),
            tuple(self.found),
            tuple(o for _, o, _ in self._log if isinstance(o, Refusal)),
        )

    def _row(self, offer: Candidate | Refusal, seconds: float, chosen: Candidate) -> Tried:
        name = " + ".join(offer.measures)
        if isinstance(offer, Refusal):
            return Tried(name, "", "impossible", offer.reason, bound_bytes=offer.bound, seconds=seconds)
        plain = self.found[0]
        return Tried(
            name,
            offer.detail,
            "chosen" if offer is chosen else "rejected",
            self._reason(offer, chosen),
            offer.plan.arena_bytes,
            offer.bound,
            offer.fits,
            offer.graph.macs() - plain.graph.macs(),
            round(100 * (offer.work / plain.work - 1), 3) if plain.work else 0.0,
            offer.plan.copied_bytes,
            offer.plan.effort,
            seconds,
        )

    def _excess(self, offer: Candidate) -> str:
        over = [(p, p.bytes - p.capacity) for p in offer.plan.pools if p.capacity is not None]
        found = [f"{n:,} bytes too many in '{p.name}'" for p, n in over if n > 0]
        return ", ".join(found) or f"{offer.excess:,} bytes over the budget"

    def _reason(self, offer: Candidate, chosen: Candidate) -> str:
        if not offer.fits:
            return self._excess(offer)
        limit = f"{100 * WORK_LIMIT:.0f} %"
        if offer is chosen:
            if self.objective == "time" or offer.work > self._limit:
                return "the least work that fits"
            return (
                f"the smallest arena with at most {limit} more work"
                if self.objective == "ram"
                else "the first that fits"
            )
        if offer.work > self._limit:
            return f"fits, for more than {limit} more work"
        if offer.work > chosen.work:
            return "fits, for more work"
        return "no smaller" if self.objective == "ram" else "fits too"


def summary(decision: Decision) -> Mapping[str, Any]:
    """A decision for manifests."""
    return {
        "objective": decision.objective,
        "capacity_bytes": decision.capacity,
        "budget_bytes": decision.budget,
        "measures": [replace(t, seconds=0.0).record() for t in decision.measures],
    }
