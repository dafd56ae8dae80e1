"""Batch normalization with fixed statistics (inference)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class BatchNorm(Op):
    """``y = (x - mean[c]) / sqrt(var[c] + epsilon) * scale[c] + bias[c]``, c the index along ``axis``.

    Operands: x, scale [C], bias [C], mean [C], var [C], all f32.

    Attributes:
        epsilon: added to the variance.
        axis: x's channel axis, counted from the front.
    """

    name: ClassVar[str] = "batch_norm"
    epsilon: float = 1e-5
    axis: int = 3

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, *parameters = inputs
        given = ", ".join(map(str, inputs))
        if len(parameters) != 4 or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"batch_norm over axis {self.axis} cannot take {given}")
        if any(t.dtype is not DType.F32 for t in inputs):
            raise TypeMismatchError(f"batch_norm needs f32 operands; got {given}")
        if any(p.shape != (x.shape[self.axis],) for p in parameters):
            raise TypeMismatchError(f"batch_norm needs four parameters [{x.shape[self.axis]}]; got {given}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x = inputs[0]
        along = [1] * x.ndim
        along[self.axis] = -1
        scale, bias, mean, var = (p.astype(np.float64).reshape(along) for p in inputs[1:])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return [((x - mean) / np.sqrt(var + self.epsilon) * scale + bias).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        x, scale, bias, mean, var = inputs

        def element(*i: Any) -> Any:
            c = i[self.axis]
            deviation = te.sqrt(var[c] + const(self.epsilon, x.dtype))
            return (x[i] - mean[c]) / deviation * scale[c] + bias[c]

        return te.compute(x.shape, element, name="batch_norm")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ir.graph import Const
        from dnncc.passes.quantize.forms import integer_affine

        parameters = [v.data.astype(np.float64) for v in node.inputs[1:] if isinstance(v, Const)]
        if len(parameters) != 4:
            return None
        along = [1] * node.output.type.rank
        along[self.axis] = -1
        scale, bias, mean, var = (p.reshape(along) for p in parameters)
        gain = scale / np.sqrt(var + self.epsilon)
        return integer_affine(context, node, node.inputs[0], gain, bias - mean * gain)


@onnx_op("BatchNormalization")
def import_batch_norm(g: Importer, node: OnnxNode) -> Value:
    node.ignore("momentum")
    if node.int("training_mode", 0):
        raise node.unsupported("training mode (export the model for inference)")
    if node.opset < 9 and node.int("spatial", 1) != 1:
        raise node.unsupported("spatial=0 (supported: one set of statistics per channel)")
    x = node.value(0)
    if x.type.rank < 2:
        raise node.invalid(f"an operand {x.type} without a channel axis")
    epsilon = node.float("epsilon", 1e-5)
    parameters = [node.value(i) for i in range(1, 5)]
    if x.type.rank != 4:
        return g.emit(BatchNorm(epsilon, 1), [x, *parameters])
    y = g.emit(BatchNorm(epsilon, 3), [g.transpose(x, (0, 2, 3, 1)), *parameters])
    return g.transpose(y, (0, 3, 1, 2))
