"""What depth merging decides, as plain data: layers in a row, what merging them costs, and what it loses.

Kim, Jeong, Song, "Efficient Latency-Aware CNN Depth Compression via Two-Stage Dynamic Programming", ICML 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["optimal", "feasible", "infeasible"]
"""Proven best; within the budget, at most ``bound - importance`` from the best; no choice keeps within the budget."""

Segment = tuple[int, int]
"""The layers ``i + 1 .. j``, which begin at position i and end at position j."""

Merge = tuple[int, int, tuple[int, ...]]
"""``(i, j, dropped)``: a segment that becomes one layer, and the layers in it that are left out first."""

Part = tuple[int, int, int, int]
"""``(i, j, a, b)``: a segment, and whether the activations at its positions i and j are kept (1) or not (0)."""


@dataclass(frozen=True)
class DepthProblem:
    """Which activations should be kept, and where should the layers between them be merged?

    Layer p leads from position p - 1 to position p, where its activation is. A segment can be merged into one
    layer if it has a latency. Between two kept activations the layers may be merged in several pieces.

    Attributes:
        layers: how many there are, at least 1.
        latency: of each segment that can be merged into one layer, in any unit, at least 0.
        importance: of each part of which it is known: what the network is worth with only this part's inner
            activations removed, and those at its ends if so flagged; more is better.
        budget: the summed latency must not exceed it.
    """

    layers: int
    latency: Mapping[Segment, int]
    importance: Mapping[Part, float]
    budget: int


@dataclass(frozen=True)
class DepthSolution:
    """A choice of activations and merges.

    Attributes:
        cuts: positions at which a merged layer ends and the next one begins, from 0 to ``layers``.
        parts: whose importances add up to the choice's; activations that a part flags 1 are kept.
        latency, importance: summed over the cuts' segments and over the parts.
        bound: no choice within the budget is worth more.
        least_latency: no choice at all is faster; the choice itself where the status is "infeasible".
        front: (latency, importance) of every choice that no other one beats in both, up to the budget.
    """

    cuts: tuple[int, ...]
    parts: tuple[Part, ...]
    latency: int
    importance: float
    bound: float
    least_latency: int
    status: Status
    front: tuple[tuple[int, float], ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Positions of the activations that stay."""
        flags = {(i, a) for i, _, a, _ in self.parts} | {(j, b) for _, j, _, b in self.parts}
        return tuple(sorted(position for position, flag in flags if flag))
