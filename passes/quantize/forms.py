"""Integer forms that several operators share: sums, products, affine maps, clamps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.base import Op
from dnncc.ops.clip import Clip
from dnncc.ops.pad import Pad
from dnncc.ops.relu import Relu
from dnncc.passes.quantize.context import Grid, QuantizeContext, zero_point_of
from dnncc.passes.quantize.plan import clamp_of

FINE_BITS = (4, 8)
"""The grid of a sum is 2^4 to 2^8 times finer than its result's: rounding to it costs at most 1/32 of a step."""

GIVEN_BITS = 16
"""The same where nothing is stored and the model says which integer is the nearest: rounding costs next to nothing."""

STORED_BITS = 5
"""The same where an operand is stored as an i16, which then holds 4 times the range of an 8-bit result."""

FINER = 0.5
"""A clamp that leaves a range this much smaller requantizes its operand."""

LIMIT = (1 << 30) - 1
"""Two operands within it add up without leaving an i32."""


def integer_sum(context: QuantizeContext, node: Node) -> Value:
    """``a + b`` or ``a - b``: both on a common i32 grid, a power of two finer than the result's 8-bit grid.

    Accumulators go straight to that grid, without an 8-bit clamp (HAWQ-V3, section 3.2). If both operands are
    accumulators, the one that comes first is kept as an i16 until the other is there.
    """
    scale = context.scale_of(node.output)
    integers = [context.integer(v) for v in node.inputs if not isinstance(v, Const)]
    raw = [i for i in integers if context.is_raw(i)]
    bits = _fine_bits(max((float((context.steps(i) / scale).max()) for i in raw), default=0.0))
    largest = max(
        (float(np.max(context.steps(i))) * context.interval(i).largest for i in integers), default=0.0
    )
    if len(raw) < 2 and context.grid_of(node.output).given and largest / scale < 1 << (29 - GIVEN_BITS):
        bits = GIVEN_BITS
    stored = None
    if len(raw) == 2:
        bits = min(bits, STORED_BITS)
        stored = min(raw, key=context.position)
    operands = [_on_fine_grid(context, v, node.name, scale / (1 << bits), stored) for v in node.inputs]
    return context.emit(node.op, operands, node.name, scale / (1 << bits))


def integer_affine(
    context: QuantizeContext, node: Node, x: Value, gain: Array, offset: Array | None
) -> Value:
    """``x * gain + offset``, constants that broadcast against x: multipliers, then an i32 constant to add."""
    integer = context.integer(x)
    steps = context.steps(integer) * gain.astype(np.float64)
    if offset is None and _may_stay_wide(context, node):
        reach = context.interval(integer).largest * float(np.abs(steps).max())
        wide = Grid(DType.I32, (reach or 1.0) / LIMIT, -LIMIT, LIMIT)
        return context.rescale(integer, steps / wide.scale, wide, node.name)
    if offset is None or not offset.any():
        return context.rescale(
            integer, steps / context.scale_of(node.output), context.grid_of(node.output), node.name
        )
    scale = context.scale_of(node.output)
    scale /= 1 << _fine_bits(float(np.abs(steps).max()) / scale if context.is_raw(integer) else 0.0)
    fine = _fine_grid(context, scale, context.interval(integer).largest * float(np.abs(steps).max()))
    product = context.rescale(integer, steps / scale, fine, node.name)
    return context.emit(Add(), [product, _constant(context, node.name, offset, fine)], node.name, scale)


def integer_product(context: QuantizeContext, node: Node) -> Value:
    """``a * b``: by a constant an affine map; of two activations the product of their integers."""
    for x, factor in (node.inputs, node.inputs[::-1]):
        if isinstance(factor, Const) and np.broadcast_shapes(x.type.shape, factor.type.shape) == x.type.shape:
            return integer_affine(context, node, x, factor.data, None)
    wide = [_widened(context, v, node.name) for v in node.inputs]
    return context.emit(node.op, wide, node.name, float(np.prod([context.steps(v) for v in wide])))


