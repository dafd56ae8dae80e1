"""Functions of one variable as tables: exact for a byte, interpolated for the 16 bits of a sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.interpolate import LOW_BITS, SEGMENTS, Interpolate
from dnncc.ops.lookup import Lookup
from dnncc.passes.quantize.context import Grid, QuantizeContext, zero_point_of

Function = Callable[[Array], Array]
"""float64 to float64, element by element."""

FRACTION = 7
"""Bits of an interpolated table's entries below the unit of an 8-bit result: with 8, 255 would not fit."""

HEADROOM = 1.5
"""The 16-bit grid of an operand covers this much more than the calibration samples reach."""


@dataclass(frozen=True)
class Table:
    """A function on a 16-bit grid of its operand.

    Attributes:
        entries: i16 [513], the operand of ``interpolate``.
        error: its largest error over all 65536 operands, in steps of the result, against the function clamped
            to the result's grid; half a step of rounding included.
    """

    entries: Array
    error: float


def tabulated(
    context: QuantizeContext, node: Node, function: Function, operand_index: int = 0, continuous: bool = True
) -> Value:
    """The integer form of ``function(x)`` for an operand x of a node, on the grid of its output.

    An activation has 256 values: the table holds the nearest integer for each, and the only error is that half
    step. A sum is requantized to 16 bits and interpolated between 513 entries where that is more accurate than 8
    bits and a table: the error then is ``interpolated(...).error``.

    Args:
        function: must be finite where the calibration samples are; what is not a number takes the value of the
            nearest operand that is one, and infinite results saturate.
        continuous: whether it has no jumps; a straight line across one would give what is no result at all.
    """
    x, grid = node.inputs[operand_index], context.grid_of(node.output)
    operand = context.integer(x)
    if context.is_raw(operand) and not continuous:
        operand = context.activation(x, affine=True)
    if context.is_raw(operand):
        byte = context.grid_of(x)
        scale = max(HEADROOM * context.largest(x), byte.scale) / DType.I16.max
        table = interpolated(function, scale, grid)
        if table.error < _error_through_bytes(function, scale, byte, grid):
            wide = Grid(DType.I16, scale, DType.I16.min, DType.I16.max)
            operand = context.requantize(operand, wide, context.name_of(x))
            knots = context.graph.const(f"{node.name}.table", table.entries)
            op = Interpolate(grid.dtype, FRACTION)
            return context.emit(op, [operand, knots], node.name, grid.scale, zero_point=grid.zero_point)
        operand = context.activation(x, affine=True)
    entries = byte_table(function, operand.type.dtype, operand.type.scale, zero_point_of(operand), grid)
    values = context.graph.const(f"{node.name}.table", entries)
    return context.emit(Lookup(), [operand, values], node.name, grid.scale, zero_point=grid.zero_point)


def on_own_steps(context: QuantizeContext, node: Node, function: Function, dtype: DType) -> Value:
    """The same with the operand's scale and ``dtype``: exact for a function that maps steps to steps."""
    x = context.activation(node.inputs[0], affine=True)
    if zero_point_of(x):
        # The differences to a zero point may leave the type.
        return tabulated(context, node, function)
    grid = Grid(dtype, x.type.scale, dtype.min, dtype.max)
    entries = byte_table(function, x.type.dtype, x.type.scale, zero_point_of(x), grid)
    table = context.graph.const(f"{node.name}.table", entries)
    return context.emit(Lookup(), [x, table], node.name, grid.scale)


def byte_table(function: Function, dtype: DType, scale: float, zero_point: int, grid: Grid) -> Array:
    """The 256 entries of ``lookup`` for an operand ``scale * (x - zero_point)``: the nearest integers of ``grid``."""
    x = np.arange(dtype.min, dtype.max + 1)
    entries = np.zeros(256, grid.dtype.numpy)
    steps = _steps(function, (x - zero_point) * scale, grid)
    entries[x & 255] = np.rint(steps).astype(grid.dtype.numpy)
    return entries


def interpolated(function: Function, scale: float, grid: Grid) -> Table:
    """The table of ``interpolate`` for an i16 operand at ``scale``."""
    knots = (np.arange(SEGMENTS + 1) << LOW_BITS) - 32768
    entries = np.rint(_steps(function, knots * scale, grid) * (1 << FRACTION)).astype(np.int16)
    x = np.arange(-32768, 32768)
    (y,) = Interpolate(grid.dtype, FRACTION).reference(x.astype(np.int16), entries)
    return Table(entries, float(np.abs(y - _steps(function, x * scale, grid)).max()))


def wide_table(function: Function, scale: float) -> tuple[Array, float]:
    """The table of ``interpolate`` with a 16-bit result for an i16 operand at ``scale``, and the result's scale."""
    knots = ((np.arange(SEGMENTS + 1) << LOW_BITS) - 32768) * scale
    values = np.asarray(function(knots), np.float64)
    step = float(np.abs(values).max()) / DType.I16.max or 1.0
    return np.rint(values / step).astype(np.int16), step


def _error_through_bytes(function: Function, scale: float, byte: Grid, grid: Grid) -> float:
    """The largest error in steps if the 16-bit operand is rounded to 8 bits first."""
    x = np.arange(-32768, 32768) * scale
    rounded = np.clip(np.rint(x / byte.scale), byte.lo, byte.hi) * byte.scale
    # Beyond the 8-bit grid it saturates, which calibration decided.
    inside = np.abs(rounded - x) <= byte.scale
    y = np.rint(_steps(function, rounded, grid))
    return float(np.abs(y - _steps(function, x, grid))[inside].max(initial=0.0))


def _steps(function: Function, x: Array, grid: Grid) -> Array:
    """The function in steps of ``grid``, clamped to it, not rounded; float64."""
    with np.errstate(all="ignore"):
        y = np.asarray(function(x.astype(np.float64)), np.float64)
    known = np.flatnonzero(~np.isnan(y))
    if not known.size:
        return np.full(y.shape, float(grid.nearest(0.0)))
    index = known[np.searchsorted((known[1:] + known[:-1]) / 2, np.arange(y.size))]
    steps: Array = np.clip(y[index] / grid.scale + grid.zero_point, grid.lo, grid.hi)
    return steps
