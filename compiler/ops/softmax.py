"""Softmax along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.log_softmax import along_axis
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Softmax(Op):
    """``y = exp(x - max x) / sum exp(x - max x)`` with maximum and sum along ``axis``. Operand: f32.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "softmax"
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype is not DType.F32 or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"softmax along axis {self.axis} does not take {x}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x = inputs[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            e = np.exp(x - x.max(axis=self.axis, keepdims=True))
            return [(e / e.sum(axis=self.axis, keepdims=True)).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        shape = shape_of(x)
        outer = (*shape[: self.axis], *shape[self.axis + 1 :])

        def at(i: Sequence[Any], k: Any) -> tuple[Any, ...]:
            return (*i[: self.axis], k, *i[self.axis :])

        def without(i: Sequence[Any]) -> tuple[Any, ...]:
            return (*i[: self.axis], *i[self.axis + 1 :])

        k = te.reduce_axis((0, shape[self.axis]), "k")
        largest = te.compute(outer, lambda *i: te.max(x[at(i, k)], axis=k), name="largest")
        power = te.compute(shape, lambda *i: te.exp(x[i] - largest[without(i)]), name="power")
        j = te.reduce_axis((0, shape[self.axis]), "j")
        total = te.compute(outer, lambda *i: te.sum(power[at(i, j)], axis=j), name="total")
        return te.compute(shape, lambda *i: power[i] / total[without(i)], name="softmax")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ops.softmax_int import integer_softmax

        return integer_softmax(context, node, self.axis)


@onnx_op("Softmax")
def import_softmax(g: Importer, node: OnnxNode) -> Value:
    return along_axis(g, node, lambda axis: Softmax(axis))
