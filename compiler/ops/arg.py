"""Where the largest or smallest element is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.elementwise import NUMBERS
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class ArgExtreme(Op):
    """The index, as an i64, of the largest or smallest element along ``axis``, which stays with size 1. Operand: f32
    (without what is not a number) or integers.

    Attributes:
        axis: counted from the front.
        largest: or the smallest.
        last: of several equal elements the last one; else the first.
    """

    name: ClassVar[str] = "arg_extreme"
    axis: int = 0
    largest: bool = True
    last: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in NUMBERS or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"arg_extreme along axis {self.axis} does not take {x}")
        return [TensorType(DType.I64, (*x.shape[: self.axis], 1, *x.shape[self.axis + 1 :]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        function = np.argmax if self.largest else np.argmin
        if not self.last:
            return [np.asarray(function(x, axis=self.axis, keepdims=True), np.int64)]
        backwards = function(np.flip(x, self.axis), axis=self.axis, keepdims=True)
        return [np.asarray(x.shape[self.axis] - 1 - backwards, np.int64)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(Interval.of(0, inputs[0].type.shape[self.axis] - 1))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        (x,) = inputs
        shape = shape_of(x)
        length = shape[self.axis]
        out = (*shape[: self.axis], 1, *shape[self.axis + 1 :])

        def at(i: Sequence[Any], k: Any) -> tuple[Any, ...]:
            return (*i[: self.axis], k, *i[self.axis + 1 :])

        k, j = te.reduce_axis((0, length), "k"), te.reduce_axis((0, length), "j")
        pick = te.max if self.largest else te.min
        best = te.compute(out, lambda *i: pick(x[at(i, k)], axis=k), name="best")
        none = const(-1 if self.last else length, "int32")

        def place(*i: Any) -> Any:
            found = te.if_then_else(x(*at(i, j)) == best(*i), j.var.astype("int32"), none)
            return (te.max if self.last else te.min)(found, axis=j)

        index = te.compute(out, place, name="index")
        return te.compute(out, lambda *i: index(*i).astype("int64"), name="arg_extreme")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.emit(self, [context.activation(node.inputs[0])], node.name)


@onnx_op("ArgMax", "ArgMin")
def import_arg_extreme(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    last = bool(node.int("select_last_index", 0))
    y = g.emit(ArgExtreme(axis, node.op_type == "ArgMax", last), [x])
    if node.int("keepdims", 1):
        return y
    return g.reshape(y, (*x.type.shape[:axis], *x.type.shape[axis + 1 :]))


@dataclass(frozen=True)
class Hardmax(Op):
    """1 for the first of the largest elements along ``axis``, 0 for the others, of x's type. Operand: f32 or integers.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "hardmax"
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in NUMBERS or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"hardmax along axis {self.axis} does not take {x}")
        return [x.plain()]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        y = np.zeros_like(x)
        np.put_along_axis(y, np.argmax(x, axis=self.axis, keepdims=True), 1, axis=self.axis)
        return [y]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(Interval.of(0, 1))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        (x,) = inputs
        index = ArgExtreme(self.axis).te(x)
        dtype = str(x.dtype)

        def element(*i: Any) -> Any:
            first = (*i[: self.axis], 0, *i[self.axis + 1 :])
            hit = i[self.axis].astype("int64") == index(*first)
            return tirx.Select(hit, const(1, dtype), const(0, dtype))

        return te.compute(x.shape, element, name="hardmax")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.emit(self, [context.activation(node.inputs[0])], node.name, 1.0)
