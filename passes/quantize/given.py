"""Grids that the model itself gives: quantize, dequantize and fake_quantize as integers."""

from __future__ import annotations

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import DType
from dnncc.ops.add import Add
from dnncc.ops.clip import Clip
from dnncc.ops.fake_trunc import FakeTrunc
from dnncc.ops.lookup import Lookup
from dnncc.ops.reshape import Reshape
from dnncc.passes.quantize.context import Grid, QuantizeContext, given_by, zero_point_of

WIDE = {DType.U16: (DType.I16, 1 << 15)}
"""Types that activations are not stored in, the one that takes their place, and by how much the integers shift."""


def stored(context: QuantizeContext, node: Node) -> Value:
    """``fake_quantize``: its operand on the grid that it names, with one rounding from wherever it is."""
    (x,) = node.inputs
    return settle(context, x, context.grid_of(node.output), node.name)


def settle(context: QuantizeContext, x: Value, grid: Grid, name: str) -> Value:
    """The float ``x`` on a given grid: as it is where it is on these points already, if need be clamped."""
    integer = context.integer(x)
    if isinstance(x, Const):
        return context.constant(x, grid)
    if not context.is_raw(integer) and integer.type.scale == grid.scale:
        shift = zero_point_of(integer) - grid.zero_point
        lo, hi = grid.lo + shift, grid.hi + shift
        interval, dtype = context.interval(integer), integer.type.dtype
        if lo <= interval.min and interval.max <= hi:
            return integer
        if dtype.min <= lo and hi <= dtype.max:
            return context.emit(Clip(lo, hi), [integer], name, grid.scale, zero_point=zero_point_of(integer))
    return context.requantize(integer, grid, name)


def quantized(context: QuantizeContext, node: Node) -> Value | None:
    """``quantize_linear``: integers that the graph returns, or that something other than a dequantization reads."""
    grid = given_by(node)
    if grid is None:
        return None
    y = settle(context, node.inputs[0], grid, node.name)
    if y.type.dtype is not grid.dtype:
        y = context.requantize(y, grid, node.name)
    return _plain(context, y, node)


def dequantized(context: QuantizeContext, node: Node) -> Value | None:
    """``dequantize_linear`` of integers that did not come from a quantization: they stand for reals from here on."""
    x, grid = node.inputs[0], given_by(node)
    if grid is None:
        return None
    integer = context.integer(x)
    view = Reshape(x.type.shape)
    y = context.emit(view, [integer], node.name, grid.scale, zero_point=grid.zero_point)
    if x.type.dtype in WIDE:
        dtype, shift = WIDE[x.type.dtype]
        return context.requantize(
            y, Grid(dtype, grid.scale, dtype.min, dtype.max, grid.zero_point - shift), node.name
        )
    return y


def _plain(context: QuantizeContext, y: Value, node: Node) -> Value:
    """The same integers, which from here on stand for themselves."""
    return context.emit(Reshape(y.type.shape), [y], node.name)


def bipolar(context: QuantizeContext, node: Node, scale: float) -> Value:
    """``fake_bipolar``: -1 or 1 as an i8, from the sign of whatever stands for the operand."""
    (x,) = node.inputs
    integer = context.integer(x)
    if context.is_raw(integer) or integer.type.dtype is DType.I16:
        # Three values first: any ratio above 1 tells them apart, sums being integers.
        signs = Grid(DType.I8, float(np.min(context.steps(integer))), -1, 1)
        integer = context.rescale(integer, np.asarray(2.0), signs, node.name)
    byte = integer.type.dtype
    k = np.arange(byte.min, byte.max + 1)
    table = np.zeros(256, np.int8)
    table[k & 255] = np.where(k >= zero_point_of(integer), 1, -1)
    entries = context.graph.const(f"{node.name}.table", table)
    return context.emit(Lookup(), [integer, entries], node.name, scale)


def truncated(context: QuantizeContext, node: Node, op: FakeTrunc) -> Value:
    """``fake_trunc``: the operand's integers at that scale, half of what is dropped taken away, rounded."""
    (x,) = node.inputs
    whole = Grid(DType.I32, op.scale, op.lo, op.hi)
    integer = context.requantize(context.integer(x), whole, node.name)
    half = context.graph.const(f"{node.name}.half", np.asarray(-(1 << (op.bits - 1)), np.int32))
    lowered = context.emit(Add(), [integer, half], node.name, op.scale)
    lo, hi = op.lo >> op.bits, op.hi >> op.bits
    dtype = next(d for d in (DType.U8, DType.I8, DType.I16, DType.I32) if d.min <= lo and hi <= d.max)
    grid = Grid(dtype, op.scale, lo, hi)
    return context.rescale(lowered, np.asarray(2.0**-op.bits), grid, node.name)
