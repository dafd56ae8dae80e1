"""Depthwise convolutions: tiles of pixels times vectors of channels, each channel with weights of its own.

Bytes are multiplied in groups of four (or two) per lane. So that a group is one load, the rows that a kernel's window
covers are first laid side by side, byte by byte: once per row of the output, shared by all taps along the row. Floats
are read where they lie, from a padded copy where a window reaches into padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.runtime.cpus import Cpu
from dnncc.targets.lowering.cpu.form import Form, form_of, moved_bias
from dnncc.targets.lowering.cpu.gemm import Shape, shape_of
from dnncc.targets.lowering.emit_c import PARALLEL
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels.common import (
    elementwise_epilogue,
    padded_channels,
    round_up,
    select,
    start_schedule,
)
from dnncc.targets.lowering.tiles import ROW, mark, mark_plain
from tvm import te, tirx

_NAMES = {"uint8": "u8", "int8": "i8"}


def build(body: Graph, anchor: Node, cpu: Cpu) -> Kernel | None:
    """The strategy; None unless the group is a depthwise convolution with constant weights."""
    op = anchor.op
    if not isinstance(op, Conv2d):
        return None
    shape, form = shape_of(anchor), form_of(anchor, cpu)
    before, after = split_at(body, anchor)
    if form is None or before or not op.groups == shape.c == shape.o > 1:
        return None
    if not elementwise_epilogue(after, anchor.output, body) or any(
        anchor.inputs[0] in node.inputs for node in after
    ):
        return None
    # The row where a window begins must tell the image that it is in.
    if (shape.oh - 1) * shape.strides[0] >= shape.h:
        return None
    x, w = anchor.inputs[:2]
    assert isinstance(w, Const)
    pixels, vectors = _tile(cpu, shape)
    lanes = vectors * cpu.lanes
    quads, channels = -(-shape.kh // form.group), round_up(shape.c, lanes)
    expressions = Expressions(body, narrow=False)
    weights = _pack(w.data.reshape(shape.c, shape.kh, shape.kw), form, quads, lanes)
    if form.name == "i16x2":
        weights = weights.astype(np.int16)
    rows = _rows if form.group > 1 else _padded
    expressions[anchor.output] = _convolution(
        rows(expressions[x], shape, form, quads, channels, pixels),
        expressions.operands.constant("w", weights),
        expressions.operands.constant("bias", padded_channels(moved_bias(anchor, form), 0, lanes)),
        shape,
        form,
        (pixels, lanes, quads),
    )
    expressions.evaluate(after)
    function = expressions.prim_func([expressions[body.outputs[0]]])
    call = f"dnncc_depthwise_{form.name}_{pixels}x{vectors}"
    schedule = _schedule(
        function, shape, form, (pixels, lanes, quads, channels), call, x.type.dtype.numpy.name
    )
    constants = tuple(data for _, data in expressions.operands.constants)
    return Kernel(f"depthwise-{pixels}x{lanes}", schedule, constants, {})


def _tile(cpu: Cpu, s: Shape) -> tuple[int, int]:
    """(pixels, vectors): sums that fill the registers, with the least left over at the end of a row."""
    most = -(-s.c // cpu.lanes)
    options = [
        (pixels, vectors)
        for vectors in range(1, min(most, 4) + 1)
        for pixels in range(1, min(s.ow, 8) + 1)
        if pixels * vectors + 2 <= cpu.registers
    ]

    def cost(option: tuple[int, int]) -> float:
        pixels, vectors = option
        tiles = -(-s.ow // pixels) * -(-most // vectors)
        return tiles * (pixels * vectors + vectors + 3)

    return min(options, key=cost)


def _pack(weights: Array, form: Form, quads: int, lanes: int) -> Array:
    """[C,KH,KW] -> [C/lanes, KW, quads, lanes, group], filled up with zeros."""
    full = padded_channels(padded_channels(weights, 1, quads * form.group), 0, lanes)
    blocks = full.reshape(-1, lanes, quads, form.group, weights.shape[2])
    return np.ascontiguousarray(blocks.transpose(0, 4, 2, 1, 3))


def _columns(s: Shape, pixels: int) -> int:
    """Columns that are read, those of the surplus pixels of a row's last tile included."""
    return (-(-s.ow // pixels) * pixels - 1) * s.strides[1] + (s.kw - 1) * s.dilations[1] + 1


def _rows(x: Any, s: Shape, form: Form, quads: int, channels: int, pixels: int) -> Any:
    """[n, oh, column, quad, channel, group]: what ``dnncc_rows_...`` gathers.

    The kernel knows of padding by itself; what is written here only tells where it begins to read.
    """
    top, left, _, _ = s.pads
    (sh, _), (dh, _) = s.strides, s.dilations

    def element(n: Any, y: Any, column: Any, quad: Any, c: Any, j: Any) -> Any:
        return x[n, y * sh - top + (quad * form.group + j) * dh, column - left, c].astype(form.dtype)

    return te.compute((s.n, s.oh, _columns(s, pixels), quads, channels, form.group), element, name="rows")


def _padded(x: Any, s: Shape, form: Form, quads: int, channels: int, pixels: int) -> Any:
    """[n, row, column, channel], padded."""
    top, left, _, _ = s.pads
    height = (s.oh - 1) * s.strides[0] + (s.kh - 1) * s.dilations[0] + 1
    columns = _columns(s, pixels)

    def element(n: Any, i: Any, j: Any, c: Any) -> Any:
        inside = [i >= top] if top else []
        inside += [i < s.h + top] if height > s.h + top else []
        inside += [j >= left] if left else []
        inside += [j < s.w + left] if columns > s.w + left else []
        inside += [c < s.c] if channels > s.c else []
        return select(inside, x[n, i - top, j - left, c], tirx.const(0, form.dtype))

    return te.compute((s.n, height, columns, channels), element, name="rows")


def _convolution(rows: Any, w: Any, bias: Any, s: Shape, form: Form, tile: tuple[int, int, int]) -> Any:
    pixels, lanes, quads = tile
    (sh, sw), (dh, dw) = s.strides, s.dilations
    kw, kh = te.reduce_axis((0, s.kw), "kw"), te.reduce_axis((0, quads), "kh")
    j = te.reduce_axis((0, form.group), "j")

    def product(n: Any, y: Any, p: Any, block: Any, i: Any, c: Any) -> Any:
        column, channel = (p * pixels + i) * sw + kw * dw, block * lanes + c
        at = (n, y, column, kh, channel, j) if form.group > 1 else (n, y * sh + kh * dh, column, channel)
        value = rows[at]
        return te.sum(value.astype(form.sums) * w[block, kw, kh, c, j].astype(form.sums), axis=[kw, kh, j])

    shape = (s.n, s.oh, -(-s.ow // pixels), -(-s.c // lanes), pixels, lanes)
    sums = te.compute(shape, product, name="sums")

    def element(n: Any, y: Any, p: Any, c: Any) -> Any:
        tile_of = te.indexdiv(p, pixels), te.indexdiv(c, lanes), te.indexmod(p, pixels), te.indexmod(c, lanes)
        return sums[(n, y, *tile_of)] + bias[c]

    return te.compute((s.n, s.oh, s.ow, s.o), element, name="conv")


def _schedule(
    function: Any, s: Shape, form: Form, tile: tuple[int, int, int, int], call: str, dtype: str
) -> Any:
    pixels, lanes, quads, channels = tile
    sch, output = start_schedule(function, ("rows", "sums"))
    n, y, p, c = sch.get_loops(output)
    p_outer, p_inner = sch.split(p, [None, pixels])
    c_outer, c_inner = sch.split(c, [None, lanes])
    sch.reorder(n, y, p_outer, c_outer, p_inner, c_inner)
    sums, rows = sch.get_sblock("sums"), sch.get_sblock("rows")
    sch.compute_at(sums, c_outer, preserve_unit_loops=True)
    sch.set_scope(sums, 0, "local")
    shared = sch.fuse(n, y)
    if form.group > 1:
        sch.compute_at(rows, shared, preserve_unit_loops=True)
        top, left, _, _ = s.pads
        sizes = (s.h, s.w, s.c, top, left, s.dilations[0], s.kh, _columns(s, pixels), quads, channels)
        begin = (top * s.w + left) * s.c, s.w * s.c
        gather = f"dnncc_rows_{form.name}_{_NAMES[dtype]}"
        mark_plain(sch, rows, " ".join(map(str, (gather, *begin, *sizes))), (ROW, "quad", "channel", "item"))
    else:
        sch.annotate(sch.get_loops(rows)[-2], "pragma_loop_partition_hint", 1)
    if int(sch.get(shared).extent) > 1:
        sch.annotate(shared, PARALLEL, 1)
    mark(sch, sums, call, ("pixel", "lane", "outer", "inner", "item"))
    return sch.mod["main"]
