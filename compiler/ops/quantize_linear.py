"""From floats to integers as a model says it: the nearest integer, halves to even, on a grid that is an operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import broadcast_index, shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

STORED = (DType.I8, DType.U8, DType.I16, DType.U16)


@dataclass(frozen=True)
class QuantizeLinear(Op):
    """``y = clamp(round(x / scale) + zero_point, y's type)`` in float32, halves to even; not-a-number becomes the
    smallest y.

    Operands: x f32; scale f32 and zero_point (of y's type: i8, u8, i16 or u16), which broadcast to x.
    """

    name: ClassVar[str] = "quantize_linear"
    elementwise: ClassVar[bool] = True
    divides: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, scale, zero = inputs
        if x.dtype is not DType.F32 or scale.dtype is not DType.F32 or zero.dtype not in STORED:
            raise TypeMismatchError(f"quantize_linear does not take {x}, {scale} and {zero}")
        check_broadcast(self.name, x, scale, zero)
        return [TensorType(zero.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, scale, zero = inputs
        info = np.iinfo(zero.dtype)
        return [to_grid(x, scale, zero.astype(np.float32), info.min, info.max).astype(zero.dtype)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, scale, zero = inputs
        info, shape = np.iinfo(str(zero.dtype)), shape_of(x)

        def element(*i: Any) -> Any:
            z = zero[broadcast_index(zero, i, shape)].astype("float32")
            y = grid_expr(x[i] / scale[broadcast_index(scale, i, shape)], z, info.min, info.max)
            return y.astype("int32").astype(str(zero.dtype))

        return te.compute(x.shape, element, name="quantize_linear")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.given import quantized

        return quantized(context, node)


def check_broadcast(name: str, x: TensorType, *parameters: TensorType) -> None:
    for p in parameters:
        if p.rank > x.rank or np.broadcast_shapes(x.shape, p.shape) != x.shape:
            raise TypeMismatchError(f"{name}: {p} does not broadcast to {x}")


def to_grid(x: Array, scale: Array, zero: Array, lo: int, hi: int) -> Array:
    """``clamp(round(x / scale) + zero, lo, hi)``, every step in float32, as float32."""
    low, high = np.float32(lo) - zero, np.float32(hi) - zero
    with np.errstate(all="ignore"):
        t = x / scale
    # Comparisons written so that not-a-number takes the lower end, as the C does.
    t = np.where(t > low, t, low)
    t = np.where(t < high, t, high)
    y: Array = np.rint(t).astype(np.float32) + zero
    return y


def grid_expr(t: Any, zero: Any, lo: int, hi: int) -> Any:
    """``clamp(round(t) + zero, lo, hi)`` of TVM expressions in float32; at most 16 bits between lo and hi."""
    from dnncc.targets.lowering.api import const, tirx

    low, high = (const(float(end), "float32") - zero for end in (lo, hi))
    t = tirx.Select(t > low, t, low)
    t = tirx.Select(t < high, t, high)
    # Compilers are right to drop (t + 2^23) - 2^23 where they may reassociate; comparisons mean the same everywhere.
    whole = t.astype("int32")
    rest, odd = t - whole.astype("float32"), (whole & const(1, "int32")) > const(0, "int32")
    half, one, none = (const(v, "float32") for v in (0.5, 1.0, 0.0))
    up = tirx.Select(tirx.any(rest > half, tirx.all(rest >= half, odd)), one, none)
    down = tirx.Select(tirx.any(rest < -half, tirx.all(rest <= -half, odd)), one, none)
    return whole.astype("float32") + up - down + zero