def integer_clamp(context: QuantizeContext, node: Node) -> Value:
    """relu or clip: nothing where the operand was clamped as it was requantized, else on the operand's grid
    unless what is left deserves a finer one.
    """
    x = context.activation(node.inputs[0], affine=True)
    zero = zero_point_of(x)
    if context.plan.is_on_given(node.inputs[0]) and context.plan.grid_node(node.output) is None:
        grid = Grid(x.type.dtype, x.type.scale, x.type.dtype.min, x.type.dtype.max, zero)
    else:
        grid = context.grid_of(node.output)
    finer = grid.scale < FINER * x.type.scale and (grid.given or context.largest(node.output) > 0.0)
    if finer or (grid.given and (grid.scale != x.type.scale or grid.dtype is not x.type.dtype)):
        low, high = (grid.nearest(bound) for bound in clamp_of(node))
        return context.requantize(x, replace(grid, lo=low, hi=high), node.name)
    dtype, interval = x.type.dtype, context.interval(x)
    own = Grid(dtype, x.type.scale, dtype.min, dtype.max, zero)
    low, high = (own.nearest(bound) for bound in clamp_of(node))
    if low <= interval.min and interval.max <= high:
        return x
    op: Op = Relu() if low == zero == 0 and interval.max <= high else Clip(low, high)
    return context.emit(op, [x], node.name, x.type.scale, zero_point=zero)


def _may_stay_wide(context: QuantizeContext, node: Node) -> bool:
    """Whether a product by constants can be kept in 32 bits, because its model gives grids, but none for it."""
    plan = context.plan
    return plan.has_given and plan.grid_node(node.output) is None and plan.reader(node.output) is not None


def _fine_bits(largest: float) -> int:
    """As many fraction bits as keep the largest ratio below 1/2, so that a shift of 32 will do."""
    room = -1 - math.frexp(largest)[1] if largest > 0.0 else FINE_BITS[1]
    return min(max(room, FINE_BITS[0]), FINE_BITS[1])


def _fine_grid(context: QuantizeContext, scale: float, reach: float) -> Grid:
    """An i32 grid; clamped only if the operand's worst case, ``reach``, could overflow the sum."""
    if reach / scale < LIMIT:
        return Grid(DType.I32, scale, DType.I32.min, DType.I32.max)
    return Grid(DType.I32, scale, -LIMIT, LIMIT)


def _on_fine_grid(
    context: QuantizeContext, value: Value, name: str, scale: float, stored: Value | None
) -> Value:
    if isinstance(value, Const):
        return _constant(context, value.name, value.data, Grid(DType.I32, scale, -LIMIT, LIMIT))
    integer = context.integer(value)
    if integer is stored:
        integer = context.requantize(
            integer, Grid(DType.I16, scale, DType.I16.min, DType.I16.max), context.name_of(value)
        )
    reach = context.interval(integer).largest * float(np.max(context.steps(integer)))
    return context.requantize(integer, _fine_grid(context, scale, reach), name)


def _widened(context: QuantizeContext, value: Value, name: str) -> Value:
    """An activation's or constant's integers as i32."""
    narrow = context.activation(value, affine=True)
    whole = Grid(DType.I32, narrow.type.scale, DType.I32.min, DType.I32.max)
    if isinstance(narrow, Const) and isinstance(value, Const):
        return context.constant(value, Grid(DType.I32, narrow.type.scale, -LIMIT, LIMIT))
    return context.requantize(narrow, whole, name)


def _constant(context: QuantizeContext, name: str, data: Array, grid: Grid) -> Const:
    return context.constant(Const.of(name, data), grid)


def integer_pad(context: QuantizeContext, node: Node, op: Pad) -> Value:
    """Padding on the operand's grid if that has the filler, else on the result's."""
    x = context.activation(node.inputs[0], affine=True)
    if not x.type.dtype.min <= _filler(op, x) <= x.type.dtype.max:
        x = context.requantize(x, context.grid_of(node.output), node.name)
    filler = int(np.clip(_filler(op, x), x.type.dtype.min, x.type.dtype.max))
    return context.emit(replace(op, value=filler), [x], node.name, x.type.scale, zero_point=zero_point_of(x))


def _filler(op: Pad, x: Value) -> float:
    """The integer, as a float, that stands for a padding's value on x's grid; possibly outside it."""
    return float(np.rint(op.value / x.type.scale)) + zero_point_of(x)
