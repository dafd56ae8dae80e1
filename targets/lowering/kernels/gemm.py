"""Convolutions and matrix products over many pixels: a tile of two or three pixels times two channels at a time.

The activations of a tile are widened once into interleaved 16-bit pairs (a few hundred bytes of scratch) and meet
the packed byte weights of two output channels in ``dnncc_dot_2x2`` or ``dnncc_dot_3x2``. Padded or oddly
sized inputs are first copied row by row into a padded window of rows, so that no tap tests a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.targets.lowering.group import Expressions, split_at
from dnncc.targets.lowering.intrinsics import dot, low_dot, totals, widen
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

_MIN_PIXELS = 2
_STEP = {2: 14.5, 3: 19.75}  # instructions of one word of a tile, loop included


@dataclass(frozen=True)
class _Shape:
    """A convolution as this strategy sees it: a pointwise one over P pixels is one row of P columns."""

    n: int
    h: int
    w: int
    c: int
    oh: int
    ow: int
    o: int
    kh: int
    kw: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    tile: int
    bits: int

    @property
    def runs(self) -> int:
        """Contiguous input runs per pixel: a kernel row, or every tap where taps are apart."""
        return self.kh if self.dilations[1] == 1 else self.kh * self.kw

    @property
    def run(self) -> int:
        """Bytes of one run."""
        return self.kw * self.c if self.dilations[1] == 1 else self.c

    @property
    def words(self) -> int:
        """Groups of four bytes per run, the last one filled up; a kernel has at least two."""
        return max(round_up(self.run, 4) // 4, 2 if self.runs == 1 else 1)

    @property
    def slack(self) -> int:
        """Columns to append so that reading the filled-up last run stays inside the row."""
        return -(-(4 * self.words - self.run) // self.c)

    @property
    def tiles(self) -> int:
        """Tiles per row."""
        return -(-self.ow // self.tile)

    @property
    def surplus(self) -> int:
        """Pixels of a row's last tile that are computed and not stored."""
        return self.tiles * self.tile - self.ow


def build(body: Graph, anchor: Node, compact: bool) -> Kernel | None:
    """The strategy; None where the group is not a dense integer convolution or product over several pixels."""
    if not isinstance(anchor.op, Conv2d | Linear) or (
        isinstance(anchor.op, Conv2d) and anchor.op.groups != 1
    ):
        return None
    operands = constant_operands(anchor)
    before, after = split_at(body, anchor)
    if operands is None or not elementwise_epilogue(after, anchor.output, body):
        return None
    flat = not before and _is_pointwise(anchor) and per_channel_constants(after)
    if isinstance(anchor.op, Linear) and not flat:
        return None
    shape = (
        _flat_shape(anchor, compact, stored_bits(operands[0]))
        if flat
        else _shape(anchor, compact, stored_bits(operands[0]))
    )
    if shape.n * shape.oh * shape.ow < _MIN_PIXELS:
        return None
    weights, bias = operands

    def rank4(dims: tuple[int, ...]) -> tuple[int, ...]:
        full = dims == anchor.output.type.shape
        return (1, 1, shape.ow, shape.o) if full else (dims[-1],)

    expressions = Expressions(body, rank4 if flat else None)
    if flat:
        for value in body.inputs:
            if value is not anchor.inputs[0]:
                expressions.reshape_input(value)
    if before:
        expressions.evaluate(before)
        x = expressions[anchor.inputs[0]]
    else:
        # A row of pixels is one run of bytes; the epilogue, if it reads x too, needs it pixel by pixel.
        if any(anchor.inputs[0] in node.inputs for node in after):
            return None
        x = te.placeholder((shape.n, shape.h, shape.w * shape.c), anchor.inputs[0].type.dtype.numpy.name, "x")
        expressions[anchor.inputs[0]] = expressions.operands.inputs[anchor.inputs[0]] = x
    packed = expressions.operands.constant(
        "w", _pack(weights.reshape(shape.o, shape.kh, shape.kw, shape.c), shape)
    )
    b = expressions.operands.constant("bias", padded_channels(bias, 0, 2))
    expressions[anchor.output] = _convolution(x, packed, b, shape, buffered=_needs_rows(shape, bool(before)))
    expressions.evaluate(after)
    function = expressions.prim_func([expressions[body.outputs[0]]])
    schedule = _schedule(function, shape, str(x.dtype), planar=bool(before))
    return Kernel(
        f"gemm-{shape.tile}x2" + (f"-w{shape.bits}" if shape.bits < 8 else ""),
        schedule,
        tuple(data for _, data in expressions.operands.constants),
        _overlaps(body, anchor, shape, bool(before)),
    )


def _is_pointwise(anchor: Node) -> bool:
    op = anchor.op
    if isinstance(op, Linear):
        return True
    assert isinstance(op, Conv2d)
    kernel = anchor.inputs[1].type.shape[1:3]
    return kernel == (1, 1) and op.strides == (1, 1) and not any(op.pads)


