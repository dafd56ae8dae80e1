"""A grid of 256 integers chosen while the network runs, from what a tensor holds. In integers
calibration chooses it once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.quantize_linear import grid_expr, to_grid

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class DynamicScale(Op):
    """``(max(x, 0) - min(x, 0)) / 255`` over all of x f32 [N]; 1 where that is 0. f32 [1]."""

    name: ClassVar[str] = "dynamic_scale"
    divides: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype is not DType.F32 or x.rank != 1:
            raise TypeMismatchError(f"dynamic_scale does not take {x}")
        return [TensorType(DType.F32, (1,))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        span = np.float32(max(x.max(), 0)) - np.float32(min(x.min(), 0))
        return [np.asarray([span / np.float32(255) if span else 1.0], np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        (x,) = inputs
        zero = const(0.0, "float32")
        low, high = _end(x, te.min, "low"), _end(x, te.max, "high")

        def element(*_: Any) -> Any:
            span = te.max(high[0], zero) - te.min(low[0], zero)
            return tirx.Select(span > zero, span / const(255.0, "float32"), const(1.0, "float32"))

        return te.compute((1,), element, name="dynamic_scale")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        """Calibration has made it a constant, see ``dnncc.passes.quantize.static``."""
        raise AssertionError("a grid that depends on data was left")


@dataclass(frozen=True)
class DynamicZeroPoint(Op):
    """``clamp(round(-min(x, 0) / scale), 0, 255)``, halves to even. Operands: x f32 [N], scale f32 [1]; u8 [1]."""

    name: ClassVar[str] = "dynamic_zero_point"
    divides: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, scale = inputs
        if x.dtype is not DType.F32 or x.rank != 1 or scale.dtype is not DType.F32 or scale.shape != (1,):
            raise TypeMismatchError(f"dynamic_zero_point does not take {x} and {scale}")
        return [TensorType(DType.U8, (1,))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, scale = inputs
        lowest = np.asarray([min(x.min(), 0)], np.float32)
        return [np.asarray(to_grid(-lowest, scale, np.zeros((), np.float32), 0, 255), np.uint8)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        x, scale = inputs
        zero = const(0.0, "float32")
        low = _end(x, te.min, "low")

        def element(*_: Any) -> Any:
            y = grid_expr((zero - te.min(low[0], zero)) / scale[0], zero, 0, 255)
            return y.astype("int32").astype("uint8")

        return te.compute((1,), element, name="dynamic_zero_point")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        """Calibration has made it a constant, see ``dnncc.passes.quantize.static``."""
        raise AssertionError("a grid that depends on data was left")


def _end(x: Any, extreme: Any, name: str) -> Any:
    """The smallest or largest element, [1]."""
    from dnncc.targets.lowering.api import te

    j = te.reduce_axis((0, int(x.shape[0])), "j")
    return te.compute((1,), lambda _: extreme(x[j], axis=j), name=name)
