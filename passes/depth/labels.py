"""The longest path within a budget: every choice up to a position that no other one beats is kept (a label)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dnncc.passes.depth.problem import Part

LABELS = 20_000
"""So many choices are kept at one position; where there are more, latencies are rounded up to a coarser unit."""


class Step(NamedTuple):
    """A part, its latency and its importance; ``tag`` tells steps of the same part apart."""

    part: Part
    latency: int
    importance: float
    tag: int = 0


@dataclass(frozen=True)
class Label:
    """A choice up to a position: the step that ends there, and the choice before it."""

    latency: int
    importance: float
    step: Step | None = None
    before: Label | None = None

    def path(self) -> list[Step]:
        found: list[Step] = []
        label: Label | None = self
        while label is not None and label.step is not None:
            found.append(label.step)
            label = label.before
        return found[::-1]


def within(
    layers: int, steps: Sequence[Step], budget: int, labels: int, quickest: Label
) -> tuple[list[Label], float]:
    """The unbeaten choices within the budget, the fastest first, and what no choice within it exceeds.

    Args:
        labels: so many choices may remain at one position. Where there are more, latencies are rounded up, which never
            breaks the budget; the bound then comes from latencies rounded down.
        quickest: a choice that is within the budget.
    """
    unit = 1
    while True:
        coarse = [step._replace(latency=-(-step.latency // unit)) for step in steps]
        front = _front(layers, coarse, budget // unit, labels)
        if front is not None:
            break
        unit *= 2
    if unit == 1:
        return front, front[-1].importance
    fine = [step._replace(latency=step.latency // unit) for step in steps]
    relaxed = _front(layers, fine, budget // unit, None)
    bound = max(label.importance for label in [*(relaxed or []), *front, quickest])
    # Rounding may leave nothing within the budget, but the fastest choice is.
    return front or [quickest], bound


def _front(layers: int, steps: Sequence[Step], budget: int, labels: int | None) -> list[Label] | None:
    """Stage 2: the choices up to the last position that no other one beats, the fastest first; None: too many."""
    ending: dict[int, list[Step]] = {}
    for step in steps:
        ending.setdefault(step.part[1], []).append(step)
    states = {(0, flag): [Label(0, 0.0)] for flag in (0, 1)}
    for position in range(1, layers + 1):
        for flag in (0, 1):
            every = [
                Label(label.latency + step.latency, label.importance + step.importance, step, label)
                for step in ending.get(position, ())
                if step.part[3] == flag
                for label in states[step.part[0], step.part[2]]
                if label.latency + step.latency <= budget
            ]
            states[position, flag] = _unbeaten(every)
            if labels is not None and len(states[position, flag]) > labels:
                return None
    return _unbeaten([*states[layers, 0], *states[layers, 1]])


def fastest(layers: int, steps: Sequence[Step]) -> Label | None:
    """The choice of the least latency; of several, the most important; None: no steps lead through."""
    best: dict[tuple[int, int], Label] = {(0, flag): Label(0, 0.0) for flag in (0, 1)}
    for step in sorted(steps, key=lambda step: step.part[1]):
        before = best.get((step.part[0], step.part[2]))
        if before is not None:
            label = Label(before.latency + step.latency, before.importance + step.importance, step, before)
            state = (step.part[1], step.part[3])
            best[state] = min(best.get(state, label), label, key=_speed)
    return min((best[layers, flag] for flag in (0, 1) if (layers, flag) in best), key=_speed, default=None)


def _speed(label: Label) -> tuple[int, float]:
    return label.latency, -label.importance


def _unbeaten(labels: list[Label]) -> list[Label]:
    found: list[Label] = []
    for label in sorted(labels, key=_speed):
        if not found or label.importance > found[-1].importance:
            found.append(label)
    return found
