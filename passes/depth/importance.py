"""What a network is worth after a merge, measured on data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.passes.depth.problem import Merge
from dnncc.passes.depth.rewrite import merged
from dnncc.passes.depth.training import Data, train

Measure = Literal["distortion", "accuracy"]


def importance(graph: Graph, merge: Merge, data: Data, measure: Measure, trial: int, rate: float) -> float:
    """How little is lost if one segment is merged; at most about 0, more is better, and summed over segments.

    Args:
        data: samples, what the network gives on them, and labels if ``measure`` wants them.
        measure: "distortion": the error of the outputs, as a share of their power, negative; "accuracy": by what share
            of the samples more are classified right.
        trial: train so many steps before measuring, as Kim et al. do.
        rate: the learning rate.
    """
    changed = merged(graph, [merge])
    if trial:
        train(changed, data, trial, rate)
    return worth(changed, data, measure)


def worth(graph: Graph, data: Data, measure: Measure) -> float:
    """``importance`` of a network as it is."""
    return _MEASURES[measure](data, data.evaluate(graph, data.inputs))


def _distortion(data: Data, outputs: tuple[Array, ...]) -> float:
    noise = sum(
        float(np.square(y - t, dtype=np.float64).sum()) for y, t in zip(outputs, data.outputs, strict=True)
    )
    power = sum(float(np.square(t, dtype=np.float64).sum()) for t in data.outputs)
    return -noise / power if power else -noise


def _accuracy(data: Data, outputs: tuple[Array, ...]) -> float:
    assert data.labels is not None
    right = [
        float(np.mean(y[0].reshape(len(data.labels), -1).argmax(axis=1) == data.labels))
        for y in (outputs, data.outputs)
    ]
    return right[0] - right[1]


_MEASURES: dict[Measure, Callable[[Data, tuple[Array, ...]], float]] = {
    "distortion": _distortion,
    "accuracy": _accuracy,
}
