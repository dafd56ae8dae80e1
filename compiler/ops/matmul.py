"""Product of two tensors of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow, product_sum, product_type
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.elementwise import broadcast_shape
from dnncc.ops.linear import Linear
from dnncc.ops.ranges import Interval, Ranges, product_interval
from dnncc.ops.te_types import broadcast_index, shape_of, type_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Matmul(Op):
    """``y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n]``; the leading axes broadcast as in numpy.

    Operands: a [..., M, K], b [..., K, N]. Floats in, float out; integers in, i32 accumulators out.
    """

    name: ClassVar[str] = "matmul"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        a, b = inputs
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise TypeMismatchError(f"matmul needs a[...,M,K], b[...,K,N]; got {a}, {b}")
        batch = broadcast_shape(a.shape[:-2], b.shape[:-2])
        return [TensorType(product_type(a, b), (*batch, a.shape[-2], b.shape[-1]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        dtype = product_type(TensorType(DType.of(a), a.shape), TensorType(DType.of(b), b.shape))
        return [narrow(product_sum(a, b), dtype)]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * inputs[0].shape[-1]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        product, length = (
            product_interval(intervals[0].collapsed(), intervals[1].collapsed()),
            inputs[0].type.shape[-1],
        )
        return Ranges(
            Interval.of(length * product.min, length * product.max),
            Interval.of(length * min(product.min, 0), length * max(product.max, 0)),
        )

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        a, b = inputs
        (y,) = self.infer(*map(type_of, inputs))
        acc = y.dtype.numpy.name
        k = te.reduce_axis((0, shape_of(a)[-1]), "k")

        def product(*i: Any) -> Any:
            left = a[(*broadcast_index(a, i)[:-1], k)]
            right = b[(*broadcast_index(b, i)[:-2], k, i[-1])]
            return te.sum(left.astype(acc) * right.astype(acc), axis=k)

        return te.compute(y.shape, product, name="matmul")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        a, b = (context.activation(v) for v in node.inputs)
        return context.emit(self, [a, b], node.name, a.type.scale * b.type.scale)


@onnx_op("MatMul")
def import_matmul(g: Importer, node: OnnxNode) -> Value:
    """An operand of rank 1 is a row on the left, a column on the right; its axis is not in the result."""
    from dnncc.ir.graph import Const

    a, b = node.value(0), node.value(1)
    if a.type.rank < 1 or b.type.rank < 1:
        raise node.invalid(f"a product of {a.type} and {b.type}")
    column = b.type.rank == 1
    if column:
        b = g.reshape(b, (b.type.size, 1))
    if isinstance(b, Const) and b.type.rank == 2:
        bias = g.const("bias", np.zeros(b.type.shape[1], np.float32))
        y = g.emit(Linear(), [a, g.transpose(b, (1, 0)), bias])
        return g.reshape(y, y.type.shape[:-1]) if column else y
    row = a.type.rank == 1
    y = g.emit(Matmul(), [g.reshape(a, (1, a.type.size)) if row else a, b])
    shape = y.type.shape
    if row:
        shape = (*shape[:-2], shape[-1])
    return g.reshape(y, shape[:-1] if column else shape)
