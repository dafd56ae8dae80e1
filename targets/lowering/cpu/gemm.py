"""Convolutions and products with constant weights: tiles of pixels times vectors of channels, kept in registers.

Weights are packed such that a tile reads them in order. Activations are read where they lie; only where a window
reaches into padding, where a run of channels does not fill its last group, or where bytes must first become what the
processor multiplies, they are copied into rows of scratch memory: one window of rows per row of the output, or the
whole image where channels are the outer loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.runtime.cpus import Cpu
from dnncc.targets.cpu.tuned import Entry
from dnncc.targets.lowering.cpu.choice import Problem, Shape, Tiling
from dnncc.targets.lowering.cpu.form import FORMS, Form, form_of, moved_bias
from dnncc.targets.lowering.emit_c import PARALLEL
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels.common import (
    elementwise_epilogue,
    padded_channels,
    per_channel_constants,
    select,
    start_schedule,
)
from dnncc.targets.lowering.tiles import mark
from tvm import te, tirx

_FEW = 4
_ROLES = ("line", "pixel", "lane", "outer", "inner", "word", "item")


def build(body: Graph, anchor: Node, cpu: Cpu, tuned: Mapping[str, Entry]) -> Kernel | None:
    """The strategy; None where the group is no dense convolution or product with constant weights.

    Args:
        tuned: by layer the tile that was measured to be the fastest.
    """
    problem = problem_of(body, anchor, cpu)
    if problem is None:
        return None
    form, shape, words = FORMS[problem.form], problem.shape, problem.words
    before, after = split_at(body, anchor)
    flat = _is_flat(anchor, before, after)
    x, w = anchor.inputs[:2]
    assert isinstance(w, Const)
    tiling = problem.choose(tuned)
    copied = problem.copied or bool(shape.ow % tiling.pixels or shape.oh % tiling.lines)

    def rank4(dims: tuple[int, ...]) -> tuple[int, ...]:
        full = dims == anchor.output.type.shape
        return (1, 1, shape.ow, shape.o) if full else (dims[-1],)

    expressions = Expressions(body, rank4 if flat else None, narrow=False)
    if flat:
        for value in body.inputs:
            if value is not x:
                expressions.reshape_input(value)
    if before:
        expressions.evaluate(before)
    else:
        rows = (shape.n, shape.h, shape.w * shape.c)
        tensor = te.placeholder(rows, x.type.dtype.numpy.name, "x")
        expressions[x] = expressions.operands.inputs[x] = tensor
    zero, bias = form.zero(x.type.dtype), moved_bias(anchor, form)
    packed = _pack(w.data.reshape(shape.o, shape.kh, shape.taps, shape.run), form, words, tiling.channels)
    expressions[anchor.output] = _convolution(
        expressions[x],
        expressions.operands.constant("w", packed),
        expressions.operands.constant("bias", padded_channels(bias, 0, tiling.channels)),
        shape,
        tiling,
        form,
        zero,
        words,
        _slack(shape, form) if copied else None,
    )
    expressions.evaluate(after)
    function = expressions.prim_func([expressions[body.outputs[0]]])
    schedule = _schedule(function, shape, tiling, form, bool(before), copied)
    constants = tuple(data for _, data in expressions.operands.constants)
    return Kernel(f"gemm-{tiling.lines * tiling.pixels}x{tiling.channels}", schedule, constants, {})


def problem_of(body: Graph, anchor: Node, cpu: Cpu) -> Problem | None:
    """What the choice of a tile depends on; None where this strategy does not take the group."""
    op = anchor.op
    if not isinstance(op, Conv2d | Linear) or (isinstance(op, Conv2d) and op.groups != 1):
        return None
    form = form_of(anchor, cpu)
    before, after = split_at(body, anchor)
    if form is None or not elementwise_epilogue(after, anchor.output, body):
        return None
    flat = _is_flat(anchor, before, after)
    x = anchor.inputs[0]
    if (isinstance(op, Linear) and not flat) or (not before and any(x in node.inputs for node in after)):
        return None
    shape = _flat_shape(anchor) if flat else shape_of(anchor)
    copied = bool(before) or any(shape.pads) or _slack(shape, form) > 0 or not form.takes(x.type.dtype)
    return Problem(cpu, form.name, shape, -(-shape.run // form.group), copied)


def _is_flat(anchor: Node, before: Sequence[Node], after: Sequence[Node]) -> bool:
    """Whether the pixels of all lines can be counted as those of one."""
    return not before and _is_pointwise(anchor) and per_channel_constants(after)


def _slack(shape: Shape, form: Form) -> int:
    """Columns to append so that reading the filled-up last run stays inside the row."""
    return -(-(-shape.run % form.group) // shape.c)


def _is_pointwise(anchor: Node) -> bool:
    op = anchor.op
    if isinstance(op, Linear):
        return True
    assert isinstance(op, Conv2d)
    return anchor.inputs[1].type.shape[1:3] == (1, 1) and op.strides == (1, 1) and not any(op.pads)


def _flat_shape(anchor: Node) -> Shape:
    pixels = anchor.output.type.size // anchor.output.type.shape[-1]
    return Shape(1, 1, pixels, anchor.inputs[0].type.shape[-1], 1, pixels, anchor.output.type.shape[-1], 1, 1)


def shape_of(anchor: Node) -> Shape:
    """A convolution's."""
    op = anchor.op
    assert isinstance(op, Conv2d)
    n, h, w, c = anchor.inputs[0].type.shape
    _, oh, ow, o = anchor.output.type.shape
    _, kh, kw, _ = anchor.inputs[1].type.shape
    return Shape(n, h, w, c, oh, ow, o, kh, kw, op.strides, op.dilations, op.pads)


