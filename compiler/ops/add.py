"""Addition."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Arithmetic
from dnncc.ops.mul import Mul
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Add(Arithmetic):
    """``y = a + b``, broadcast. Operands: both f32, or both i32 or i64; any integers if it wraps.

    Attributes:
        wraps: see ``Arithmetic``.
    """

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
        if self.wraps:
            return Ranges(Interval.of_dtype(inputs[0].type.dtype))
        # Bounds per channel belong to the last axis, along which operands broadcast as their bounds do.
        a, b = intervals
        return Ranges(Interval(a.low + b.low, a.high + b.high))


@onnx_op("Mean")
def import_mean(g: Importer, node: OnnxNode) -> Value:
    total = _sum(g, node, node.n_inputs)
    if node.n_inputs == 1:
        return total
    return g.emit(Mul(), [total, g.const("share", np.array(1.0 / node.n_inputs, np.float32))])


@onnx_op("Add", "Sum")
def import_add(g: Importer, node: OnnxNode) -> Value:
    return _sum(g, node, 2 if node.op_type == "Add" else node.n_inputs)


def _sum(g: Importer, node: OnnxNode, count: int) -> Value:
    terms = [node.value(i) for i in range(count)]
    if not terms:
        raise node.invalid("a sum without operands")
    op = Add(terms[0].type.dtype.is_integer)
    return functools.reduce(lambda a, b: g.emit(op, [a, b]), terms)
