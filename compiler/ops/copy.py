"""A copy of a value into memory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op
from dnncc.ops.ranges import Interval, Ranges, union


@dataclass(frozen=True)
class Copy(Op):
    """``y = x``: where a graph output would otherwise be an input, a constant, or another output."""

    name: ClassVar[str] = "copy"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return [inputs[0]]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [inputs[0].copy()]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(x.shape, lambda *i: x[i], name="copy")
