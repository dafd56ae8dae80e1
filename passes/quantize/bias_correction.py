"""Empirical bias correction (Nagel et al., "Data-free quantization", appendix D; Wu et al., section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.ranges import Interval, linear_ranges
from dnncc.passes.quantize.context import Correctable


def correct_biases(
    graph: Graph,
    inputs: Sequence[Sequence[Array]],
    correctable: Sequence[Correctable],
    means: Mapping[Value, Array],
) -> None:
    """Shift each bias by the mean error of its sum against the float graph, in place, layer by layer.

    The samples go through the integer graph side by side: when a layer's error is measured, all layers
    before it have been corrected.

    Args:
        graph: the integer graph.
        inputs: per sample, one array per graph input.
        correctable: the sums to correct, with the float values that they stand for.
        means: the float values' means per channel over the same samples.
    """
    by_node = {c.node: c for c in correctable if c.source in means}
    last_use = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
    pending = [i for i, node in enumerate(graph.nodes) if node in by_node]
    if not pending:
        return
    states = [dict(zip(graph.inputs, arrays, strict=True)) for arrays in inputs]
    for i, node in enumerate(graph.nodes[: pending[-1] + 1]):
        results = [_run(node, state) for state in states]
        if node in by_node:
            shift = _correct(node, by_node[node], results, means[by_node[node].source])
            results = [[array + shift for array in arrays] for arrays in results]
        for state, arrays in zip(states, results, strict=True):
            state.update(zip(node.outputs, arrays, strict=True))
            for value in {v for v in node.inputs if v in state and last_use[v] <= i}:
                del state[value]


def _run(node: Node, state: Mapping[Value, Array]) -> Sequence[Array]:
    return node.op.reference(*(v.data if isinstance(v, Const) else state[v] for v in node.inputs))


def _correct(node: Node, entry: Correctable, results: Sequence[Sequence[Array]], target: Array) -> Array:
    """Replace the node's bias; returns the change, i32 [O]."""
    totals = [arrays[0].reshape(-1, arrays[0].shape[-1]).mean(axis=0, dtype=np.float64) for arrays in results]
    bias = node.inputs[2]
    weights = node.inputs[1]
    if not (isinstance(bias, Const) and isinstance(weights, Const)):
        raise AssertionError(f"{node.name} was quantized with constant weights")
    wanted = np.rint(target / entry.scale - np.mean(totals, axis=0))
    shift = np.clip(wanted, DType.I32.min, DType.I32.max).astype(np.int64)
    corrected = bias.data.astype(np.int64) + shift
    # A correction that could overflow an accumulator is not worth its risk.
    safe = _fits(weights.data, np.clip(corrected, DType.I32.min, DType.I32.max), node.inputs[0])
    safe &= (corrected >= DType.I32.min) & (corrected <= DType.I32.max)
    shift = np.where(safe, shift, 0)
    # Every bias was made for its node alone, so that the name is free again.
    node.inputs[2] = Const.of(bias.name, (bias.data + shift).astype(np.int32))
    return shift.astype(np.int32)


def _fits(weights: Array, bias: Array, x: Value) -> Array:
    """Per channel: no partial sum can leave an i32, even if x takes any value of its type."""
    sums = linear_ranges(weights, bias, Interval.of_dtype(x.type.dtype)).whole
    fits: Array = (sums.low >= DType.I32.min) & (sums.high <= DType.I32.max)
    return fits
