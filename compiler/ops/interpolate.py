"""A table with straight lines between its entries: a smooth function of a 16-bit number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges

SEGMENTS = 512
LOW_BITS = 7
"""16 bits less the 9 that number the segments."""


@dataclass(frozen=True)
class Interpolate(Op):
    """Linear interpolation: with ``u = x + 32768``, ``h = u >> 7`` and ``l = u & 127``,

        y = (table[h] * 128 + (table[h+1] - table[h]) * l + 2^(6 + fraction)) >> (7 + fraction)

    Table entry h stands for x = 128 h - 32768, in units of ``2^-fraction`` of y; all steps fit an i32.

    Operands: x i16, table i16 [513], within the type of y once shifted.

    Attributes:
        dtype: of y: i8, u8 or i16.
        fraction: bits of the table's entries below y's unit, 0 to 8.
    """

    name: ClassVar[str] = "interpolate"
    elementwise: ClassVar[bool] = True
    tables: ClassVar[tuple[int, ...]] = (1,)
    dtype: DType = DType.I8
    fraction: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, table = inputs
        if x.dtype is not DType.I16 or table.dtype is not DType.I16 or table.shape != (SEGMENTS + 1,):
            raise TypeMismatchError(f"interpolate needs i16 and a table of 513 i16; got {x}, {table}")
        if self.dtype not in (DType.I8, DType.U8, DType.I16) or not 0 <= self.fraction <= 8:
            raise TypeMismatchError(f"interpolate cannot give {self.dtype.value} from {self.fraction} bits")
        return [TensorType(self.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        u, table = inputs[0].astype(np.int32) + 32768, inputs[1].astype(np.int32)
        ends = (table + ((1 << self.fraction) >> 1)) >> self.fraction
        if ends.min() < self.dtype.min or ends.max() > self.dtype.max:
            raise ValueError(f"the table of interpolate leaves {self.dtype.value}")
        h, low = u >> LOW_BITS, u & (1 << LOW_BITS) - 1
        y = (table[h] << LOW_BITS) + (table[h + 1] - table[h]) * low
        shift = LOW_BITS + self.fraction
        return [((y + (1 << (shift - 1))) >> shift).astype(self.dtype.numpy)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        table = inputs[1]
        if not isinstance(table, Const):
            return None
        ends = (table.data.astype(np.int64) + ((1 << self.fraction) >> 1)) >> self.fraction
        return Ranges(Interval.of(int(ends.min()), int(ends.max())))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, table = inputs

        def element(*i: Any) -> Any:
            return interpolation(table, x[i].astype("int32"), self.fraction).astype(self.dtype.numpy.name)

        return te.compute(x.shape, element, name="interpolate")


def interpolation(table: Any, x: Any, fraction: int) -> Any:
    """The operator on an i32 expression within 16 bits, as an i32 expression."""
    from dnncc.targets.lowering.api import const

    def c(value: int) -> Any:
        return const(value, "int32")

    shift = LOW_BITS + fraction
    u = x + c(32768)
    h, low = u >> c(LOW_BITS), u & c((1 << LOW_BITS) - 1)
    a, b = table[h].astype("int32"), table[h + c(1)].astype("int32")
    return (a * c(1 << LOW_BITS) + (b - a) * low + c(1 << (shift - 1))) >> c(shift)