def _pack(weights: Array, form: Form, words: int, channels: int) -> Array:
    """[O,KH,taps,run] -> [O/channels, KH * taps * words, channels, group], filled up with zeros."""
    _, kh, taps, _ = weights.shape
    full = padded_channels(padded_channels(weights, 3, words * form.group), 0, channels)
    blocks = full.reshape(-1, channels, kh * taps * words, form.group)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3))


def _convolution(
    x: Any, w: Any, bias: Any, s: Shape, t: Tiling, form: Form, zero: int, words: int, slack: int | None
) -> Any:
    top, left, bottom, right = s.pads
    (sh, sw), (dh, dw) = s.strides, s.dilations
    tiles, blocks, group = -(-s.ow // t.pixels), -(-s.o // t.channels), form.group
    lines = -(-s.oh // t.lines)

    def converted(value: Any) -> Any:
        return (value.astype("int32") + zero).astype(form.dtype) if zero else value.astype(form.dtype)

    source = x
    if slack is not None:
        # Beyond the padding: what filled-up runs read, and the surplus lines and pixels of the last tiles.
        height = max(s.h + top + bottom, (lines * t.lines - 1) * sh + (s.kh - 1) * dh + 1)
        columns = max(s.w + left + right + slack, (tiles * t.pixels - 1) * sw + (s.kw - 1) * dw + 1 + slack)

        def row_element(n: Any, i: Any, j: Any) -> Any:
            inside = [i >= top] if top else []
            inside += [i < s.h + top] if height > s.h + top else []
            if len(x.shape) == 3:
                inside += [j >= left * s.c] if left else []
                inside += [j < (s.w + left) * s.c] if columns > s.w + left else []
                return select(inside, converted(x[n, i - top, j - left * s.c]), tirx.const(zero, form.dtype))
            pixel, channel = (j, 0) if s.c == 1 else (te.indexdiv(j, s.c), te.indexmod(j, s.c))
            inside += [pixel >= left] if left else []
            inside += [pixel < s.w + left] if columns > s.w + left else []
            return select(
                inside, converted(x[n, i - top, pixel - left, channel]), tirx.const(zero, form.dtype)
            )

        source = te.compute((s.n, height, columns * s.c), row_element, name="rows")
    kh, tap = te.reduce_axis((0, s.kh), "kh"), te.reduce_axis((0, s.taps), "tap")
    g, j = te.reduce_axis((0, words), "g"), te.reduce_axis((0, group), "j")
    runs = s.taps * words

    def product(n: Any, y: Any, p: Any, block: Any, line: Any, i: Any, c: Any) -> Any:
        at = ((p * t.pixels + i) * sw + tap * dw) * s.c + g * group + j
        factor = source[n, (y * t.lines + line) * sh + kh * dh, at].astype(form.sums)
        return te.sum(
            factor * w[block, kh * runs + tap * words + g, c, j].astype(form.sums), axis=[kh, tap, g, j]
        )

    sums = te.compute((s.n, lines, tiles, blocks, t.lines, t.pixels, t.channels), product, name="sums")

    def element(n: Any, y: Any, p: Any, o: Any) -> Any:
        tile = te.indexdiv(y, t.lines), te.indexdiv(p, t.pixels), te.indexdiv(o, t.channels)
        place = te.indexmod(y, t.lines), te.indexmod(p, t.pixels), te.indexmod(o, t.channels)
        return sums[(n, *tile, *place)] + bias[o]

    return te.compute((s.n, s.oh, s.ow, s.o), element, name="conv")


def _schedule(function: Any, s: Shape, t: Tiling, form: Form, planar: bool, copied: bool) -> Any:
    sch, output = start_schedule(function, ("rows", "sums"))
    n, y, p, o = sch.get_loops(output)
    y_outer, y_inner = sch.split(y, [None, t.lines])
    p_outer, p_inner = sch.split(p, [None, t.pixels])
    o_outer, o_inner = sch.split(o, [None, t.channels])
    sums = sch.get_sblock("sums")
    if t.channels_outside:
        sch.reorder(o_outer, n, y_outer, p_outer, y_inner, p_inner, o_inner)
        sch.compute_at(sums, p_outer, preserve_unit_loops=True)
        shared = o_outer
    else:
        sch.reorder(n, y_outer, p_outer, o_outer, y_inner, p_inner, o_inner)
        sch.compute_at(sums, o_outer, preserve_unit_loops=True)
        shared = sch.fuse(n, y_outer) if s.n * s.oh > t.lines else p_outer
    sch.set_scope(sums, 0, "local")
    if copied:
        rows = sch.get_sblock("rows")
        # Rows that are gathered channel by channel are worth gathering once.
        if not t.channels_outside and not (planar and s.kh > 1):
            whole_row = s.n * s.oh > t.lines
            sch.compute_at(rows, shared if whole_row else p_outer, preserve_unit_loops=True)
        along = sch.get_loops(rows)[-1]
        if planar and s.c > 1:
            # The source is stored channel by channel: walk it in its own order, or interleave a few channels.
            along, channel = sch.split(along, [None, s.c])
            if s.c <= _FEW:
                sch.unroll(channel)
            else:
                sch.reorder(channel, along)
        sch.annotate(along, "pragma_loop_partition_hint", 1)
    if sch.get(shared).extent > 1:
        sch.annotate(shared, PARALLEL, 1)
    mark(sch, sums, f"dnncc_tile_{form.name}_{t.lines}x{t.pixels}x{t.vectors}", _ROLES)
    return sch.mod["main"]
