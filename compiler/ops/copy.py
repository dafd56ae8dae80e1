"""A copy of a value into memory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op


@dataclass(frozen=True)
class Copy(Op):
    """``y = x``: where a graph output would otherwise be an input, a constant, or another output."""

    name: ClassVar[str] = "copy"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return [inputs[0]]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [inputs[0].copy()]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(x.shape, lambda *i: x[i], name="copy")
