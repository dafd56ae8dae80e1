"""Depthwise convolutions: tiles of pixels times vectors of channels, each channel with weights of its own.

Bytes are multiplied in groups of four (or two) per lane. So that a group is one load, the rows that a kernel's window
covers are first laid side by side, byte by byte: once per row of the output, shared by all taps along the row. Floats
are read where they lie, a row of the output at a time, by a kernel that knows of padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import Array, DType
from dnncc.ops.conv2d import Conv2d
from dnncc.runtime.cpus import Cpu
from dnncc.targets.lowering.cpu.choice import Shape
from dnncc.targets.lowering.cpu.form import Form, form_of, moved_bias
from dnncc.targets.lowering.cpu.gemm import shape_of
from dnncc.targets.lowering.emit_c import PARALLEL
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels.common import (
    elementwise_epilogue,
    padded_channels,
    round_up,
    start_schedule,
)
from dnncc.targets.lowering.tiles import ROW, mark, mark_plain
from tvm import te

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
    tile = pixels if form.group > 1 else shape.ow
    lanes = vectors * cpu.lanes
    quads, channels = -(-shape.kh // form.group), round_up(shape.c, lanes)
    expressions = Expressions(body, narrow=False)
    weights = _pack(w.data.reshape(shape.c, shape.kh, shape.kw), form, quads, lanes)
    if form.name == "i16x2":
        weights = weights.astype(np.int16)
    source = expressions[x]
    if form.group > 1:
        source = _rows(source, shape, form, quads, channels, pixels)
    expressions[anchor.output] = _convolution(
        source,
        expressions.operands.constant("w", weights),
        expressions.operands.constant("bias", padded_channels(moved_bias(anchor, form), 0, lanes)),
        shape,
        form,
        (tile, lanes, quads),
    )
    expressions.evaluate(after)
    function = expressions.prim_func([expressions[body.outputs[0]]])
    if form.group > 1:
        schedule = _schedule_groups(
            function, shape, form, (pixels, vectors, lanes), quads, channels, x.type.dtype
        )
    else:
        schedule = _schedule_row(function, shape, (pixels, vectors, lanes))
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


def _convolution(rows: Any, w: Any, bias: Any, s: Shape, form: Form, tile: tuple[int, int, int]) -> Any:
    """The sums of tiles of (pixels, lanes), and the bias; where ``rows`` is the image itself, the kernel that takes the
    sums' place leaves out what is outside of it.
    """
    pixels, lanes, quads = tile
    (sh, sw), (dh, dw) = s.strides, s.dilations
    kw, kh = te.reduce_axis((0, s.kw), "kw"), te.reduce_axis((0, quads), "kh")
    j = te.reduce_axis((0, form.group), "j")

    def product(n: Any, y: Any, p: Any, block: Any, i: Any, c: Any) -> Any:
        column, channel = (p * pixels + i) * sw + kw * dw, block * lanes + c
        padding = (n, y * sh + kh * dh - s.pads[0], column - s.pads[1], channel)
        value = rows[(n, y, column, kh, channel, j) if form.group > 1 else padding]
        return te.sum(value.astype(form.sums) * w[block, kw, kh, c, j].astype(form.sums), axis=[kw, kh, j])

    shape = (s.n, s.oh, -(-s.ow // pixels), -(-s.c // lanes), pixels, lanes)
    sums = te.compute(shape, product, name="sums")

    def element(n: Any, y: Any, p: Any, c: Any) -> Any:
        tile_of = te.indexdiv(p, pixels), te.indexdiv(c, lanes), te.indexmod(p, pixels), te.indexmod(c, lanes)
        return sums[(n, y, *tile_of)] + bias[c]

    return te.compute((s.n, s.oh, s.ow, s.o), element, name="conv")


def _start(function: Any, tile: tuple[int, int]) -> tuple[Any, Any, Any]:
    """A schedule, the loop over rows of the output, and the one in which the sums of a tile are computed."""
    sch, output = start_schedule(function, ("rows", "sums"))
    n, y, p, c = sch.get_loops(output)
    p_outer, p_inner = sch.split(p, [None, tile[0]])
    c_outer, c_inner = sch.split(c, [None, tile[1]])
    sch.reorder(n, y, p_outer, c_outer, p_inner, c_inner)
    sch.compute_at(sch.get_sblock("sums"), c_outer, preserve_unit_loops=True)
    shared = sch.fuse(n, y)
    if int(sch.get(shared).extent) > 1:
        sch.annotate(shared, PARALLEL, 1)
    return sch, shared, sch.get_sblock("sums")


def _schedule_groups(
    function: Any, s: Shape, form: Form, tile: tuple[int, int, int], quads: int, channels: int, dtype: DType
) -> Any:
    pixels, vectors, lanes = tile
    sch, shared, sums = _start(function, (pixels, lanes))
    sch.set_scope(sums, 0, "local")
    rows = sch.get_sblock("rows")
    sch.compute_at(rows, shared, preserve_unit_loops=True)
    top, left, _, _ = s.pads
    sizes = (s.h, s.w, s.c, top, left, s.dilations[0], s.kh, _columns(s, pixels), quads, channels)
    gather = (f"dnncc_rows_{form.name}_{_NAMES[dtype.numpy.name]}", *_place(s), *sizes)
    mark_plain(sch, rows, " ".join(map(str, gather)), (ROW, "quad", "channel", "item"))
    mark(
        sch,
        sums,
        f"dnncc_depthwise_{form.name}_{pixels}x{vectors}",
        ("pixel", "lane", "outer", "inner", "item"),
    )
    return sch.mod["main"]


def _schedule_row(function: Any, s: Shape, tile: tuple[int, int, int]) -> Any:
    pixels, vectors, lanes = tile
    sch, _, sums = _start(function, (s.ow, lanes))
    top, left, _, _ = s.pads
    (dh, dw), sw = s.dilations, s.strides[1]
    sizes = (s.h, s.w, s.c, top, left, sw, dh, dw, s.kh, s.kw, s.ow)
    call = (f"dnncc_depthrow_f32_{pixels}x{vectors}", *_place(s), *sizes)
    mark(sch, sums, " ".join(map(str, call)), (ROW, "lane", "outer", "inner", "item"))
    return sch.mod["main"]


def _place(s: Shape) -> tuple[int, int, int]:
    """What ``ROW`` needs to know."""
    return (s.pads[0] * s.w + s.pads[1]) * s.c, s.w * s.c, s.c
