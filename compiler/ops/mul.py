"""Multiplication, and division by a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import Binary, broadcast_shape
from dnncc.ops.ranges import Interval, Ranges, product_interval

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Mul(Binary):
    """``y = a * b``, broadcast. Operands: both f32, or both i32 (i64 for shapes)."""

    name: ClassVar[str] = "mul"

    def apply(self, a: Array, b: Array) -> Array:
        result: Array = a * b
        return result

    def expr(self, a: Any, b: Any) -> Any:
        return a * b

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_product

        return integer_product(context, node)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(product_interval(*intervals))


@onnx_op("Mul")
def import_mul(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Mul(), [node.value(0), node.value(1)])


@onnx_op("Div")
def import_div(g: Importer, node: OnnxNode) -> Value:
    from dnncc.ir.graph import Const

    a, b = node.value(0), node.value(1)
    if not isinstance(b, Const):
        raise node.unsupported("division by a tensor that is not constant (supported: by a constant)")
    if not b.data.all():
        raise node.unsupported("division by zero")
    if b.type.dtype.is_integer:
        if not isinstance(a, Const) or a.type.dtype is not b.type.dtype:
            raise node.unsupported("integer division of a tensor that is not constant")
        g.limit(broadcast_shape(a.type.shape, b.type.shape))
        return g.const("quotient", truncated_quotient(a.data, b.data))
    with np.errstate(over="ignore"):
        reciprocal = np.float32(1) / b.data
    if b.type.dtype is not DType.F32 or not np.isfinite(reciprocal).all():
        raise node.unsupported(f"division by {b.type} whose reciprocal is no f32")
    return g.emit(Mul(), [a, g.const("reciprocal", reciprocal)])


def truncated_quotient(a: Array, b: Array) -> Array:
    """Integer division that rounds toward zero, as ONNX does and numpy does not."""
    quotient: Array = a // b
    rounded_down = (a % b != 0) & ((a < 0) != (b < 0))
    return np.asarray(quotient + rounded_down, a.dtype)
