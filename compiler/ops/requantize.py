"""Dyadic requantization: multiply, add, shift, clamp (HAWQ-V3, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges

ROUNDING = "half_up"
TO_EVEN = "half_even"


@dataclass(frozen=True)
class Requantize(Op):
    """``y = clamp(((x * multiplier + 2^(shift-1)) >> shift) + zero_point, lo, hi)`` with an arithmetic shift: halves
    round up.

    Operands: x i8, u8, i16 or i32, multiplier i32, broadcast against x (a scalar [] or one per channel [C]).
    With shift 0 nothing is rounded. The product is exact (64 bits); it never wraps.

    Attributes:
        dtype: the output's element type; the result is clamped to its range.
        shift: 0 to 62. 32 is what one Cortex-M4 instruction (SMMULR) does.
        rounding: "half_up"; "half_even" takes the even one of two nearest integers. Only where a model that gives its
            own grids divides by so small a power of two that halves are frequent.
        lo, hi: a tighter clamp (a fused activation), or None for the type's range.
        zero_point: added last. What it is added to is clamped first, to 32 bits and to where the sum is in range.
    """

    name: ClassVar[str] = "requantize"
    elementwise: ClassVar[bool] = True
    dtype: DType = DType.I8
    shift: int = 0
    rounding: str = ROUNDING
    lo: int | None = None
    hi: int | None = None
    zero_point: int = 0

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest output."""
        return (
            self.dtype.min if self.lo is None else self.lo,
            self.dtype.max if self.hi is None else self.hi,
        )

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, multiplier = inputs
        if x.dtype not in (DType.I8, DType.U8, DType.I16, DType.I32) or multiplier.dtype is not DType.I32:
            raise TypeMismatchError(
                f"requantize needs integers of at most 32 bits and an i32 multiplier; got {x}, {multiplier}"
            )
        if np.broadcast_shapes(x.shape, multiplier.shape) != x.shape:
            raise TypeMismatchError(f"multiplier {multiplier} does not broadcast to {x}")
        if not -(1 << 31) < self.zero_point < 1 << 31:
            raise TypeMismatchError(f"requantize: the zero point {self.zero_point} has more than 32 bits")
        if not 0 <= self.shift <= 62 or self.rounding not in (ROUNDING, TO_EVEN):
            raise TypeMismatchError(
                f"requantize: shift {self.shift} or rounding '{self.rounding}' is not supported"
            )
        return [TensorType(self.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, multiplier = inputs
        return [self._exact(x.astype(np.int64), multiplier).astype(self.dtype.numpy)]

    def _exact(self, x: Array, multiplier: Array) -> Array:
        rounding = (1 << self.shift) >> 1
        # |x * m| < 2^62 and the rounding term is at most 2^61: int64 is exact.
        p = x * multiplier.astype(np.int64)
        if self.rounding == TO_EVEN and self.shift:
            p += ((p >> self.shift) & 1) - 1
        y: Array = (p + rounding) >> self.shift
        return np.clip(y, *inner_range(*self.range, self.zero_point)) + self.zero_point

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        multiplier = inputs[1]
        if not isinstance(multiplier, Const):
            return Ranges(Interval.of(*self.range))
        x = intervals[0] if multiplier.type.rank <= 1 else intervals[0].collapsed()
        # Monotonic, up or down: the ends of the operand give the ends of the result.
        ends = [self._exact(np.asarray(end, np.int64), multiplier.data) for end in (x.low, x.high)]
        both = Interval(np.minimum(*ends), np.maximum(*ends))
        return Ranges(both if multiplier.type.rank <= 1 else both.collapsed())

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import requantize_expr, te, to_even_expr

        x, multiplier = inputs
        skip = len(x.shape) - len(multiplier.shape)

        def element(*i: Any) -> Any:
            m = multiplier[
                tuple(j if int(d) != 1 else 0 for j, d in zip(i[skip:], multiplier.shape, strict=True))
            ]
            if self.rounding == TO_EVEN and self.shift:
                bounds = (self.shift, *self.range, self.dtype.numpy.name, self.zero_point)
                return to_even_expr(x[i], m, *bounds)
            return requantize_expr(x[i], m, self.shift, *self.range, self.dtype.numpy.name, self.zero_point)

        return te.compute(x.shape, element, name="requantize")


def inner_range(lo: int, hi: int, zero_point: int) -> tuple[int, int]:
    """Where ``y`` with ``y + zero_point`` in lo..hi is clamped to, so that the sum fits 32 bits."""
    return max(lo - zero_point, DType.I32.min), min(hi - zero_point, DType.I32.max)
