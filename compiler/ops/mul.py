"""Multiplication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Arithmetic
from dnncc.ops.ranges import Interval, Ranges, product_interval

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Mul(Arithmetic):
    """``y = a * b``, broadcast. Operands: both f32, or both i32 or i64; any integers if it wraps.

    Attributes:
        wraps: see ``Arithmetic``.
    """

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
        if self.wraps:
            return Ranges(Interval.of_dtype(inputs[0].type.dtype))
        return Ranges(product_interval(*intervals))


@onnx_op("Mul")
def import_mul(g: Importer, node: OnnxNode) -> Value:
    a, b = node.value(0), node.value(1)
    return g.emit(Mul(a.type.dtype.is_integer), [a, b])
