"""Logarithm of softmax along one axis, and its importers' common treatment of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.arg import Hardmax
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class LogSoftmax(Op):
    """``y = x - max x - ln sum e^(x - max x)`` with maximum and sum along ``axis``. Operand: f32.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "log_softmax"
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype is not DType.F32 or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"log_softmax along axis {self.axis} does not take {x}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x = inputs[0].astype(np.float64)
        with np.errstate(all="ignore"):
            x = x - x.max(axis=self.axis, keepdims=True)
            return [(x - np.log(np.exp(x).sum(axis=self.axis, keepdims=True))).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te, tirx

        (x,) = inputs
        shape = shape_of(x)
        out = (*shape[: self.axis], 1, *shape[self.axis + 1 :])

        def at(i: Sequence[Any], k: Any) -> tuple[Any, ...]:
            return (*i[: self.axis], k, *i[self.axis + 1 :])

        k, j = te.reduce_axis((0, shape[self.axis]), "k"), te.reduce_axis((0, shape[self.axis]), "j")
        largest = te.compute(out, lambda *i: te.max(x(*at(i, k)), axis=k), name="largest")
        total = te.compute(
            out, lambda *i: te.sum(tirx.exp(x(*at(i, j)) - largest(*at(i, 0))), axis=j), name="total"
        )
        log = te.compute(out, lambda *i: tirx.log(total(*i)), name="log")
        return te.compute(shape, lambda *i: (x(*i) - largest(*at(i, 0))) - log(*at(i, 0)), name="log_softmax")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ops.log_softmax_int import integer_log_softmax

        return integer_log_softmax(context, node, self.axis)


def along_axis(g: Importer, node: OnnxNode, make: Callable[[int], Op]) -> Value:
    """A softmax-like operator: along one axis since opset 13, over all axes from ``axis`` on before."""
    x = node.value(0)
    shape = x.type.shape
    if node.opset >= 13:
        return g.emit(make(node.axis(node.int("axis", -1), x.type.rank)), [x])
    axis = node.int("axis", 1)
    axis = node.axis(axis, x.type.rank) if axis != x.type.rank else axis
    if axis < x.type.rank and math.prod(shape[axis + 1 :]) == 1:
        return g.emit(make(axis), [x])
    flat = g.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return g.reshape(g.emit(make(1), [flat]), shape)


@onnx_op("LogSoftmax")
def import_log_softmax(g: Importer, node: OnnxNode) -> Value:
    return along_axis(g, node, lambda axis: LogSoftmax(axis))


@onnx_op("Hardmax")
def import_hardmax(g: Importer, node: OnnxNode) -> Value:
    return along_axis(g, node, lambda axis: Hardmax(axis))
