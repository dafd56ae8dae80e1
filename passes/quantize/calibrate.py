"""What the float graph does on the calibration samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.errors import CalibrationError, Culprit
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.passes.quantize.histogram import Histogram
from dnncc.passes.quantize.input_grid import lattice_step
from dnncc.passes.quantize.plan import Plan

Samples = Mapping[str, Array]
"""One array per graph input, by name: [samples, *the input's shape without its batch axis]."""

SUMS = ("conv2d", "linear")
"""Operators whose biases can be corrected."""

CORRECTION_SAMPLES = 128
"""Biases are corrected on the first samples only: their means settle quickly, and all are kept in memory."""


@dataclass(frozen=True)
class Statistics:
    """What was seen of each value that decides a grid.

    Attributes:
        histograms: by float value: graph inputs and ends of chains.
        means: by the float value of a convolution or matrix product: its mean per channel over the first
            CORRECTION_SAMPLES samples, float64.
        steps: by graph input: the step of the lattice that its data are on, or None.
        count: how many samples.
    """

    histograms: Mapping[Value, Histogram]
    means: Mapping[Value, Array]
    steps: Mapping[Value, float | None]
    count: int

    def histogram(self, value: Value) -> Histogram:
        return self.histograms[value]


def arguments(graph: Graph, samples: Samples, index: int) -> list[Array]:
    """The graph's inputs for one sample, with the batch axis that the graph has."""
    return [np.ascontiguousarray(samples[v.name][index]).reshape(v.type.shape) for v in graph.inputs]


def sample_count(samples: Samples) -> int:
    """How many samples there are; CalibrationError if none."""
    count = min((len(a) for a in samples.values()), default=0)
    if count == 0:
        raise CalibrationError("there are no calibration samples")
    return count


def calibrate(graph: Graph, samples: Samples) -> Statistics:
    """Run the float ``graph`` on every sample and keep histograms and channel means.

    Raises:
        CalibrationError: no samples, or a value that is not finite (the message names the node).
    """
    plan = Plan(graph)
    inputs_of_floats = [v for v in graph.inputs if v.type.dtype.is_float]
    values = [
        v for v in (*graph.inputs, *(v for n in graph.nodes for v in n.outputs)) if v.type.dtype.is_float
    ]
    histograms = {plan.chain(v).end: Histogram() for v in values} | {v: Histogram() for v in inputs_of_floats}
    histograms |= {n.outputs[0]: Histogram() for n in graph.nodes if n.op.observed}
    sums: dict[Value, Array] = {}
    count = sample_count(samples)
    corrected = min(count, CORRECTION_SAMPLES)

    def count_elements(value: Value, array: Array, name: str) -> None:
        if value in histograms:
            try:
                histograms[value].add(array)
            except ValueError as error:
                culprit = Culprit(name, reason=f"{error} on sample {index}")
                raise CalibrationError("the float network leaves the range of float32", [culprit]) from error

    def observe(node: Node, results: Sequence[Array]) -> None:
        for value, array in zip(node.outputs, results, strict=True):
            count_elements(value, array, node.name)
            if node.op.name in SUMS and index < corrected:
                total = array.reshape(-1, array.shape[-1]).mean(axis=0, dtype=np.float64)
                sums[value] = sums[value] + total if value in sums else total

    for index in range(count):
        inputs = arguments(graph, samples, index)
        for value, array in zip(graph.inputs, inputs, strict=True):
            count_elements(value, array, value.name)
        interpret(graph, inputs, observe)
    means = {v: total / corrected for v, total in sums.items()}
    steps = {v: lattice_step(np.asarray(samples[v.name])[:count]) for v in inputs_of_floats}
    return Statistics(histograms, means, steps, count)


class Observations:
    """``Statistics`` that are gathered when something asks for them: a network that gives all its grids needs none.

    Args:
        graph: the float graph, which must not change before the first question.

    Attributes:
        asked: the values whose grid they decided, by name, in order.
    """

    def __init__(self, graph: Graph, samples: Samples) -> None:
        self._graph, self._samples = graph, samples
        self._found: Statistics | None = None
        self.asked: dict[str, None] = {}

    def gather(self) -> Statistics:
        """Everything, calculated once."""
        if self._found is None:
            self._found = calibrate(self._graph, self._samples)
        return self._found

    def histogram(self, value: Value) -> Histogram:
        self.asked[value.name] = None
        return self.gather().histogram(value)

    def step(self, value: Value) -> float | None:
        return self.gather().steps[value]
