"""From float32 to integers, at the border of a quantized graph whose caller wants to pass floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.base import Op, TypeMismatchError


@dataclass(frozen=True)
class Quantize(Op):
    """``y = floor(clamp(x * inverse, lo, hi) + 0.5) + zero_point`` in float32; not-a-number becomes the
    smallest y.

    ``inverse = float32(1 / scale)``; lo, hi are the ends of ``dtype`` less the zero point. The rounding is
    formed as ``trunc(t + (0.5 - lo))``, so that the generated C needs no floor, and each step rounds once, in
    float32.

    Operands: x f32.

    Attributes:
        dtype: i8, u8 or i16.
        scale: positive; what one step stands for.
        zero_point: the integer that stands for 0.
    """

    name: ClassVar[str] = "quantize"
    elementwise: ClassVar[bool] = True
    dtype: DType = DType.I8
    scale: float = 1.0
    zero_point: int = 0

    @property
    def inverse(self) -> np.float32:
        with np.errstate(over="ignore"):
            return np.float32(1.0 / self.scale)

    @property
    def _ends(self) -> tuple[int, int]:
        """The smallest and largest multiple of the scale."""
        return self.dtype.min - self.zero_point, self.dtype.max - self.zero_point

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype is not DType.F32 or self.dtype not in (DType.I8, DType.U8, DType.I16):
            raise TypeMismatchError(f"quantize turns f32 into i8, u8 or i16; got {x} and {self.dtype.value}")
        if not self.dtype.min <= self.zero_point <= self.dtype.max:
            raise TypeMismatchError(f"quantize: the zero point {self.zero_point} is no {self.dtype.value}")
        if not (self.scale > 0.0 and 0.0 < self.inverse < np.inf):
            raise TypeMismatchError(
                f"quantize needs a positive scale within float32's range, not {self.scale}"
            )
        return [TensorType(self.dtype, x.shape, Quantization.per_tensor(self.scale, self.zero_point))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        lo, hi = (np.float32(end) for end in self._ends)
        with np.errstate(over="ignore", invalid="ignore"):
            t = x * self.inverse
        # Comparisons written so that not-a-number takes the lower end, as the C does.
        t = np.where(t > lo, t, lo)
        t = np.where(t < hi, t, hi)
        whole = (t + (np.float32(0.5) - lo)).astype(np.int32) + self.dtype.min
        return [whole.astype(self.dtype.numpy)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        (x,) = inputs
        lo, hi = (const(float(end), "float32") for end in self._ends)

        def element(*i: Any) -> Any:
            t = x[i] * const(float(self.inverse), "float32")
            t = tirx.Select(t > lo, t, lo)
            t = tirx.Select(t < hi, t, hi)
            whole = (t + const(0.5 - self._ends[0], "float32")).astype("int32") + const(
                self.dtype.min, "int32"
            )
            return whole.astype(self.dtype.numpy.name)

        return te.compute(x.shape, element, name="quantize")
