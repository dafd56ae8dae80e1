"""Softmax on integers: table, sum, Newton reciprocal; no division, no float."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.fixed_point import mulhi, reciprocal, te_mulhi, te_reciprocal
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

MAX_LENGTH = 2048
"""Longest axis: above it, 2^30 / length leaves the table's entries too few bits for the error bound."""

HEADROOM = {DType.I8: 23, DType.U8: 22, DType.I16: 15}
"""By how many bits 1.0 is shifted to come close below 2^30."""
# Each step squares the error: (1/17)^4 < 2^-16.
_NEWTON_STEPS = 2


@dataclass(frozen=True)
class SoftmaxInt(Op):
    """Softmax of ``x`` at scale s along ``axis``; the output's scale is ``1 / dtype.max`` (1/127, 1/255, 1/32767).

    Operands: x (i8, u8 or i16), table i32 [D] with ``table[d] = round(exp(-s*d) * 2^k)``, where
    ``k = exponent_bits(N)`` for N elements along the axis. With ``mulhi(a, b) = (a*b + 2^31) >> 32``:

        e[i]  = table[min(max(x) - x[i], D - 1)]      in [0, 2^k]
        sum   = e[0] + ... + e[N-1]                   in [2^k, 2^30]
        n     = number of t in k+1..30 with sum < 2^t      so that v = sum << n is in [2^30, 2^31)
        y     = reciprocal(v) in two steps            about 2^60 / v, see ``fixed_point``
        r     = mulhi(y, levels << b)                 levels = dtype.max, b = 23 for i8, 22 for u8, 15 for i16
        out[i] = ((e[i] << n) * r + 2^(s-1)) >> s     s = b + 28

    Every intermediate but the two products fits an i32; the products fit an i64. The algorithm's own error is
    at most ``error_bound(N)`` beside half an output step (and a tail ``N * exp(-s*(D-1))`` if differences can
    exceed D - 1).

    Attributes:
        axis: the axis that sums to one, counted from the front.
        dtype: i8 (1.0 becomes 127), u8 (1.0 becomes 255) or i16 (1.0 becomes 32767).
    """

    name: ClassVar[str] = "softmax_int"
    axis: int = 0
    dtype: DType = DType.I8

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, table = inputs
        if x.dtype not in (DType.I8, DType.U8, DType.I16) or table.dtype is not DType.I32 or table.rank != 1:
            raise TypeMismatchError(
                f"softmax_int needs 8- or 16-bit integers and an i32 table; got {x}, {table}"
            )
        if not 0 <= self.axis < x.rank or self.dtype not in HEADROOM:
            raise TypeMismatchError(
                f"softmax_int has no axis {self.axis} of {x}, or cannot give {self.dtype.value}"
            )
        if not 1 <= x.shape[self.axis] <= MAX_LENGTH:
            raise TypeMismatchError(f"softmax_int takes 1 to {MAX_LENGTH} elements along the axis; got {x}")
        return [TensorType(self.dtype, x.shape)]

    @property
    def _bits(self) -> tuple[int, int]:
        """b and s of the class's description."""
        b = HEADROOM[self.dtype]
        return b, b + 28

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, table = (a.astype(np.int64) for a in inputs)
        _, e, v, n = exponentials(x, table, self.axis)
        y = reciprocal(v, _NEWTON_STEPS)
        b, s = self._bits
        out = ((e << n) * mulhi(y, self.dtype.max << b) + (1 << (s - 1))) >> s
        return [np.clip(out, 0, self.dtype.max).astype(self.dtype.numpy)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        # The sum of the exponentials is the only sum; the table's scale keeps it within 2^30.
        return Ranges(Interval.of(0, self.dtype.max), Interval.of(0, 1 << 30))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, requantize_expr, te

        x, table = inputs
        parts = te_exponentials(x, table, self.axis)
        outer, rest = parts.outer, parts.rest

        def c(value: int) -> Any:
            return const(value, "int32")

        y = te_reciprocal(outer, parts.v, _NEWTON_STEPS)
        b, s = self._bits
        r = te.compute(outer, lambda *o: te_mulhi(y[o], c(self.dtype.max << b)), name="factor")
        return te.compute(
            x.shape,
            lambda *i: requantize_expr(
                parts.e[i] << parts.n[rest(i)], r[rest(i)], s, 0, self.dtype.max, self.dtype.numpy.name
            ),
            name="softmax_int",
        )


def exponentials(x: Array, table: Array, axis: int) -> tuple[Array, Array, Array, Array]:
    """The distances from the maximum, e, v and n of ``SoftmaxInt``'s description, from int64 arrays."""
    k = exponent_bits(x.shape[axis])
    if table[0] != 1 << k or table.min() < 0 or table.max() > 1 << k:
        raise ValueError(f"the table of exponentials must start with 2^{k} and stay within 0..2^{k}")
    distance = np.max(x, axis=axis, keepdims=True) - x
    e = table[np.minimum(distance, table.size - 1)]
    total = np.sum(e, axis=axis, keepdims=True)
    n = np.zeros_like(total)
    for t in range(k + 1, 31):
        n += total < 1 << t
    return distance, e, total << n, n


@dataclass(frozen=True)
class TeExponentials:
    """``exponentials`` as TVM tensors: e is shaped like x, the others [outer], which is x's shape without the axis.

    Attributes:
        rest: the index into [outer] from one into x.
        distance: the i32 expression at an index into x.
    """

    outer: Sequence[Any]
    rest: Callable[[Sequence[Any]], tuple[Any, ...]]
    distance: Callable[..., Any]
    e: Any
    v: Any
    n: Any


def te_exponentials(x: Any, table: Any, axis: int) -> TeExponentials:
    from dnncc.targets.lowering.api import const, te

    length, entries = int(x.shape[axis]), int(table.shape[0])
    k = exponent_bits(length)
    outer = [d for i, d in enumerate(x.shape) if i != axis] or [1]
    scalar = len(x.shape) == 1

    def full(o: Sequence[Any], i: Any) -> tuple[Any, ...]:
        return (i,) if scalar else (*o[:axis], i, *o[axis:])

    def rest(i: Sequence[Any]) -> tuple[Any, ...]:
        return (const(0, "int32"),) if scalar else (*i[:axis], *i[axis + 1 :])

    def c(value: int) -> Any:
        return const(value, "int32")

    j, m = te.reduce_axis((0, length), "j"), te.reduce_axis((0, length), "m")
    top = te.compute(outer, lambda *o: te.max(x[full(o, m)].astype("int32"), axis=m), name="top")

    def distance(*i: Any) -> Any:
        return top[rest(i)] - x[i].astype("int32")

    e = te.compute(x.shape, lambda *i: table[te.min(distance(*i), c(entries - 1))], name="exp")
    total = te.compute(outer, lambda *o: te.sum(e[full(o, j)], axis=j), name="total")

    def headroom(*o: Any) -> Any:
        count = c(0)
        for t in range(k + 1, 31):
            count = count + (total[o] < c(1 << t)).astype("int32")
        return count

    n = te.compute(outer, headroom, name="headroom")
    v = te.compute(outer, lambda *o: total[o] << n[o], name="normal")
    return TeExponentials(outer, rest, distance, e, v, n)


def exponent_bits(length: int) -> int:
    """k: the sum of ``length`` entries of at most 2^k stays within 2^30."""
    return 30 - (length - 1).bit_length()


def exponential_table(scale: float, entries: int, length: int) -> Array:
    """The operand ``round(exp(-scale * d) * 2^k)``, i32 [entries], for an axis of ``length`` elements."""
    k = exponent_bits(length)
    table: Array = np.rint(np.exp(-scale * np.arange(entries)) * 2.0**k).astype(np.int32)
    return table


def error_bound(length: int) -> float:
    """Largest error of a probability beside half an output step: that of the table and of the reciprocal."""
    return (length + 1) / 2.0 ** (exponent_bits(length) + 1) + 2.0**-16


TABLE_ENTRIES = 256
TAIL = 2.0**-10
"""What all elements beyond the table may weigh together."""


def integer_softmax(context: QuantizeContext, node: Node, axis: int) -> Value | None:
    """The integer form of a float softmax.

    An 8-bit operand indexes the table by its 256 differences. A sum that only the softmax reads goes to a
    finer i16
    grid instead, whose 256 steps cover just the differences that matter: 8 bits for the whole range of the
        logits
    would cost more accuracy than everything else.
    """
    operand = logits(context, node, axis)
    length = node.inputs[0].type.shape[axis]
    table = context.graph.const(
        f"{node.name}.table", exponential_table(operand.type.scale, TABLE_ENTRIES, length)
    )
    grid = context.grid_of(node.output)
    # A given grid is reached by a further step, which must be the only rounding.
    dtype = DType.I16 if grid.given else grid.dtype
    return context.emit(SoftmaxInt(axis, dtype), [operand, table], node.name, 1.0 / dtype.max)


def logits(context: QuantizeContext, node: Node, axis: int) -> Value:
    """The operand of a softmax or its logarithm: an activation as it is, a sum in 16 bits."""
    from dnncc.passes.quantize.context import Grid, zero_point_of

    x = node.inputs[0]
    length = x.type.shape[axis]
    if length > MAX_LENGTH:
        raise context.failure(
            node.name, node.op.name, f"{length} elements along the axis (supported: up to {MAX_LENGTH})"
        )
    operand = context.integer(x)
    if context.is_raw(operand) or operand.type.dtype is DType.I16:
        fine = math.log(length / TAIL) / (TABLE_ENTRIES - 1)
        if context.is_raw(operand):
            # Logits may exceed those of the calibration samples by half before they saturate.
            reach = 1.5 * context.largest(x)
        else:
            ends = context.interval(operand)
            reach = max(abs(e - zero_point_of(operand)) for e in (ends.min, ends.max)) * operand.type.scale
        scale = max(fine, reach / DType.I16.max)
        operand = context.requantize(
            operand, Grid(DType.I16, scale, DType.I16.min, DType.I16.max), context.name_of(x)
        )
    return operand
