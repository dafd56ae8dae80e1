"""Depthwise 3x3 convolutions: four channels of a pixel at a time over rows copied into a padded window.

The copy makes every tap's address a multiple of four and removes all border tests; it costs a fraction of an
instruction per multiplication.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.intrinsics import depthwise_3x3, low_depthwise_3x3
from dnncc.targets.lowering.kernel import Kernel, overlap_distance
from dnncc.targets.lowering.kernels.common import (
    constant_operands,
    elementwise_epilogue,
    fuse_bias,
    select,
    start_schedule,
    tensorize_biased,
    zero,
)
from dnncc.targets.lowering.kernels.low_bits import pack_taps, stored_bits, tap
from tvm import te


def build(body: Graph, anchor: Node, compact: bool) -> Kernel | None:
    """The strategy; None unless the group is a 3x3 integer depthwise convolution of a multiple of four channels."""
    op = anchor.op
    if not isinstance(op, Conv2d):
        return None
    n, h, w, c = anchor.inputs[0].type.shape
    _, oh, ow, o = anchor.output.type.shape
    operands = constant_operands(anchor)
    before, after = split_at(body, anchor)
    fits = (
        op.groups == c == o
        and c % 4 == 0
        and op.dilations == (1, 1)
        and anchor.inputs[1].type.shape[1:3] == (3, 3)
    )
    if not fits or operands is None or before or not elementwise_epilogue(after, anchor.output, body):
        return None
    weights, bias = operands
    expressions = Expressions(body)
    narrow = stored_bits(weights) < 8
    packed = expressions.operands.constant("w", _pack(weights, narrow))
    b = expressions.operands.constant("bias", bias)
    top, left, bottom, _ = op.pads
    width = (ow - 1) * op.strides[1] + 3  # the columns that are read; padding on the right may go unused
    x = expressions[anchor.inputs[0]]

    def row_element(m: Any, i: Any, j: Any, k: Any) -> Any:
        inside = []
        if top or bottom:
            inside += [i >= top, i < h + top]
        inside += [j >= left] if left else []
        inside += [j < w + left] if width > w + left else []
        return select(inside, x[m, i - top, j - left, k], zero(x.dtype))

    rows = te.compute((n, h + top + bottom, width, c), row_element, name="rows")
    kh, kw = te.reduce_axis((0, 3), "kh"), te.reduce_axis((0, 3), "kw")
    sh, sw = op.strides

    def weight(q: Any, k: Any) -> Any:
        if narrow:
            return tap(lambda word: packed[q, word], kh * 3 + kw, k)
        return packed[q, kh, kw, k].astype("int32")

    def tap_sum(m: Any, y: Any, p: Any, q: Any, k: Any) -> Any:
        x = rows[m, y * sh + kh, p * sw + kw, q * 4 + k].astype("int32")
        return te.sum(x * weight(q, k), axis=[kh, kw])

    sums = te.compute((n, oh, ow, c // 4, 4), tap_sum, name="sums")
    biased = te.compute(sums.shape, lambda m, y, p, q, k: sums[m, y, p, q, k] + b[q * 4 + k], name="biased")
    expressions[anchor.output] = te.compute(
        (n, oh, ow, c), lambda m, y, p, k: biased[m, y, p, te.indexdiv(k, 4), te.indexmod(k, 4)], name="conv"
    )
    expressions.evaluate(after)
    out = expressions[body.outputs[0]]
    schedule = _schedule(expressions.prim_func([out]), width * c, c, str(x.dtype), narrow)
    constants = tuple(data for _, data in expressions.operands.constants)
    return Kernel(
        "depthwise-3x3" + ("-w4" if narrow else ""), schedule, constants, _overlaps(body, anchor, op)
    )


def _pack(weights: Array, narrow: bool) -> Array:
    """[C,3,3,1] -> [C/4, 3, 3, 4]: the bytes of four channels side by side, tap by tap; or 4 bits each."""
    c = weights.shape[0]
    bytes = weights.reshape(c // 4, 4, 3, 3).transpose(0, 2, 3, 1)
    return pack_taps(bytes.reshape(c // 4, 9, 4)) if narrow else bytes


def _schedule(function: Any, row: int, column: int, dtype: str, narrow: bool) -> Any:
    sch, output = start_schedule(function, ("rows", "sums", "biased"))
    _, y, _, k = sch.get_loops(output)
    outer, inner = sch.split(k, [None, 4])
    fuse_bias(sch)
    sums, rows = sch.get_sblock("sums"), sch.get_sblock("rows")
    sch.compute_at(sums, outer, preserve_unit_loops=True)
    sch.compute_at(rows, y, preserve_unit_loops=True)
    sch.annotate(sch.fuse(*sch.get_loops(rows)[-2:]), "pragma_loop_partition_hint", 1)
    sch.unroll(inner)
    sch.set_scope(sums, 0, "local")
    taps = low_depthwise_3x3 if narrow else depthwise_3x3
    tensorize_biased(sch, sums, 3, taps(row, column, dtype))
    return sch.mod["main"]


def _overlaps(body: Graph, anchor: Node, op: Conv2d) -> dict[tuple[int, int], int]:
    """Row by row: the window of rows is copied before the row is written."""
    n, h, w, c = anchor.inputs[0].type.shape
    _, oh, ow, _ = anchor.output.type.shape
    item = body.outputs[0].type.dtype.bytes
    image, y = np.divmod(np.arange(n * oh), oh)
    written = (image * oh + y + 1) * ow * c * item
    found: dict[tuple[int, int], int] = {}
    readers = body.uses()
    for i, value in enumerate(body.inputs):
        distances = []
        if value is anchor.inputs[0]:
            first = (image * h + np.clip(y * op.strides[0] - op.pads[0], 0, h - 1)) * w * c
            distances.append(overlap_distance(first, written, value.type.bytes, buffered=True))
        if any(node is not anchor for node in readers[value]):
            if value.type.shape != body.outputs[0].type.shape:
                continue
            start = (image * oh + y) * ow * c * value.type.dtype.bytes
            distances.append(overlap_distance(start, written, value.type.bytes, buffered=False))
        if distances:
            found[0, i] = max(distances)
    return found
