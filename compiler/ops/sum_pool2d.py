"""Sum over windows of integers: the integer form of an average pool, followed by a requantization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.ranges import Interval, Ranges


@dataclass(frozen=True)
class SumPool2d(Pool2d):
    """``y[n,i,j,c]`` = the sum of the x[n,h,w,c] under window (i, j). Operand: integers; result: i32."""

    name: ClassVar[str] = "sum_pool2d"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.I8, DType.U8, DType.I16, DType.I32})

    def result(self, x: TensorType) -> TensorType:
        return TensorType(DType.I32, x.shape)

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [narrow(self.taps(x, 0).sum(axis=(3, 4), dtype=np.int64), DType.I32)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        count, x = math.prod(self.kernel), intervals[0].collapsed()
        both = Interval.of(count * min(x.min, 0), count * max(x.max, 0))
        return Ranges(both, both)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        shape, axes, tap = self.te_taps(x, 0)
        return te.compute(shape, lambda *i: te.sum(tap(*i).astype("int32"), axis=axes), name="sum_pool")
