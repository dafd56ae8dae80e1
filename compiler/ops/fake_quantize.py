"""The nearest point of a grid: where a float network says on which integers a value is to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.elementwise import Unary
from dnncc.ops.quantize_linear import STORED, grid_expr, to_grid

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class FakeQuantize(Unary):
    """``y = (clamp(round(x / scale) + zero_point, lo, hi) - zero_point) * scale`` in float32, halves to even.

    A float network computes with what integers would leave of x. Quantization stores x as these integers: the grid is
    given here, and no calibration asks for another.

    Operand: f32.

    Attributes:
        scale: positive; what one step stands for.
        zero_point: the integer that stands for 0; within lo..hi, or near it.
        lo, hi: the integers, of at most 16 bits.
    """

    name: ClassVar[str] = "fake_quantize"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})
    scale: float = 1.0
    zero_point: int = 0
    lo: int = -128
    hi: int = 127

    @property
    def dtype(self) -> DType:
        """The narrowest element type that holds the integers."""
        return next(d for d in STORED if d.min <= self.lo and self.hi <= d.max)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if not any(d.min <= self.lo < self.hi <= d.max for d in STORED):
            raise TypeMismatchError(f"fake_quantize: {self.lo}..{self.hi} are no integers of 16 bits")
        if abs(self.zero_point) > DType.U16.max:
            raise TypeMismatchError(f"fake_quantize: the zero point {self.zero_point} is too large")
        with np.errstate(over="ignore"):
            if not 0.0 < np.float32(self.scale) < np.inf:
                raise TypeMismatchError(f"fake_quantize needs a positive scale, not {self.scale}")
        return super().infer(*inputs)

    def apply(self, x: Array) -> Array:
        scale, zero = np.asarray(self.scale, np.float32), np.asarray(self.zero_point, np.float32)
        with np.errstate(over="ignore"):
            y: Array = (to_grid(x, scale, zero, self.lo, self.hi) - zero) * scale
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const

        scale, zero = (const(float(np.float32(v)), "float32") for v in (self.scale, self.zero_point))
        return (grid_expr(x / scale, zero, self.lo, self.hi) - zero) * scale

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return self.lo >= self.zero_point or (operands[0] and self.hi >= self.zero_point)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.given import stored

        return stored(context, node)
