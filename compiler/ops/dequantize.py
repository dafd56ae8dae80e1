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
    """``y = float32(x) * float32(scale)``.

    Operands: x i8, u8 or i16, which float32 holds exactly, so that only the product is rounded.

    Attributes:
        scale: positive; what one step stands for.
    """

    name: ClassVar[str] = "dequantize"
    elementwise: ClassVar[bool] = True
    scale: float = 1.0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in (DType.I8, DType.U8, DType.I16):
            raise TypeMismatchError(f"dequantize takes i8, u8 or i16, not {x}")
        if not (self.scale > 0.0 and 0.0 < np.float32(self.scale) < np.inf):
            raise TypeMismatchError(
                f"dequantize needs a positive scale within float32's range, not {self.scale}"
            )
        return [TensorType(DType.F32, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [x.astype(np.float32) * np.float32(self.scale)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        (x,) = inputs
        factor = const(float(np.float32(self.scale)), "float32")
        return te.compute(x.shape, lambda *i: x[i].astype("float32") * factor, name="dequantize")
