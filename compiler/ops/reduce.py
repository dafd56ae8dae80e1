"""Reductions over any axes: sum, product, largest and smallest element, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.add import Add
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.cast import Cast
from dnncc.ops.div import Div
from dnncc.ops.elementwise import NUMBERS, modular, wider
from dnncc.ops.functions import Exp, Log, Sqrt
from dnncc.ops.mul import Mul
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.sign import Abs
from dnncc.ops.sub import Sub
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Reduction(Op):
    """One number for all elements along ``axes``, which stay with size 1.

    Attributes:
        axes: counted from the front, ascending.
    """

    dtypes: ClassVar[frozenset[DType]] = NUMBERS
    axes: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        ascending = sorted({axis for axis in self.axes if 0 <= axis < x.rank})
        if x.dtype not in self.dtypes or not self.axes or list(self.axes) != ascending:
            raise TypeMismatchError(f"{self.name} over axes {self.axes} does not take {x}")
        shape = tuple(1 if axis in self.axes else d for axis, d in enumerate(x.shape))
        return [TensorType(self.result(x.dtype), shape, self.quantization(x))]

    def result(self, operand: DType) -> DType:
        """The result's type."""
        return operand

    def quantization(self, x: TensorType) -> Any:
        """The result's quantization: none but for what selects elements."""
        return None

    def count(self, shape: Sequence[int]) -> int:
        """How many elements become one."""
        return math.prod(shape[axis] for axis in self.axes)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        shape, dtype = shape_of(x), str(x.dtype)
        over = [te.reduce_axis((0, shape[axis]), f"k{axis}") for axis in self.axes]
        out = tuple(1 if axis in self.axes else d for axis, d in enumerate(shape))

        def element(*i: Any) -> Any:
            index = list(i)
            for axis, k in zip(self.axes, over, strict=True):
                index[axis] = k
            return self.combine(x(*index), over, dtype)

        total = te.compute(out, element, name=self.name)
        return self.finish(total, dtype)

    def combine(self, x: Any, over: Sequence[Any], dtype: str) -> Any:
        """The TVM reduction of an element over axes."""
        raise NotImplementedError(f"{self.name} has no tensor expression")

    def finish(self, total: Any, dtype: str) -> Any:
        """The result from what was combined."""
        return total


@dataclass(frozen=True)
class ReduceSum(Reduction):
    """The sum. Operand: f32, or integers.

    Attributes:
        axes: counted from the front, ascending.
        wraps: the sum of integers is of their own type, modulo 2^bits; else an i32 that must hold it.
    """

    name: ClassVar[str] = "reduce_sum"
    wraps: bool = False

    def result(self, operand: DType) -> DType:
        return operand if operand is DType.F32 or self.wraps else DType.I32

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        if x.dtype.kind == "f":
            with np.errstate(all="ignore"):
                return [x.sum(axis=self.axes, keepdims=True, dtype=np.float64).astype(np.float32)]
        if self.wraps:
            return [x.astype(np.uint64).sum(axis=self.axes, keepdims=True).astype(x.dtype)]
        return [narrow(x.sum(axis=self.axes, keepdims=True, dtype=np.int64), DType.I32)]

    def combine(self, x: Any, over: Sequence[Any], dtype: str) -> Any:
        from dnncc.targets.lowering.api import te

        wide = dtype if dtype == "float32" else wider(dtype, False) if self.wraps else "int32"
        return te.sum(x.astype(wide), axis=over)

    def finish(self, total: Any, dtype: str) -> Any:
        from dnncc.targets.lowering.api import te

        if not self.wraps or str(total.dtype) == dtype:
            return total
        return te.compute(total.shape, lambda *i: total(*i).astype(dtype), name="narrowed")

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        if self.wraps:
            return Ranges(Interval.of_dtype(inputs[0].type.dtype))
        x, n = intervals[0].collapsed(), self.count(inputs[0].type.shape)
        return Ranges(Interval.of(n * x.min, n * x.max), Interval.of(min(n * x.min, 0), max(n * x.max, 0)))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        x = context.integer(node.inputs[0])
        # Products are summed as they are where 32 bits hold the sum.
        if not context.is_raw(x) or (
            x.type.quantization is None
            or context.interval(x).largest * self.count(x.type.shape) > DType.I32.max
        ):
            x = context.activation(node.inputs[0])
        return context.emit(self, [x], node.name, x.type.scale)


