"""Layers made better on calibration samples, one after the other: each sees what those before it have become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.types import Array
from dnncc.passes.quantize.bias_correction import cannot_overflow, constants_of, correct_bias
from dnncc.passes.quantize.context import Correctable
from dnncc.passes.quantize.rounding import Moments, compensated, taps_of
from dnncc.passes.quantize.side_by_side import Results, SideBySide


def improve_layers(
    graph: Graph,
    inputs: Sequence[Sequence[Array]],
    layers: Sequence[Correctable],
    means: Mapping[Value, Array],
    correct: bool,
    reference: SideBySide | None,
    sums: Mapping[Value, Value],
) -> None:
    """Round the weights of layers anew and correct their biases, in place, in execution order.

    Args:
        graph: the integer graph.
        inputs: per sample, one array per graph input.
        layers: what can be improved.
        means: by a layer's float value: its means per channel over the same samples.
        correct: whether biases are corrected.
        reference: the float network on the same samples, if weights are rounded anew.
        sums: what the float values of the layers are called there.
    """
    by_node = {c.node: c for c in layers if c.source in means}
    remaining = len(by_node)
    execution = SideBySide(graph, inputs)
    for node, operands in execution.steps():
        if not remaining:
            break
        entry = by_node.get(node)
        if entry is not None and entry.levels is not None and reference is not None:
            wanted = reference.until(sums[entry.source])
            _round(entry, entry.levels, [arrays[0] for arrays in operands], wanted)
            operands = [[x, *(v.data for v in constants_of(node))] for x, *_ in operands]
        results: Results = [list(node.op.reference(*arrays)) for arrays in operands]
        if entry is not None:
            remaining -= 1
            if correct:
                shift = correct_bias(entry, [arrays[0] for arrays in results], means[entry.source])
                results = [[array + shift for array in arrays] for arrays in results]
        execution.keep(node, results)


def _round(entry: Correctable, levels: int, inputs: Sequence[Array], wanted: Sequence[Array]) -> None:
    """New integers for the weights of one layer, where no sum can overflow with them."""
    node = entry.node
    weights, bias = constants_of(node)
    shape = weights.type.shape
    groups = getattr(node.op, "groups", 1)
    moments = Moments.empty(groups, shape[0] // groups, int(np.prod(shape[1:])))
    for x, y in zip(inputs, wanted, strict=True):
        moments.add(taps_of(node.op, x, shape), y.reshape(-1, shape[0]) / entry.scale)
    found = compensated(entry.weights, moments, levels)
    safe = cannot_overflow(node, found, bias.data.astype(np.int64))
    kept = np.where(safe.reshape(-1, *[1] * (len(shape) - 1)), found, weights.data)
    node.inputs[1] = Const.of(weights.name, kept.astype(weights.data.dtype), weights.type.quantization)
