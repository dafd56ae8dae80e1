"""The upper bits of an integer: what a network in fixed point keeps of a sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.elementwise import Unary
from dnncc.ops.quantize_linear import grid_expr, to_grid

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.ir.types import TensorType
    from dnncc.passes.quantize.context import QuantizeContext

LIMIT = 1 << 20


@dataclass(frozen=True)
class FakeTrunc(Unary):
    """``y = floor(round(x / scale) / 2^bits) * scale`` in float32. Operand: f32.

    Attributes:
        scale: positive; what one step stands for, before and after.
        bits: 1 to 16, how many are dropped.
        lo, hi: what the integers before are clamped to, at most 20 bits.
    """

    name: ClassVar[str] = "fake_trunc"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})
    scale: float = 1.0
    bits: int = 1
    lo: int = -128
    hi: int = 127

    def infer(self, *inputs: TensorType) -> list[TensorType]:
        if not (1 <= self.bits <= 16 and -LIMIT <= self.lo < self.hi <= LIMIT and self.scale > 0.0):
            raise TypeMismatchError(f"fake_trunc cannot drop {self.bits} bits of {self.lo}..{self.hi}")
        return list(super().infer(*inputs))

    def apply(self, x: Array) -> Array:
        scale = np.asarray(self.scale, np.float32)
        k = to_grid(x, scale, np.zeros((), np.float32), self.lo, self.hi)
        y: Array = np.floor(k / np.float32(1 << self.bits)) * scale
        return y.astype(np.float32)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const

        scale = const(float(np.float32(self.scale)), "float32")
        k = grid_expr(x / scale, const(0.0, "float32"), self.lo, self.hi).astype("int32")
        return (k >> const(self.bits, "int32")).astype("float32") * scale

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.given import truncated

        return truncated(context, node, self)
