"""Normalization on integers: exact sums and variance, an exact square root, Newton's reciprocal; no division."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.fixed_point import reciprocal, te_reciprocal
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.te_types import shape_of, type_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

UNIT = 16
"""Results are in units of 2^-16."""

SUM_BITS = 29
"""The sum of the magnitudes stays within 2^29, so that a deviation fits 2^30 and its square 2^60."""

MAX_EPSILON = 1 << 59
"""With the variance, which stays below 2^58, it stays below 2^60."""

_NEWTON_STEPS = 3
_SHIFT = 59 - UNIT


@dataclass(frozen=True)
class NormalizeInt(Op):
    """``y = (x - m) / sqrt(mean((x - m)^2) + epsilon / N^2)`` in units of 2^-16, with means over the N elements along
    ``axes``; 0 where the root is 0. Independent of x's scale but for ``epsilon``.

    Operand: x i8, u8 or i16, N times the type's largest magnitude at most 2^29: 2^21 elements of 8 bits, 2^14 of 16.
    Result: i32, at most sqrt(N). With the sums over the elements along the axes:

        sum   = sum of x                     0 unless centered
        V     = N * sum of x^2 - sum^2 + epsilon     in i64, exact: N^2 times the variance; at least 1
        k     = headroom(V)                  so that 4^k * V is in [2^58, 2^60)
        R     = isqrt(4^k * V)               in [2^29, 2^30), exact: the whole part of the root
        r     = reciprocal(2 * R)            in three steps, about 2^59 / R, see ``fixed_point``
        y[i]  = (N * x[i] - sum) * r / 2^(43 - k)    in i64, rounded half up, clamped to +-(sqrt(N) * 2^16 + 1)

    All but the reciprocal and the last step is exact, so that |y - exact y| <= 2^-17 + 2^-26 * |y| in reals. (I-ViT,
    Li and Gu, section 3.4, truncates each step.)

    Attributes:
        axes: counted from the front, ascending.
        epsilon: N^2 times the real one in steps of x, squared; 0 to 2^59.
        centered: m is the mean; else 0.
    """

    name: ClassVar[str] = "normalize_int"
    axes: tuple[int, ...] = ()
    epsilon: int = 0
    centered: bool = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        ascending = sorted({axis for axis in self.axes if 0 <= axis < x.rank})
        if x.dtype not in (DType.I8, DType.U8, DType.I16) or not self.axes or list(self.axes) != ascending:
            raise TypeMismatchError(f"normalize_int over axes {self.axes} does not take {x}")
        if not 0 <= self.epsilon <= MAX_EPSILON:
            raise TypeMismatchError(f"normalize_int: epsilon {self.epsilon} is not within 0..2^59")
        count = self.count(x.shape)
        if count > most_elements(x.dtype):
            raise TypeMismatchError(
                f"normalize_int of {count} elements (supported: {most_elements(x.dtype)} of {x.dtype.value})"
            )
        return [TensorType(DType.I32, x.shape)]

    def count(self, shape: Sequence[int]) -> int:
        """N."""
        return math.prod(shape[axis] for axis in self.axes)

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x = inputs[0].astype(np.int64)
        n = self.count(x.shape)
        total = x.sum(axis=self.axes, keepdims=True) if self.centered else np.zeros((), np.int64)
        spread = n * (x * x).sum(axis=self.axes, keepdims=True) - total * total + self.epsilon
        spread = np.maximum(spread, 1)
        k = headroom(spread)
        r = reciprocal(2 * isqrt(spread << 2 * k), _NEWTON_STEPS)
        shift = _SHIFT - k
        y = ((n * x - total) * r + (np.int64(1) << (shift - 1))) >> shift
        limit = _limit(n)
        return [np.clip(y, -limit, limit).astype(np.int32)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        n, x = self.count(inputs[0].type.shape), intervals[0].collapsed()
        # Of what is kept in 32 bits: the sum, and N times an element less it. Sums of squares have 64 bits.
        far = 2 * n * x.largest if self.centered else n * x.largest
        low = 0 if x.min >= 0 and not self.centered else -_limit(n)
        return Ranges(Interval.of(low, _limit(n)), Interval.of(-far, far))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, extern_pure, te

        (x,) = inputs
        shape = shape_of(x)
        n = self.count(shape)
        out = tuple(1 if axis in self.axes else d for axis, d in enumerate(shape))

        def summed(term: Any, name: str) -> Any:
            over = [te.reduce_axis((0, shape[axis]), f"{name}{axis}") for axis in self.axes]

            def element(*i: Any) -> Any:
                index = list(i)
                for axis, k in zip(self.axes, over, strict=True):
                    index[axis] = k
                return te.sum(term(x(*index)), axis=over)

            return te.compute(out, element, name=name)

        def of(i: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(0 if axis in self.axes else index for axis, index in enumerate(i))

        total = summed(lambda v: v.astype("int32"), "total") if self.centered else None
        # Squares of 8 bits need 64 only where there are many.
        wide = "int32" if n * _magnitude(type_of(x).dtype) ** 2 < 1 << 31 else "int64"
        squares = summed(lambda v: v.astype("int32").astype(wide) * v.astype("int32").astype(wide), "squares")

        def variance(*i: Any) -> Any:
            v = squares(*i).astype("int64") * const(n, "int64") + const(self.epsilon, "int64")
            if total is not None:
                v = v - total(*i).astype("int64") * total(*i).astype("int64")
            return te.max(v, const(1, "int64"))

        spread = te.compute(out, variance, name="spread")
        k = te.compute(out, lambda *i: extern_pure("int32", "dnncc_headroom", spread(*i)), name="headroom")

        def doubled_root(*i: Any) -> Any:
            scaled = spread(*i) << (k(*i) * const(2, "int32")).astype("int64")
            return extern_pure("int32", "dnncc_isqrt", scaled) * const(2, "int32")

        root = te.compute(out, doubled_root, name="twice_root")
        r = te_reciprocal(out, root, _NEWTON_STEPS)
        limit = const(_limit(n), "int32")

        def element(*i: Any) -> Any:
            deviation = x(*i).astype("int32") * const(n, "int32")
            if total is not None:
                deviation = deviation - total(*of(i))
            shift = const(_SHIFT, "int32") - k(*of(i))
            return extern_pure("int32", "dnncc_requantize", deviation, r(*of(i)), shift, -limit, limit)

        return te.compute(shape, element, name="normalize_int")


def _magnitude(dtype: DType) -> int:
    return max(dtype.max + 1, -dtype.min)


def most_elements(dtype: DType) -> int:
    """N, at most, of an operand of this type."""
    return (1 << SUM_BITS) // _magnitude(dtype)


def too_many(count: int, most: int) -> str:
    """What is wrong with so long an operand."""
    return f"{count} elements are normalized together (supported in integers: up to {most})"


def _limit(count: int) -> int:
    """No element is further than sqrt(N) standard deviations from the mean."""
    return math.isqrt(count << 2 * UNIT) + 1


def headroom(x: Array) -> Array:
    """How often each x in [1, 2^60) can be multiplied by 4 until it is at least 2^58."""
    count: Array = np.zeros_like(x)
    for step in (16, 8, 4, 2, 1):
        small = x >> (60 - 2 * step) == 0
        x, count = np.where(small, x << 2 * step, x), count + step * small
    return count


def isqrt(x: Array) -> Array:
    """The whole part of the square root of each x in [0, 2^60), exactly."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    # Rounding to float64 leaves it off by one at most.
    root = root - (root * root > x)
    result: Array = root + ((root + 1) * (root + 1) <= x)
    return result


