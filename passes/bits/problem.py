"""What mixed precision decides, as plain data: one choice per layer, what it costs, what it uses.

Yao et al., "HAWQ-V3: Dyadic Neural Network Quantization", ICML 2021, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["optimal", "infeasible"]


@dataclass(frozen=True)
class BitsProblem:
    """Which choice should each layer take, such that the costs add up to the least within every limit?

    Attributes:
        costs: per layer one number, at least 0, per choice; layers may have different numbers of choices.
        usage: per resource, per layer, per choice, at least 0.
        limits: per resource: the most that all layers may use together.
        excluded: selections that are not wanted, because they are known already.
    """

    costs: Sequence[Sequence[float]]
    usage: Sequence[Sequence[Sequence[float]]]
    limits: Sequence[float]
    excluded: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class BitsSolution:
    """A selection.

    Attributes:
        choices: the index of each layer's choice; empty if nothing keeps within the limits.
        cost: the sum of their costs.
        bound: no selection within the limits costs less.
        used: per resource; where nothing keeps within the limits, the least that each alone can be.
        status: whether the cost is proven to be the least, or that there is no selection.
    """

    choices: tuple[int, ...]
    cost: float
    bound: float
    used: tuple[float, ...]
    status: Status