@dataclass(frozen=True)
class ReduceProd(Reduction):
    """The product; of integers modulo 2^bits. Operand: f32, or integers."""

    name: ClassVar[str] = "reduce_prod"

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        if x.dtype.kind == "f":
            with np.errstate(all="ignore"):
                return [x.prod(axis=self.axes, keepdims=True, dtype=np.float64).astype(np.float32)]
        return [x.astype(np.uint64).prod(axis=self.axes, keepdims=True).astype(x.dtype)]

    def combine(self, x: Any, over: Sequence[Any], dtype: str) -> Any:
        from dnncc.targets.lowering.api import const, te

        wide = dtype if dtype == "float32" else modular(dtype)
        product = te.comm_reducer(lambda a, b: a * b, lambda t: const(1, t), name="prod")
        return product(x.astype(wide), axis=over)

    def finish(self, total: Any, dtype: str) -> Any:
        from dnncc.targets.lowering.api import te

        if str(total.dtype) == dtype:
            return total
        return te.compute(total.shape, lambda *i: total(*i).astype(dtype), name="narrowed")

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Selection(Reduction):
    """One of the elements: on integers that stand for reals the same."""

    moves: ClassVar[bool] = True
    dtypes: ClassVar[frozenset[DType]] = NUMBERS | {DType.BOOL}

    def quantization(self, x: TensorType) -> Any:
        return x.quantization if x.quantization is not None and x.quantization.axis is None else None

    def extreme(self) -> tuple[Callable[..., Any], bool]:
        """numpy's function, and whether it is the largest element."""
        raise NotImplementedError(f"{self.name} has no reference")

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,), (function, largest) = inputs, self.extreme()
        if x.size:
            return [np.asarray(function(x, axis=self.axes, keepdims=True))]
        # Of no elements at all: the number that any other exceeds, or stays below.
        dtype = DType.of(x)
        ends = (-np.inf, np.inf) if dtype.is_float else (dtype.min, dtype.max)
        return [np.asarray(function(x, axis=self.axes, keepdims=True, initial=ends[not largest]), x.dtype)]

    def combine(self, x: Any, over: Sequence[Any], dtype: str) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        _, largest = self.extreme()
        if dtype == "bool":
            x, dtype = x.astype("uint8"), "uint8"
        if dtype == "float32":
            identity = const(-math.inf if largest else math.inf, dtype)
        else:
            identity = tirx.min_value(dtype) if largest else tirx.max_value(dtype)
        pick = te.max if largest else te.min
        reducer = te.comm_reducer(lambda a, b: pick(a, b), lambda t: identity, name="extreme")
        return reducer(x, axis=over)

    def finish(self, total: Any, dtype: str) -> Any:
        from dnncc.targets.lowering.api import const, te

        if dtype != "bool":
            return total
        return te.compute(total.shape, lambda *i: total(*i) != const(0, "uint8"), name="truth")

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(intervals[0].collapsed())

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


@dataclass(frozen=True)
class ReduceMax(Selection):
    """The largest element, of x's type and scale. Operand: f32, integers or booleans."""

    name: ClassVar[str] = "reduce_max"

    def extreme(self) -> tuple[Callable[..., Any], bool]:
        return np.max, True


@dataclass(frozen=True)
class ReduceMin(Selection):
    """The smallest element, of x's type and scale. Operand: f32, integers or booleans."""

    name: ClassVar[str] = "reduce_min"

    def extreme(self) -> tuple[Callable[..., Any], bool]:
        return np.min, False


