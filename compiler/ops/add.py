"""Addition."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Binary
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Add(Binary):
    """``y = a + b``, broadcast. Operands: both f32, or both i32 (i64 for shapes)."""

    name: ClassVar[str] = "add"

    def apply(self, a: Array, b: Array) -> Array:
        result: Array = a + b
        return result

    def expr(self, a: Any, b: Any) -> Any:
        return a + b

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_sum

        return integer_sum(context, node)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        # Bounds per channel belong to the last axis, along which operands broadcast as their bounds do.
        a, b = intervals
        return Ranges(Interval(a.low + b.low, a.high + b.high))


@onnx_op("Add", "Sum")
def import_add(g: Importer, node: OnnxNode) -> Value:
    terms = [node.value(i) for i in range(node.n_inputs if node.op_type == "Sum" else 2)]
    if not terms:
        raise node.invalid("Sum without operands")
    return functools.reduce(lambda a, b: g.emit(Add(), [a, b]), terms)
