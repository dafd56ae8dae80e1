"""A table with an entry per value of a byte: any function of an 8-bit number, in one load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges


@dataclass(frozen=True)
class Lookup(Op):
    """``y = table[x & 255]``: the entries for 0..127, then those for -128..-1 if x is an i8, 128..255 if it is a u8.

    Operands: x i8 or u8, table [256] of any integer type of at most 32 bits, which is that of y.
    """

    name: ClassVar[str] = "lookup"
    elementwise: ClassVar[bool] = True
    tables: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, table = inputs
        fits = table.dtype in (DType.I8, DType.U8, DType.I16, DType.U16, DType.I32)
        if x.dtype not in (DType.I8, DType.U8) or not fits or table.shape != (256,):
            raise TypeMismatchError(f"lookup needs i8 or u8 and a table of 256 integers; got {x}, {table}")
        return [TensorType(table.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, table = inputs
        return [table[x.astype(np.int32) & 255]]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        table, x = inputs[1], intervals[0]
        if not isinstance(table, Const):
            return None
        reached = table.data[np.arange(x.min, x.max + 1) & 255]
        return Ranges(Interval.of(int(reached.min()), int(reached.max())))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        x, table = inputs
        signed = str(x.dtype) == "int8"

        def element(*i: Any) -> Any:
            index = x[i].astype("int32")
            return table[index & const(255, "int32") if signed else index]

        return te.compute(x.shape, element, name="lookup")
