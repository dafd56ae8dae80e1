"""Local response normalization: each channel divided by a power of its neighbours' squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.interpolate import Interpolate
from dnncc.ops.mul import Mul
from dnncc.ops.reshape import Reshape
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Lrn(Op):
    """``y = x / (bias + alpha / size * s)^beta``, s the sum of the squares of the ``size`` elements around x along
    ``axis`` (Krizhevsky et al., ImageNet Classification, section 3.3). Operand: f32.

    Attributes:
        axis: counted from the front.
        size: how many neighbours, itself included: ``(size - 1) // 2`` before, the others after.
    """

    name: ClassVar[str] = "lrn"
    axis: int = 1
    size: int = 1
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype is not DType.F32 or not 0 <= self.axis < x.rank or self.size < 1:
            raise TypeMismatchError(f"lrn of {self.size} elements along axis {self.axis} does not take {x}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        before, length = (self.size - 1) // 2, x.shape[self.axis]
        squares = np.moveaxis(x.astype(np.float64) ** 2, self.axis, 0)
        sums = [squares[max(c - before, 0) : c - before + self.size].sum(axis=0) for c in range(length)]
        total = np.moveaxis(np.stack(sums), 0, self.axis)
        with np.errstate(all="ignore"):
            return [(x / (self.bias + self.alpha / self.size * total) ** self.beta).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te, tirx

        (x,) = inputs
        shape = shape_of(x)
        before, length = (self.size - 1) // 2, shape[self.axis]
        k = te.reduce_axis((0, self.size), "k")

        def square(*i: Any) -> Any:
            c = i[self.axis] + k - before
            at = (*i[: self.axis], c, *i[self.axis + 1 :])
            value = te.if_then_else(te.all(c >= 0, c < length), x(*at) * x(*at), f32(0.0))
            return te.sum(value, axis=k)

        total = te.compute(shape, square, name="squares")
        share = f32(self.alpha / self.size)
        return te.compute(
            shape,
            lambda *i: x(*i) * tirx.pow(f32(self.bias) + share * total(*i), f32(-self.beta)),
            name="lrn",
        )

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        """Squares and their sums in 32 bits, exactly; the power of the sum from a table of 16 bits; a product."""
        from dnncc.passes.quantize.context import Grid
        from dnncc.passes.quantize.tables import wide_table

        x = context.activation(node.inputs[0])
        shape, scale = x.type.shape, x.type.scale
        wide = context.requantize(x, Grid(DType.I32, scale, DType.I32.min, DType.I32.max), node.name)
        squares = context.emit(Mul(), [wide, wide], node.name, scale**2)
        # The axis as the height of images: sums over windows are those of an average pool.
        image = (math.prod(shape[: self.axis]), shape[self.axis], math.prod(shape[self.axis + 1 :]), 1)
        before = (self.size - 1) // 2
        pool = SumPool2d((self.size, 1), pads=(before, 0, self.size - 1 - before, 0))
        columns = context.emit(Reshape(image), [squares], node.name, scale**2)
        sums = context.emit(pool, [columns], node.name, scale**2)
        largest = max(context.interval(sums).max * scale**2, scale**2)
        grid = Grid(DType.I16, largest / DType.I16.max, 0, DType.I16.max)

        def factor(total: Array) -> Array:
            y: Array = (self.bias + self.alpha / self.size * np.maximum(total, 0.0)) ** -self.beta
            return y

        table, step = wide_table(factor, grid.scale)
        operand = context.requantize(sums, grid, node.name)
        knots = context.graph.const(f"{node.name}.table", table)
        power = context.emit(Interpolate(DType.I16), [operand, knots], node.name, step)
        whole = context.requantize(power, Grid(DType.I32, step, DType.I32.min, DType.I32.max), node.name)
        factors = context.emit(Reshape(shape), [whole], node.name, step)
        return context.emit(Mul(), [wide, factors], node.name, scale * step)

    def integer_problem(self, node: Node) -> str | None:
        """Its sums must stay away from where the power is infinite."""
        safe = self.bias > 0.0 and self.alpha >= 0.0
        return None if safe else f"bias {self.bias} and alpha {self.alpha} (supported: bias > 0, alpha >= 0)"


@onnx_op("LRN")
def import_lrn(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    if x.type.rank < 2:
        raise node.invalid(f"an operand {x.type} without a channel axis")
    alpha, beta, bias = (node.float(n, d) for n, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return g.emit(Lrn(1, node.int("size"), alpha, beta, bias), [x])
