"""The sign as -1 or 1: what binary networks keep of a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import Unary

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class FakeBipolar(Unary):
    """``y = scale`` where ``x >= 0``, else ``-scale``. Operand: f32.

    Attributes:
        scale: positive.
    """

    name: ClassVar[str] = "fake_bipolar"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})
    scale: float = 1.0

    def apply(self, x: Array) -> Array:
        return np.where(x >= 0, np.float32(self.scale), np.float32(-self.scale))

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        scale = float(np.float32(self.scale))
        return tirx.Select(x >= const(0.0, "float32"), const(scale, "float32"), const(-scale, "float32"))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.given import bipolar

        return bipolar(context, node, self.scale)
