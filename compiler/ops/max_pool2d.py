"""Maximum over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class MaxPool2d(Pool2d):
    """``y[n,i,j,c]`` = the largest x[n,h,w,c] under window (i, j), of x's type and scale."""

    name: ClassVar[str] = "max_pool2d"
    moves: ClassVar[bool] = True
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32, DType.I8, DType.U8, DType.I16, DType.I32})

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return [self.taps(x, lowest).max(axis=(3, 4))]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        shape, axes, tap = self.te_taps(x, te.min_value(x.dtype).value)
        return te.compute(shape, lambda *i: te.max(tap(*i), axis=axes), name="max_pool")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)
