"""Normalization with the statistics of the sample itself: layer, instance, group and root mean square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.div import Div
from dnncc.ops.functions import Reciprocal, Sqrt
from dnncc.ops.logic import Equal, Where
from dnncc.ops.mul import Mul
from dnncc.ops.reduce import ReduceSum
from dnncc.ops.sign import Abs
from dnncc.ops.sub import Sub
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Normalize(Op):
    """``y = (x - m) / sqrt(mean((x - m)^2) + epsilon)`` with means over ``axes``; 0 where the root is 0. Operand: f32.

    Attributes:
        axes: counted from the front, ascending.
        epsilon: added to the variance.
        centered: m is the mean; else 0.
    """

    name: ClassVar[str] = "normalize"
    axes: tuple[int, ...] = ()
    epsilon: float = 1e-5
    centered: bool = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        ascending = sorted({axis for axis in self.axes if 0 <= axis < x.rank})
        if x.dtype is not DType.F32 or not self.axes or list(self.axes) != ascending:
            raise TypeMismatchError(f"normalize over axes {self.axes} does not take {x}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x = inputs[0].astype(np.float64)
        with np.errstate(all="ignore"):
            if self.centered:
                x = x - x.mean(axis=self.axes, keepdims=True)
            root = np.sqrt((x * x).mean(axis=self.axes, keepdims=True) + self.epsilon)
            return [np.where(root == 0, 0, x / root).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te, tirx

        (x,) = inputs
        shape = shape_of(x)
        out = tuple(1 if axis in self.axes else d for axis, d in enumerate(shape))
        share = f32(1.0 / math.prod(shape[axis] for axis in self.axes))

        def summed(value: Any, name: str) -> Any:
            over = [te.reduce_axis((0, shape[axis]), f"{name}{axis}") for axis in self.axes]

            def element(*i: Any) -> Any:
                index = list(i)
                for axis, k in zip(self.axes, over, strict=True):
                    index[axis] = k
                return te.sum(value(*index), axis=over)

            return te.compute(out, element, name=name)

        def of(i: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(0 if axis in self.axes else index for axis, index in enumerate(i))

        total = summed(x, "total") if self.centered else None

        def deviation(*i: Any) -> Any:
            return x(*i) if total is None else x(*i) - total(*of(i)) * share

        squares = summed(lambda *i: deviation(*i) * deviation(*i), "squares")
        root = te.compute(out, lambda *i: tirx.sqrt(squares(*i) * share + f32(self.epsilon)), name="spread")
        if self.epsilon > 0.0:
            factor = te.compute(out, lambda *i: f32(1.0) / root(*i), name="factor")
        else:
            zero = f32(0.0)
            factor = te.compute(
                out, lambda *i: tirx.Select(root(*i) == zero, zero, f32(1.0) / root(*i)), name="factor"
            )
        return te.compute(shape, lambda *i: deviation(*i) * factor(*of(i)), name="normalize")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ops.normalize_int import integer_normalize

        return integer_normalize(context, node, self.axes, self.epsilon, self.centered)

    def integer_problem(self, node: Node) -> str | None:
        from dnncc.ops.normalize_int import most_elements, too_many

        shape = node.inputs[0].type.shape
        count, most = math.prod(shape[axis] for axis in self.axes), most_elements(DType.U8)
        return too_many(count, most) if count > most else None

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return not self.centered and all(operands)


def _channelwise(g: Importer, node: OnnxNode, value: Value, x: Value, axis: int = 1) -> Value:
    """A vector [C] so that it broadcasts along x's channel axis."""
    if value.type.shape != (x.type.shape[axis],):
        raise node.invalid(f"parameters {value.type} for {x.type.shape[axis]} channels")
    return g.reshape(value, (value.type.size, *[1] * (x.type.rank - 1 - axis)))


