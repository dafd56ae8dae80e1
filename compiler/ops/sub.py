"""Subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Arithmetic
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Sub(Arithmetic):
    """``y = a - b``, broadcast. Operands: both f32, or both i32 or i64; any integers if it wraps.

    Attributes:
        wraps: see ``Arithmetic``.
    """

    name: ClassVar[str] = "sub"

    def apply(self, a: Array, b: Array) -> Array:
        result: Array = a - b
        return result

    def expr(self, a: Any, b: Any) -> Any:
        return a - b

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_sum

        return integer_sum(context, node)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        if self.wraps:
            return Ranges(Interval.of_dtype(inputs[0].type.dtype))
        a, b = intervals
        return Ranges(Interval(a.low - b.high, a.high - b.low))


@onnx_op("Sub")
def import_sub(g: Importer, node: OnnxNode) -> Value:
    a, b = node.value(0), node.value(1)
    return g.emit(Sub(a.type.dtype.is_integer), [a, b])