def integer_normalize(
    context: QuantizeContext, node: Node, axes: tuple[int, ...], epsilon: float, centered: bool
) -> Value:
    """The integer form of a float normalization: raw, in units of 2^-16, so that gain and bias come before the 8 bits.

    A sum that only the normalization reads goes to 16 bits, where there are not too many elements.
    """
    from dnncc.passes.quantize.context import Grid

    x = node.inputs[0]
    count = math.prod(x.type.shape[axis] for axis in axes)
    operand = context.integer(x)
    if context.is_raw(operand) and count <= most_elements(DType.I16):
        scale = max(HEADROOM * context.largest(x), context.scale_of(x)) / DType.I16.max
        grid = Grid(DType.I16, scale, DType.I16.min, DType.I16.max)
        operand = context.requantize(operand, grid, context.name_of(x))
    else:
        # A zero point goes into the mean and out again.
        operand = context.activation(x, affine=centered)
    if count > most_elements(operand.type.dtype):
        # Only of an operand whose differences to its zero point need 16 bits.
        raise context.failure(node.name, node.op.name, too_many(count, most_elements(operand.type.dtype)))
    # Below this scale epsilon alone decides, and results are next to 0 on a coarser grid as well.
    least = count * math.sqrt(epsilon / MAX_EPSILON)
    if operand.type.scale < least:
        coarse = Grid(DType.I16, least, DType.I16.min, DType.I16.max)
        narrow = Grid(DType.I8, least, DType.I8.min, DType.I8.max)
        fits = count <= most_elements(DType.I16)
        operand = context.requantize(operand, coarse if fits else narrow, node.name)
    steps = round(count**2 * epsilon / operand.type.scale**2)
    return context.emit(
        NormalizeInt(axes, min(steps, MAX_EPSILON), centered), [operand], node.name, 2.0**-UNIT
    )


HEADROOM = 1.5
"""The 16-bit grid of an operand covers this much more than the calibration samples reach."""
