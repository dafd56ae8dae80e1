"""From integers to float32, at the border of a quantized graph whose caller wants to get floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError


@dataclass(frozen=True)
class Dequantize(Op):
    """``y = float32(x - zero_point) * float32(scale)``.

    Operands: x i8, u8 or i16; float32 holds the difference exactly, so that only the product is rounded.

    Attributes:
        scale: positive; what one step stands for.
        zero_point: the integer that stands for 0; of at most 16 bits.
    """

    name: ClassVar[str] = "dequantize"
    elementwise: ClassVar[bool] = True
    scale: float = 1.0
    zero_point: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in (DType.I8, DType.U8, DType.I16):
            raise TypeMismatchError(f"dequantize takes i8, u8 or i16, not {x}")
        if not (self.scale > 0.0 and 0.0 < np.float32(self.scale) < np.inf):
            raise TypeMismatchError(
                f"dequantize needs a positive scale within float32's range, not {self.scale}"
            )
        if abs(self.zero_point) > DType.U16.max:
            raise TypeMismatchError(f"dequantize: the zero point {self.zero_point} has more than 16 bits")
        return [TensorType(DType.F32, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [(x.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        (x,) = inputs
        factor = const(float(np.float32(self.scale)), "float32")

        def element(*i: Any) -> Any:
            y = x[i].astype("int32") - self.zero_point if self.zero_point else x[i]
            return y.astype("float32") * factor

        return te.compute(x.shape, element, name="dequantize")