def _flat_shape(anchor: Node, compact: bool, bits: int) -> _Shape:
    pixels = anchor.output.type.size // anchor.output.type.shape[-1]
    c, o = anchor.inputs[0].type.shape[-1], anchor.output.type.shape[-1]
    return _Shape(
        1, 1, pixels, c, 1, pixels, o, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), _tile(pixels, compact), bits
    )


def _shape(anchor: Node, compact: bool, bits: int) -> _Shape:
    assert isinstance(anchor.op, Conv2d)
    n, h, w, c = anchor.inputs[0].type.shape
    _, oh, ow, o = anchor.output.type.shape
    _, kh, kw, _ = anchor.inputs[1].type.shape
    return _Shape(
        n,
        h,
        w,
        c,
        oh,
        ow,
        o,
        kh,
        kw,
        anchor.op.strides,
        anchor.op.dilations,
        anchor.op.pads,
        _tile(ow, compact),
        bits,
    )


def _tile(row: int, compact: bool) -> int:
    """Pixels at a time: three share a weight's unpacking, two fit a short row better and take less scratch."""
    return 2 if compact else min((3, 2), key=lambda pixels: -(-row // pixels) * _STEP[pixels])


def _needs_rows(shape: _Shape, prologue: bool) -> bool:
    """Whether rows are copied into a padded window first."""
    return prologue or any(shape.pads) or shape.slack > 0


def _pack(weights: Array, shape: _Shape) -> Array:
    """[O,KH,KW,C] -> [O/2, runs * words, 2, 4]: the bytes of two channels alternate word by word; or fewer bits."""
    runs = weights.reshape(shape.o, shape.runs, shape.run)
    runs = padded_channels(padded_channels(runs, 2, 4 * shape.words), 0, 2)
    bytes = runs.reshape(-1, 2, shape.runs * shape.words, 4).transpose(0, 2, 1, 3)
    return bytes if shape.bits == 8 else pack(bytes, shape.bits)


def _convolution(x: Any, w: Any, bias: Any, s: _Shape, buffered: bool) -> Any:
    top, left, bottom, right = s.pads
    (sh, sw), (dh, dw) = s.strides, s.dilations
    if buffered:
        # Beyond the padding: what filled-up runs read, and the surplus pixels of the last tile.
        width = (s.w + left + right + s.slack + sw * s.surplus) * s.c

        def row_element(n: Any, i: Any, j: Any) -> Any:
            inside = [i >= top, i < s.h + top] if top or bottom else []
            beyond = right or s.slack or s.surplus
            if len(x.shape) == 3:
                inside += [j >= left * s.c] if left else []
                inside += [j < (s.w + left) * s.c] if beyond else []
                return select(inside, x[n, i - top, j - left * s.c], zero(x.dtype))
            pixel, channel = (j, 0) if s.c == 1 else (te.indexdiv(j, s.c), te.indexmod(j, s.c))
            inside += [pixel >= left] if left else []
            inside += [pixel < s.w + left] if beyond else []
            return select(inside, x[n, i - top, pixel - left, channel], zero(x.dtype))

        rows = te.compute((s.n, s.h + top + bottom, width), row_element, name="rows")

        source = rows
    else:
        source = x

    total = s.runs * s.words

    def pair(n: Any, y: Any, p: Any, word: Any, h: Any, i: Any, j: Any) -> Any:
        # A surplus pixel must only be readable.
        column = p * s.tile + i
        column = te.min(column, s.ow - 1) if s.surplus and not buffered else column
        run, g = (0, word) if s.runs == 1 else (te.indexdiv(word, s.words), te.indexmod(word, s.words))
        kh, kw = (run, 0) if dw == 1 else (te.indexdiv(run, s.kw), te.indexmod(run, s.kw))
        byte = (column * sw + kw * dw) * s.c + g * 4 + h + 2 * j
        return source[n, y * sh + kh * dh, byte].astype("int16")

    pairs = te.compute((s.n, s.oh, s.tiles, total, 2, s.tile, 2), pair, name="pairs")
    g = te.reduce_axis((0, total), "g")
    h, j = te.reduce_axis((0, 2), "h"), te.reduce_axis((0, 2), "j")

    def weight(o: Any, c: Any) -> Any:
        return (
            w[o, g, c, h + 2 * j].astype("int32")
            if s.bits == 8
            else field(lambda word: w[o, word], g, c, h, j, s.bits)
        )

    sums = te.compute(
        (s.n, s.oh, s.tiles, (s.o + 1) // 2, s.tile, 2),
        lambda n, y, p, o, i, c: te.sum(
            pairs[n, y, p, g, h, i, j].astype("int32") * weight(o, c), axis=[g, h, j]
        ),
        name="sums",
    )
    start = _start(pairs, bias, sums.shape, s)
    biased = te.compute(sums.shape, lambda *at: sums[at] + start(*at), name="biased")
    return te.compute(
        (s.n, s.oh, s.ow, s.o),
        lambda n, y, p, o: biased[
            n, y, te.indexdiv(p, s.tile), te.indexdiv(o, 2), te.indexmod(p, s.tile), te.indexmod(o, 2)
        ],
        name="conv",
    )


def _start(pairs: Any, bias: Any, dims: Any, s: _Shape) -> Any:
    """What the sums start from: the bias, less what packed weights are too large by."""
    if s.bits == 8:
        return lambda n, y, p, o, i, c: bias[o * 2 + c]
    g, h, j = (te.reduce_axis((0, d), axis) for d, axis in ((s.runs * s.words, "g"), (2, "h"), (2, "j")))
    excess = te.compute(
        (s.n, s.oh, s.tiles, s.tile),
        lambda n, y, p, i: te.sum(
            pairs[n, y, p, g, h, i, j].astype("int32") * excess_of(s.bits), axis=[g, h, j]
        ),
        name="excess",
    )
    return te.compute(dims, lambda n, y, p, o, i, c: bias[o * 2 + c] - excess[n, y, p, i], name="start")


def _schedule(function: Any, s: _Shape, dtype: str, planar: bool) -> Any:
    sch, output = start_schedule(function, ("rows", "pairs", "excess", "start", "sums", "biased"))
    _, y, p, o = sch.get_loops(output)
    p_outer, p_inner = sch.split(p, [None, s.tile])
    o_outer, o_inner = sch.split(o, [None, 2])
    sch.reorder(p_outer, o_outer, p_inner, o_inner)
    fuse_bias(sch)
    if s.bits < 8:
        sch.compute_inline(sch.get_sblock("start"))
    sums, pairs = sch.get_sblock("sums"), sch.get_sblock("pairs")
    sch.compute_at(sums, o_outer, preserve_unit_loops=True)
    if s.bits < 8:
        excess = sch.get_sblock("excess")
        sch.compute_at(excess, p_outer, preserve_unit_loops=True)
        sch.set_scope(excess, 0, "local")
    sch.compute_at(pairs, p_outer, preserve_unit_loops=True)
    if "rows" in {sch.get(b).name_hint for b in sch.get_child_blocks(sch.get_sblock("root"))}:
        rows = sch.get_sblock("rows")
        if s.kh == 1 and s.kw == 1:
            sch.compute_at(rows, p_outer, preserve_unit_loops=True)
        else:
            sch.compute_at(rows, y, preserve_unit_loops=True)
            along = sch.get_loops(rows)[-1]
            if planar and s.c > 1:
                # The source is stored channel by channel: walk it in its own order.
                along, channel = sch.split(along, [None, s.c])
                sch.reorder(channel, along)
            sch.annotate(along, "pragma_loop_partition_hint", 1)
    sch.unroll(p_inner)
    sch.unroll(o_inner)
    sch.set_scope(sums, 0, "local")
    total = s.runs * s.words
    if s.bits == 8:
        tensorize_biased(sch, sums, 5, dot(s.tile, total))
    else:
        tensorize_biased(sch, sums, 5, low_dot(s.tile, total, s.bits), hidden=2)
        nest = sch.get_loops(excess)[-4:]
        sch.decompose_reduction(excess, nest[0])
        sch.tensorize(nest[0], totals(s.tile, total, excess_of(s.bits)))
    word, parity, pixel, pair = sch.get_loops(pairs)[-4:]
    if s.runs > 1:
        run, word = sch.split(word, [s.runs, s.words])
        sch.reorder(run, pixel, word, parity, pair)
    else:
        sch.reorder(pixel, word, parity, pair)
    sch.tensorize(word if s.words > 1 else parity, widen(s.tile, s.words, dtype))
    return sch.mod["main"]


def _overlaps(body: Graph, anchor: Node, s: _Shape, prologue: bool) -> dict[tuple[int, int], int]:
    """The convolution's input may be followed by the output; operands of the epilogue lag by one tile."""
    item = body.outputs[0].type.dtype.bytes
    y, p = np.mgrid[0 : s.n * s.oh, 0 : s.tiles].reshape(2, -1)
    image, y = y // s.oh, y % s.oh
    last = np.minimum(s.tile * (p + 1), s.ow)
    written = ((image * s.oh + y) * s.ow + last) * s.o * item
    found: dict[tuple[int, int], int] = {}
    readers = body.uses()
    for i, value in enumerate(body.inputs):
        distances = []
        if value is anchor.inputs[0]:
            top, left = s.pads[0], s.pads[1]
            whole_rows = _needs_rows(s, prologue) and not (s.kh == 1 and s.kw == 1)
            column = 0 * p if whole_rows else np.maximum(s.tile * p * s.strides[1] - left, 0)
            row = np.clip(y * s.strides[0] - top, 0, s.h - 1)
            read = ((image * s.h + row) * s.w + column) * s.c
            first, final = (p == 0, last == s.ow) if whole_rows else (p >= 0, p >= 0)
            distances.append(overlap_distance(read[first], written[final], value.type.bytes, buffered=True))
        if any(node is not anchor for node in readers[value]):
            if prologue or value.type.shape != body.outputs[0].type.shape:
                continue
            start = ((image * s.oh + y) * s.ow + s.tile * p) * s.o * value.type.dtype.bytes
            distances.append(overlap_distance(start, written, value.type.bytes, buffered=False))
        if distances:
            found[0, i] = max(distances)
    return found
