"""Rectifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Unary
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Relu(Unary):
    """``y = max(x, 0)``. Operand: f32, or integers whose zero point is 0."""

    name: ClassVar[str] = "relu"

    def apply(self, x: Array) -> Array:
        y: Array = np.maximum(x, x.dtype.type(0))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        return te.max(x, const(0, str(x.ty.dtype)))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_clamp

        return integer_clamp(context, node)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        (x,) = intervals
        return Ranges(Interval(np.maximum(x.low, 0), np.maximum(x.high, 0)))


@onnx_op("Relu")
def import_relu(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Relu(), [node.value(0)])
