"""Comparisons, truth values, and the choice between two tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.elementwise import NUMBERS, Binary, Unary, broadcast_shape
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import element, shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

_BOOL = frozenset({DType.BOOL})


@dataclass(frozen=True)
class Comparison(Binary):
    """Whether a relation holds, as booleans."""

    dtypes: ClassVar[frozenset[DType]] = NUMBERS

    def result(self, operand: DType) -> DType:
        return DType.BOOL

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [np.asarray(self.apply(*inputs), np.bool_)]

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import on_common_grid

        return context.emit(self, on_common_grid(context, node), node.name)


@dataclass(frozen=True)
class Equal(Comparison):
    """``a == b``, broadcast. Operands: both of one type."""

    name: ClassVar[str] = "equal"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS | _BOOL

    def apply(self, a: Array, b: Array) -> Array:
        return np.equal(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        if str(a.ty.dtype) == "bool":
            return a.astype("uint8") == b.astype("uint8")
        return a == b


@dataclass(frozen=True)
class Less(Comparison):
    """``a < b``, broadcast. Operands: both f32, or both of one integer type."""

    name: ClassVar[str] = "less"

    def apply(self, a: Array, b: Array) -> Array:
        return np.less(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a < b


@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """``a <= b``, broadcast. Operands: both f32, or both of one integer type."""

    name: ClassVar[str] = "less_or_equal"

    def apply(self, a: Array, b: Array) -> Array:
        return np.less_equal(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a <= b


@dataclass(frozen=True)
class Logical(Binary):
    """A connective of two truth values."""

    dtypes: ClassVar[frozenset[DType]] = _BOOL

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [np.asarray(self.apply(*inputs))]


@dataclass(frozen=True)
class And(Logical):
    """``a and b``, broadcast. Operands: booleans."""

    name: ClassVar[str] = "and"

    def apply(self, a: Array, b: Array) -> Array:
        return np.logical_and(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return tirx.all(a, b)


@dataclass(frozen=True)
class Or(Logical):
    """``a or b``, broadcast. Operands: booleans."""

    name: ClassVar[str] = "or"

    def apply(self, a: Array, b: Array) -> Array:
        return np.logical_or(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return tirx.any(a, b)


@dataclass(frozen=True)
class Xor(Logical):
    """``a != b``, broadcast. Operands: booleans."""

    name: ClassVar[str] = "xor"

    def apply(self, a: Array, b: Array) -> Array:
        return np.logical_xor(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a.astype("uint8") != b.astype("uint8")


@dataclass(frozen=True)
class Not(Unary):
    """``not x``. Operand: booleans."""

    name: ClassVar[str] = "not"
    dtypes: ClassVar[frozenset[DType]] = _BOOL

    def apply(self, x: Array) -> Array:
        return np.logical_not(x)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return tirx.Not(x)


@dataclass(frozen=True)
class Where(Op):
    """``y = a`` where the condition holds, ``b`` else; all three broadcast. Operands: booleans, and two of one type."""

    name: ClassVar[str] = "where"
    elementwise: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        condition, a, b = inputs
        if condition.dtype is not DType.BOOL or a.dtype is not b.dtype:
            raise TypeMismatchError(f"where needs booleans and two of one type; got {condition}, {a}, {b}")
        return [TensorType(a.dtype, broadcast_shape(condition.shape, a.shape, b.shape))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [np.where(*inputs)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te, tirx

        shape = broadcast_shape(*map(shape_of, inputs))

        return te.compute(
            shape, lambda *i: tirx.Select(*(element(x, i, shape) for x in inputs)), name="where"
        )

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands[1:])

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals[1:]))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        grid = context.grid_of(node.output)
        condition = context.integer(node.inputs[0])
        choices = [context.on_grid(v, grid) for v in node.inputs[1:]]
        return context.emit(self, [condition, *choices], node.name, grid.scale, zero_point=grid.zero_point)


@dataclass(frozen=True)
class Kind(Unary):
    """A question about a float. Operand: f32."""

    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return [TensorType(DType.BOOL, super().infer(*inputs)[0].shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [np.asarray(self.apply(x), np.bool_)]


@dataclass(frozen=True)
class IsNaN(Kind):
    """Whether x is not a number. Operand: f32."""

    name: ClassVar[str] = "is_nan"

    def apply(self, x: Array) -> Array:
        return np.isnan(x)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return tirx.isnan(x)


@dataclass(frozen=True)
class IsInf(Kind):
    """Whether x is infinite. Operand: f32.

    Attributes:
        negative, positive: which infinity counts.
    """

    name: ClassVar[str] = "is_inf"
    negative: bool = True
    positive: bool = True

    def apply(self, x: Array) -> Array:
        return (np.isposinf(x) & self.positive) | (np.isneginf(x) & self.negative)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, f32, tirx

        largest = float(np.finfo(np.float32).max)
        found = [x > f32(largest)] if self.positive else []
        found += [x < f32(-largest)] if self.negative else []
        return tirx.any(*found) if found else const(False, "bool")


@onnx_op("Equal")
def import_equal(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Equal(), [node.value(0), node.value(1)])


@onnx_op("Less")
def import_less(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Less(), [node.value(0), node.value(1)])


@onnx_op("LessOrEqual")
def import_less_or_equal(g: Importer, node: OnnxNode) -> Value:
    return g.emit(LessOrEqual(), [node.value(0), node.value(1)])


@onnx_op("Greater")
def import_greater(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Less(), [node.value(1), node.value(0)])


@onnx_op("GreaterOrEqual")
def import_greater_or_equal(g: Importer, node: OnnxNode) -> Value:
    return g.emit(LessOrEqual(), [node.value(1), node.value(0)])


@onnx_op("And")
def import_and(g: Importer, node: OnnxNode) -> Value:
    return g.emit(And(), [node.value(0), node.value(1)])


@onnx_op("Or")
def import_or(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Or(), [node.value(0), node.value(1)])


@onnx_op("Xor")
def import_xor(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Xor(), [node.value(0), node.value(1)])


@onnx_op("Not")
def import_not(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Not(), [node.value(0)])


@onnx_op("Where")
def import_where(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Where(), [node.value(i) for i in range(3)])


@onnx_op("IsNaN")
def import_is_nan(g: Importer, node: OnnxNode) -> Value:
    return g.emit(IsNaN(), [node.value(0)])


@onnx_op("IsInf")
def import_is_inf(g: Importer, node: OnnxNode) -> Value:
    negative, positive = bool(node.int("detect_negative", 1)), bool(node.int("detect_positive", 1))
    return g.emit(IsInf(negative, positive), [node.value(0)])
