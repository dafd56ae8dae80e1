"""The largest or smallest elements along an axis, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import Variable, nest
from dnncc.ops.movement import contiguous, moved, require_along
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class TopK(Op):
    """(values, positions i64) of the k largest elements along an axis, in descending order; or smallest, ascending.

    Of equal elements the one with the lower position comes first. The values are of x's type and scale.

    Attributes:
        axis: counted from the front.
        k: how many, at most as many as there are.
        largest: false for the smallest.
    """

    name: ClassVar[str] = "top_k"
    axis: int = 0
    k: int = 1
    largest: bool = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        require_along(x, self.axis, self.name)
        if not 1 <= self.k <= x.shape[self.axis] or x.dtype is DType.BOOL:
            raise TypeMismatchError(f"the top {self.k} along axis {self.axis} of {x}")
        y = moved(x, (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :]))
        return [y, TensorType(DType.I64, y.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        if self.largest:
            # Sorted backwards, so that equal elements are backwards too, and turned around.
            order = np.flip(np.argsort(np.flip(x, self.axis), self.axis, kind="stable"), self.axis)
            order = x.shape[self.axis] - 1 - order
        else:
            order = np.argsort(x, self.axis, kind="stable")
        order = np.take(order, np.arange(self.k), self.axis)
        return [contiguous(np.take_along_axis(x, order, self.axis)), contiguous(order.astype(np.int64))]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Insertion into the results themselves: each element moves up past those that it beats."""
        (x,), (values, positions) = inputs, outputs
        shape = shape_of(x)
        with nest(t, *shape[: self.axis]) as outer, nest(t, *shape[self.axis + 1 :]) as inner:

            def at(i: Any) -> tuple[Any, ...]:
                return (*outer, i, *inner)

            def beats(a: Any, b: Any) -> Any:
                return a > b if self.largest else a < b

            with t.serial(0, shape[self.axis]) as i:
                place = Variable(t, "int32", t.min(i, self.k))
                more = Variable(t, "int32", 1)
                # Two tests, not one: the second reads what the first makes sure is there.
                with t.While(more.get() > 0):
                    more.set(0)
                    with t.If(place.get() > 0), t.Then():
                        above = at(place.get() - 1)
                        with t.If(beats(x[at(i)], values[above])), t.Then():
                            with t.If(place.get() < self.k), t.Then():
                                t.buffer_store(values, values[above], at(place.get()))
                                t.buffer_store(positions, positions[above], at(place.get()))
                            place.set(place.get() - 1)
                            more.set(1)
                with t.If(place.get() < self.k), t.Then():
                    t.buffer_store(values, x[at(i)], at(place.get()))
                    t.buffer_store(positions, i.astype("int64"), at(place.get()))

    def to_integer(self, context: QuantizeContext, node: Node) -> Sequence[Value] | None:
        x = context.activation(node.inputs[0])
        return context.emit_all(self, [x], node.name, [x.type.scale, None])


@onnx_op("TopK")
def import_top_k(g: Importer, node: OnnxNode) -> Sequence[Value]:
    x = node.value(0)
    axis = node.axis(node.int("axis", -1), x.type.rank)
    if node.opset >= 10:
        given = node.array(1)
        if given.size != 1:
            raise node.invalid(f"k of shape {given.shape}")
        k = int(given.reshape(()))
    else:
        k = node.int("k")
    largest = bool(node.int("largest", 1))
    node.ignore("sorted")  # the order is free without it: here it is the same
    if not 0 <= k <= x.type.shape[axis]:
        raise node.invalid(f"the top {k} of {x.type.shape[axis]} elements")
    if not k:
        raise node.unsupported("k of 0, a result without elements")
    return g.emit_all(TopK(axis, k, largest), [x])