@onnx_op("LayerNormalization")
def import_layer_norm(g: Importer, node: OnnxNode) -> list[Value]:
    node.ignore("stash_type")
    x, scale, bias = node.value(0), node.value(1), node.optional(2)
    first = node.axis(node.int("axis", -1), x.type.rank)
    axes = tuple(range(first, x.type.rank))
    epsilon = node.float("epsilon", 1e-5)
    y = g.emit(Mul(), [g.emit(Normalize(axes, epsilon), [x]), scale])
    y = y if bias is None else g.emit(Add(), [y, bias])
    if node.n_outputs == 1:
        return [y]
    count = math.prod(x.type.shape[axis] for axis in axes)
    share = g.const("share", np.array(1.0 / count, np.float32))
    mean = g.emit(Mul(), [g.emit(ReduceSum(axes), [x]), share])
    rest = g.emit(Sub(), [x, mean])
    variance = g.emit(Mul(), [g.emit(ReduceSum(axes), [g.emit(Mul(), [rest, rest])]), share])
    root = g.emit(Sqrt(), [g.emit(Add(), [variance, g.const("epsilon", np.array(epsilon, np.float32))])])
    return [y, mean, g.emit(Reciprocal(), [root])]


@onnx_op("RMSNormalization")
def import_rms_norm(g: Importer, node: OnnxNode) -> Value:
    node.ignore("stash_type")
    x, scale = node.value(0), node.value(1)
    first = node.axis(node.int("axis", -1), x.type.rank)
    op = Normalize(tuple(range(first, x.type.rank)), node.float("epsilon", 1e-5), False)
    return g.emit(Mul(), [g.emit(op, [x]), scale])


@onnx_op("InstanceNormalization")
def import_instance_norm(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    if x.type.rank < 3:
        raise node.invalid(f"an operand {x.type} without spatial axes")
    scale, bias = (_channelwise(g, node, node.value(i), x) for i in (1, 2))
    op = Normalize(tuple(range(2, x.type.rank)), node.float("epsilon", 1e-5))
    return g.emit(Add(), [g.emit(Mul(), [g.emit(op, [x]), scale]), bias])


@onnx_op("GroupNormalization")
def import_group_norm(g: Importer, node: OnnxNode) -> Value:
    node.ignore("stash_type")
    x, groups, epsilon = node.value(0), node.int("num_groups"), node.float("epsilon", 1e-5)
    shape = x.type.shape
    if x.type.rank < 3 or groups < 1 or shape[1] % groups:
        raise node.invalid(f"{groups} groups of {x.type}")
    size = shape[1] // groups
    grouped = g.reshape(x, (shape[0], groups, size * math.prod(shape[2:])))
    y = g.emit(Normalize((2,), epsilon), [grouped])
    scale, bias = node.value(1), node.value(2)
    if node.opset < 21:  # one number per group
        scale, bias = (_channelwise(g, node, v, y) for v in (scale, bias))
        return g.reshape(g.emit(Add(), [g.emit(Mul(), [y, scale]), bias]), shape)
    y = g.reshape(y, shape)
    scale, bias = (_channelwise(g, node, v, x) for v in (scale, bias))
    return g.emit(Add(), [g.emit(Mul(), [y, scale]), bias])


@onnx_op("MeanVarianceNormalization")
def import_mean_variance_norm(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    axes = tuple(sorted({node.axis(axis, x.type.rank) for axis in node.ints("axes", (0, 2, 3))}))
    # The standard adds 1e-9 to the root: that matters where the root is 0, and so is the result.
    return g.emit(Normalize(axes, 0.0), [x])


@onnx_op("LpNormalization")
def import_lp_norm(g: Importer, node: OnnxNode) -> Value:
    x, p = node.value(0), node.int("p", 2)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    if p == 2:
        share = g.const("share", np.array(1.0 / math.sqrt(x.type.shape[axis]), np.float32))
        return g.emit(Mul(), [g.emit(Normalize((axis,), 0.0, False), [x]), share])
    if p != 1:
        raise node.invalid(f"p is {p}, neither 1 nor 2")
    norm = g.emit(ReduceSum((axis,)), [g.emit(Abs(), [x])])
    zero, one = (g.const(word, np.array(v, np.float32)) for word, v in (("zero", 0), ("one", 1)))
    safe = g.emit(Where(), [g.emit(Equal(), [norm, zero]), one, norm])
    return g.emit(Div(), [x, safe])
