"""One vector times a matrix (fully connected layers): four rows at a time, ``dnncc_dot_1x4``."""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.intrinsics import dot_1x4, low_dot_1x4
from dnncc.targets.lowering.kernel import Kernel, overlap_distance
from dnncc.targets.lowering.kernels.common import (
    constant_operands,
    elementwise_epilogue,
    fuse_bias,
    padded_channels,
    per_channel_constants,
    round_up,
    select,
    start_schedule,
    tensorize_biased,
    zero,
)
from dnncc.targets.lowering.kernels.low_bits import excess_of, field, pack, stored_bits
from tvm import te


def build(body: Graph, anchor: Node, compact: bool) -> Kernel | None:
    """The strategy; None where the group is not an integer product with a single output pixel."""
    if not _covers_input(anchor) or split_at(body, anchor)[0]:
        return None
    operands = constant_operands(anchor)
    _, after = split_at(body, anchor)
    if (
        operands is None
        or not elementwise_epilogue(after, anchor.output, body)
        or not per_channel_constants(after)
    ):
        return None
    source = anchor.inputs[0]
    if any(source in node.inputs for node in after):
        return None
    weights, bias = operands
    o = weights.shape[0]
    k = int(np.prod(weights.shape[1:]))
    words = _words(k)
    expressions = Expressions(body, lambda dims: (dims[-1],))
    for value in body.inputs:
        expressions.reshape_input(value)
    x = te.placeholder((k,), source.type.dtype.numpy.name, "x")
    expressions[source] = expressions.operands.inputs[source] = x
    packed = padded_channels(padded_channels(weights.reshape(o, k), 1, 4 * words), 0, 4)
    bits = stored_bits(weights)
    w = expressions.operands.constant("w", _pack(packed.reshape(-1, 4, words, 4).transpose(0, 2, 1, 3), bits))
    b = expressions.operands.constant("bias", padded_channels(bias, 0, 4))
    expressions[anchor.output] = _product(x, w, b, o, k, bits)
    expressions.evaluate(after)
    out = expressions[body.outputs[0]]
    schedule = _schedule(expressions.prim_func([out]), words, str(x.dtype), bits)
    steps = np.minimum(np.arange(4, round_up(o, 4) + 4, 4), o)
    item = body.outputs[0].type.dtype.bytes
    overlaps: dict[tuple[int, int], int] = {}
    for i, value in enumerate(body.inputs):
        if value is not source:
            starts = np.arange(0, o, 4) * value.type.dtype.bytes
            overlaps[0, i] = overlap_distance(starts, steps * item, value.type.bytes, buffered=False)
    constants = tuple(data for _, data in expressions.operands.constants)
    return Kernel("gemv-1x4" + (f"-w{bits}" if bits < 8 else ""), schedule, constants, overlaps)


def _covers_input(anchor: Node) -> bool:
    """Whether one output pixel sees the whole input: a product of one row, or a convolution as large as its input."""
    x, w = anchor.inputs[0].type, anchor.inputs[1].type if len(anchor.inputs) > 1 else None
    if isinstance(anchor.op, Linear):
        return x.size == x.shape[-1]
    if isinstance(anchor.op, Conv2d):
        op = anchor.op
        return (
            w is not None
            and x.shape[1:] == w.shape[1:]
            and x.shape[0] == 1
            and not any(op.pads)
            and op.groups == 1
        )
    return False


def _words(k: int) -> int:
    """Groups of four bytes per row; at least two, since a loop of one iteration is no loop to the matcher."""
    return max(round_up(k, 4) // 4, 2)


def _pack(rows: Array, bits: int) -> Array:
    """[O/4, words, 4, 4], bytes of four rows side by side; or two words for them with fewer bits."""
    if bits == 8:
        return rows
    pairs = rows.reshape(*rows.shape[:2], 2, 2, 4).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(pack(pairs, bits).transpose(0, 2, 1))


def _product(x: Any, w: Any, bias: Any, o: int, k: int, bits: int) -> Any:
    words = _words(k)
    if k < 4 * words:
        source = x
        x = te.compute((4 * words,), lambda i: select([i < k], source[i], zero(source.dtype)), name="filled")
    g, i = te.reduce_axis((0, words), "g"), te.reduce_axis((0, 4), "i")

    def weight(q: Any, r: Any) -> Any:
        if bits == 8:
            return w[q, g, r, i].astype("int32")
        pair, row = te.indexdiv(r, 2), te.indexmod(r, 2)
        return field(lambda word: w[q, word, pair], g, row, te.indexmod(i, 2), te.indexdiv(i, 2), bits)

    sums = te.compute(
        (round_up(o, 4) // 4, 4),
        lambda q, r: te.sum(x[g * 4 + i].astype("int32") * weight(q, r), axis=[g, i]),
        name="sums",
    )
    start: Any = bias
    if bits < 8:
        # What packed weights are too large by.
        n = te.reduce_axis((0, 4 * words), "n")
        excess = te.compute(
            (1,), lambda _: te.sum(x[n].astype("int32") * excess_of(bits), axis=n), name="excess"
        )
        start = te.compute(bias.shape, lambda n: bias[n] - excess[0], name="start")
    biased = te.compute(sums.shape, lambda q, r: sums[q, r] + start[q * 4 + r], name="biased")
    return te.compute((o,), lambda n: biased[te.indexdiv(n, 4), te.indexmod(n, 4)], name="linear")


def _schedule(function: Any, words: int, dtype: str, bits: int) -> Any:
    sch, output = start_schedule(function, ("filled", "excess", "start", "sums", "biased"))
    (n,) = sch.get_loops(output)
    outer, _ = sch.split(n, [None, 4])
    fuse_bias(sch)
    if bits < 8:
        sch.compute_inline(sch.get_sblock("start"))
        sch.set_scope(sch.get_sblock("excess"), 0, "local")
    sums = sch.get_sblock("sums")
    sch.compute_at(sums, outer, preserve_unit_loops=True)
    sch.set_scope(sums, 0, "local")
    if bits == 8:
        tensorize_biased(sch, sums, 3, dot_1x4(words, dtype))
    else:
        tensorize_biased(sch, sums, 3, low_dot_1x4(words, dtype, bits), hidden=2)
    return sch.mod["main"]
