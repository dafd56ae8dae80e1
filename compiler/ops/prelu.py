"""Rectifier with a slope for each negative element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.elementwise import Binary

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class PRelu(Binary):
    """``y = x`` for x >= 0, ``slope * x`` else. Operands: x, slope, which broadcasts against x; both f32."""

    name: ClassVar[str] = "prelu"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (y,) = super().infer(*inputs)
        if y.shape != inputs[0].shape:
            raise TypeMismatchError(f"prelu: the slope {inputs[1]} does not broadcast to {inputs[0]}")
        return [y]

    def apply(self, a: Array, b: Array) -> Array:
        return np.where(a < 0, a * b, a)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return tirx.Select(a < f32(0.0), a * b, a)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return operands[0]

    def integer_problem(self, node: Node) -> str | None:
        from dnncc.ir.graph import Const

        return None if isinstance(node.inputs[1], Const) else "its slope is not constant"

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ir.graph import Const
        from dnncc.passes.quantize.forms import integer_prelu

        slope = node.inputs[1]
        return integer_prelu(context, node, slope.data) if isinstance(slope, Const) else None


@onnx_op("PRelu")
def import_prelu(g: Importer, node: OnnxNode) -> Value:
    x, slope = node.value(0), node.value(1)
    # Opset 7 and 8 know one slope per channel as a vector, too.
    if (
        slope.type.rank == 1
        and x.type.rank > 2
        and slope.type.shape[0] == x.type.shape[1] != x.type.shape[-1]
    ):
        slope = g.reshape(slope, (slope.type.size, *[1] * (x.type.rank - 2)))
    return g.emit(PRelu(), [x, slope])
