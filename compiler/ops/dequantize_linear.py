"""From integers to the floats that a model says they stand for, on a grid that is an operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.quantize_linear import STORED, check_broadcast
from dnncc.ops.te_types import broadcast_index, shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class DequantizeLinear(Op):
    """``y = float32(x - zero_point) * scale``, the difference exact.

    Operands: x i8, u8, i16, u16 or i32; scale f32 and zero_point of x's type, which broadcast to x. The zero point of
    an i32 is 0.
    """

    name: ClassVar[str] = "dequantize_linear"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, scale, zero = inputs
        if x.dtype not in (*STORED, DType.I32) or scale.dtype is not DType.F32 or zero.dtype is not x.dtype:
            raise TypeMismatchError(f"dequantize_linear does not take {x}, {scale} and {zero}")
        check_broadcast(self.name, x, scale, zero)
        return [TensorType(DType.F32, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, scale, zero = inputs
        if x.dtype == np.int32 and zero.any():
            raise ValueError("dequantize_linear of 32 bits has a zero point")
        return [np.asarray((x.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, scale, zero = inputs
        shape = shape_of(x)

        def element(*i: Any) -> Any:
            y = x[i].astype("int32")
            if str(x.dtype) != "int32":
                y = y - zero[broadcast_index(zero, i, shape)].astype("int32")
            return y.astype("float32") * scale[broadcast_index(scale, i, shape)]

        return te.compute(x.shape, element, name="dequantize_linear")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.given import dequantized

        return dequantized(context, node)
