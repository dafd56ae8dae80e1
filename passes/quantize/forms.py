"""Integer forms that several operators share: sums, products, affine maps, clamps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.base import Op
from dnncc.ops.cast import Cast
from dnncc.ops.clip import Clip
from dnncc.ops.elementwise import Function
from dnncc.ops.lookup import Lookup
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.relu import Relu
from dnncc.passes.quantize.context import Grid, QuantizeContext, zero_point_of
from dnncc.passes.quantize.plan import clamp_of
from dnncc.passes.quantize.tables import byte_table, tabulated

FINE_BITS = (4, 8)
"""The grid of a sum is 2^4 to 2^8 times finer than its result's: rounding to it costs at most 1/32 of a step."""

GIVEN_BITS = 16
"""The same where nothing is stored and the model says which integer is the nearest: rounding costs next to nothing."""

STORED_BITS = 5
"""The same where an operand is stored as an i16, which then holds 4 times the range of an 8-bit result."""

FINER = 0.5
"""A clamp that leaves a range this much smaller requantizes its operand."""

COMPARED_BITS = 30
"""What is compared on a common grid takes at most as many bits."""

RESCALING = ("add", "sub", "mul", "softmax", "log_softmax", "normalize")
"""Operators that read a sum on a finer grid than that of an activation."""

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
    bits = _fine_bits(max((float(np.abs(context.steps(i)).max()) / scale for i in raw), default=0.0))
    largest = max(
        (float(np.abs(context.steps(i)).max()) * context.interval(i).largest for i in integers), default=0.0
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
    if offset is None and context.is_raw(integer) and _takes_any_steps(context.plan.reader(node.output)):
        return context.restated(integer, steps)
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


def integer_quotient(context: QuantizeContext, node: Node) -> Value:
    """``a / b``: by a constant an affine map, of a number a table; else the product with a table of reciprocals.

    The table has 24 bits, so that the quotient of two activations is off by 2^-16 of itself before it is rounded.
    """
    a, b = node.inputs
    if (
        isinstance(b, Const)
        and np.broadcast_shapes(a.type.shape, b.type.shape) == a.type.shape
        and b.data.all()
    ):
        return integer_affine(context, node, a, 1.0 / b.data.astype(np.float64), None)
    if isinstance(a, Const) and a.type.size == 1 and b.type.shape == node.output.type.shape:
        numerator = float(a.data.reshape(()))
        return tabulated(context, node, lambda x: numerator / x, 1)
    divisor = context.activation(b)
    # The largest reciprocal is that of one step; 2^23 times an activation's 2^7 or 2^8 stays within an i32.
    limit = 1 << 22
    grid = Grid(DType.I32, 1.0 / divisor.type.scale / limit, -limit, limit)
    scale, zero_point = divisor.type.scale, zero_point_of(divisor)
    entries = byte_table(lambda x: 1.0 / x, divisor.type.dtype, scale, zero_point, grid)
    table = context.graph.const(f"{node.name}.table", entries)
    reciprocal = context.emit(Lookup(), [divisor, table], node.name, grid.scale)
    wide = _widened(context, a, node.name)
    return context.emit(Mul(), [wide, reciprocal], node.name, wide.type.scale * grid.scale)


def on_common_grid(context: QuantizeContext, node: Node) -> list[Value]:
    """Two operands on one grid, to be compared: as they are where they share one; else in 32 bits, the finer of the two
    exactly and the other one to 2^-20 of the larger range."""
    integers = [None if isinstance(v, Const) else context.integer(v) for v in node.inputs]
    known = [i for i in integers if i is not None]
    if len(known) == 2 and not any(context.is_raw(i) for i in known):
        a, b = known
        if a.type.dtype is b.type.dtype and a.type.quantization == b.type.quantization:
            return [a, b]
    finest = min(float(np.min(context.steps(i))) for i in known)
    reach = [float(np.abs(v.data).max()) for v in node.inputs if isinstance(v, Const)]
    reach += [context.interval(i).largest * float(np.max(context.steps(i))) for i in known]
    # A power of two below the finest step, or above it where 32 bits would not do.
    scale = math.ldexp(finest, math.frexp(max(max(reach), finest) / finest)[1] - COMPARED_BITS)
    whole = Grid(DType.I32, scale, DType.I32.min, DType.I32.max)
    return [
        _constant(context, v.name, v.data, whole)
        if isinstance(v, Const)
        else context.requantize(context.integer(v), whole, node.name)
        for v in node.inputs
    ]


def integer_prelu(context: QuantizeContext, node: Node, slope: Array) -> Value:
    """``x`` where it is positive and ``slope * x`` where it is not: each with multipliers of its own, and their sum."""
    x = context.integer(node.inputs[0])
    steps, scale = context.steps(x), context.scale_of(node.output) / (1 << STORED_BITS)
    parts = []
    for op, gain in ((Relu(), np.asarray(1.0)), (Clip(hi=0), slope.astype(np.float64))):
        part = context.emit(op, [x], node.name, steps, after=x if context.is_raw(x) else None)
        reach = context.interval(part).largest * float(np.abs(steps * gain).max())
        fine = _fine_grid(context, scale, reach)
        parts.append(context.rescale(part, steps * gain / scale, fine, node.name))
    return context.emit(Add(), parts, node.name, scale)


def integer_cast(context: QuantizeContext, node: Node, dtype: DType) -> Value:
    """Between reals and integers that stand for themselves: the whole part of an activation is a table, and integers
    are reals at scale 1."""
    x = node.inputs[0]
    if x.type.dtype.is_float:
        operand = context.activation(x)
        stored = DType.U8 if dtype is DType.BOOL else dtype if dtype.bytes < 4 else DType.I32
        grid = Grid(stored, 1.0, stored.min, stored.max)
        whole = np.trunc if dtype.is_integer else lambda v: (v != 0).astype(np.float64)
        scale, zero_point = operand.type.scale, zero_point_of(operand)
        entries = byte_table(whole, operand.type.dtype, scale, zero_point, grid)
        y = context.emit(Lookup(), [operand, context.graph.const(f"{node.name}.table", entries)], node.name)
        return y if stored is dtype else context.emit(Cast(dtype), [y], node.name)
    integer, source = context.integer(x), x.type.dtype
    if source.is_integer and (source.bytes == 8 or source is DType.U32):
        # Reals of quantized networks have 32 bits; what has more saturates.
        low = DType.I32.min if source.is_signed else 0
        integer = context.emit(Clip(low, DType.I32.max), [integer], node.name)
    stored = DType.U8 if source is DType.BOOL else source if source.bytes == 1 else DType.I32
    return context.emit(Cast(stored), [integer], node.name, 1.0)


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


def _takes_any_steps(reader: Node | None) -> bool:
    """Whether the only reader of a sum brings it to a grid of its own, whatever each element's step is: also a negative
    one, or one of nothing."""
    return reader is not None and (reader.op.name in RESCALING or isinstance(reader.op, Function))


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
    reach = context.interval(integer).largest * float(np.abs(context.steps(integer)).max())
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