def reduced_axes(node: OnnxNode, rank: int, operand_since: int = 18) -> tuple[int, ...]:
    """The axes of an ONNX reduction, ascending: an operand since some opset, an attribute before."""
    if node.opset >= operand_since:
        given = node.optional_array(1)
        listed = None if given is None else tuple(int(a) for a in given.reshape(-1))
    else:
        listed = node.ints("axes") if node.has("axes") else None
    noop = node.int("noop_with_empty_axes", 0)
    if not listed:
        return () if noop else tuple(range(rank))
    return tuple(sorted({node.axis(axis, rank) for axis in listed}))


def _reduced(g: Importer, node: OnnxNode, op: type[Reduction], x: Value, operand_since: int = 18) -> Value:
    """The reduction of ``x`` over the node's axes, with or without what remains of these."""
    rank = x.type.rank
    axes = reduced_axes(node, rank, operand_since)
    keep = node.int("keepdims", 1)
    if not axes:
        return x
    reduction = ReduceSum(axes, x.type.dtype.is_integer) if op is ReduceSum else op(axes)
    y = g.emit(reduction, [x])
    return y if keep else g.reshape(y, tuple(d for a, d in enumerate(x.type.shape) if a not in axes))


def _like(g: Importer, value: Value, dtype: DType) -> Value:
    return value if value.type.dtype is dtype else g.emit(Cast(dtype, dtype.is_integer), [value])


@onnx_op("ReduceSum")
def import_reduce_sum(g: Importer, node: OnnxNode) -> Value:
    return _reduced(g, node, ReduceSum, node.value(0), 13)


@onnx_op("ReduceProd")
def import_reduce_prod(g: Importer, node: OnnxNode) -> Value:
    return _reduced(g, node, ReduceProd, node.value(0))


@onnx_op("ReduceMax")
def import_reduce_max(g: Importer, node: OnnxNode) -> Value:
    return _reduced(g, node, ReduceMax, node.value(0))


@onnx_op("ReduceMin")
def import_reduce_min(g: Importer, node: OnnxNode) -> Value:
    return _reduced(g, node, ReduceMin, node.value(0))


@onnx_op("ReduceL1")
def import_reduce_l1(g: Importer, node: OnnxNode) -> Value:
    return _reduced(g, node, ReduceSum, g.emit(Abs(), [node.value(0)]))


@onnx_op("ReduceSumSquare")
def import_reduce_sum_square(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    return _reduced(g, node, ReduceSum, g.emit(Mul(x.type.dtype.is_integer), [x, x]))


@onnx_op("ReduceL2")
def import_reduce_l2(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    wide = _like(g, x, DType.F32)
    return _like(g, g.emit(Sqrt(), [_reduced(g, node, ReduceSum, g.emit(Mul(), [wide, wide]))]), x.type.dtype)


@onnx_op("ReduceLogSum")
def import_reduce_log_sum(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    total = _reduced(g, node, ReduceSum, _like(g, x, DType.F32))
    return _like(g, g.emit(Log(), [total]), x.type.dtype)


@onnx_op("ReduceLogSumExp")
def import_reduce_log_sum_exp(g: Importer, node: OnnxNode) -> Value:
    """The largest element is taken out, so that no exponential is too large."""
    x = node.value(0)
    wide, rank = _like(g, x, DType.F32), x.type.rank
    axes = reduced_axes(node, rank)
    if not axes:
        return x
    largest = g.emit(ReduceMax(axes), [wide])
    power = g.emit(Exp(), [g.emit(Sub(), [wide, largest])])
    y = g.emit(Add(), [g.emit(Log(), [g.emit(ReduceSum(axes), [power])]), largest])
    if not node.int("keepdims", 1):
        y = g.reshape(y, tuple(d for a, d in enumerate(x.type.shape) if a not in axes))
    return _like(g, y, x.type.dtype)


def integer_mean(g: Importer, node: OnnxNode, x: Value) -> Value:
    """The mean of integers, rounded towards zero."""
    axes = reduced_axes(node, x.type.rank)
    total = _reduced(g, node, ReduceSum, _like(g, x, DType.I64))
    count = math.prod(x.type.shape[axis] for axis in axes)
    return _like(g, g.emit(Div(), [total, g.const("count", np.array(count))]), x.type.dtype)
