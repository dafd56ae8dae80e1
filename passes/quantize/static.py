"""Grids that a model chooses while it runs become constants: calibration chooses them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.pad import Pad
from dnncc.passes.match import Rewriter, rewrite
from dnncc.passes.quantize.calibrate import Samples, arguments, sample_count

DYNAMIC = ("dynamic_scale", "dynamic_zero_point")


def make_static(graph: Graph, samples: Samples) -> list[str]:
    """Replace scales and zero points that depend on data (ONNX's DynamicQuantizeLinear) by those of the range that all
    samples together span, in place; layers of integers less such a zero point take it up in their bias.

    Returns:
        The names of the nodes whose results are constants now.
    """
    found = graph.find(*DYNAMIC)
    if not found:
        return []
    ends = _ranges(graph, samples, {n.inputs[0] for n in found})
    scales = {v: _scale(*ends[v]) for v in ends}
    for node in found:
        x = node.inputs[0]
        scale = scales[x]
        zero = np.clip(np.rint(-ends[x][0] / float(scale[0])), 0, 255).astype(np.uint8).reshape(1)
        data = scale if node.op.name == DYNAMIC[0] else zero
        graph.replace_uses(node.output, graph.const(node.output.name, data))
    graph.prune()
    from dnncc.passes.pipeline import run_passes

    run_passes("simplify", graph)
    rewrite(graph, {"linear": _zero_into_bias, "conv2d": _zero_into_bias})
    run_passes("simplify", graph)
    return [n.name for n in found]


def _ranges(graph: Graph, samples: Samples, wanted: set[Value]) -> dict[Value, tuple[float, float]]:
    """The smallest and largest element of values over all samples, and 0."""
    ends = {v: (0.0, 0.0) for v in graph.values() if v in wanted}

    def observe(node: Node, results: Sequence[Array]) -> None:
        for value, array in zip(node.outputs, results, strict=True):
            see(value, array)

    def see(value: Value, array: Array) -> None:
        if value in ends and np.isfinite(array).all():
            low, high = ends[value]
            ends[value] = min(low, float(array.min())), max(high, float(array.max()))

    for index in range(sample_count(samples)):
        inputs = arguments(graph, samples, index)
        for value, array in zip(graph.inputs, inputs, strict=True):
            see(value, array)
        interpret(graph, inputs, observe)
    return ends


def _scale(low: float, high: float) -> Array:
    span = np.float32(high) - np.float32(low)
    return np.asarray([span / np.float32(255) if span > 0 else 1.0], np.float32)


def _zero_into_bias(rewriter: Rewriter, node: Node) -> bool:
    """A layer of ``moved(cast(x) - zero)``, of bytes x, is one of ``moved(x)`` with a bias less zero times the sums of
    the weights; zeros around an image become the zero point."""
    value, w, b = node.inputs
    movers: list[Node] = []
    while (mover := rewriter.producer(value, "transpose", "reshape")) is not None:
        movers.append(mover)
        (value,) = mover.inputs
    difference = rewriter.producer(value, "sub")
    cast = None if difference is None else rewriter.producer(difference.inputs[0], "cast")
    if difference is None or cast is None or not (isinstance(w, Const) and isinstance(b, Const)):
        return False
    (x,), zero = cast.inputs, difference.inputs[1]
    if x.type.dtype not in (DType.I8, DType.U8) or not isinstance(zero, Const) or zero.type.size != 1:
        return False
    for mover in reversed(movers):
        x = rewriter.insert(node, mover.op, [x], x)
    point, op = int(zero.data.item()), node.op
    if isinstance(op, Conv2d) and any(op.pads):
        top, left, bottom, right = op.pads
        x = rewriter.insert(node, Pad(((0, 0), (top, bottom), (left, right), (0, 0)), point), [x], x)
        op = replace(op, pads=(0, 0, 0, 0))
    sums = w.data.reshape(w.type.shape[0], -1).astype(np.int64).sum(axis=1)
    bias = rewriter.graph.const(b.name, (b.data.astype(np.int64) - point * sums).astype(np.int32))
    node.op, node.inputs = op, [x, w, bias]
    return True
