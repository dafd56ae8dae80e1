"""One-hot vectors of indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.cast import Cast
from dnncc.ops.movement import require_indices
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class OneHot(Op):
    """``y[.., d, ..] = values[1] if indices[..] is d, else values[0]``, operands (indices, values [off, on]).

    Of the values' type and scale. Negative indices count from the end; one outside gives a vector of ``off``.

    Attributes:
        depth: number of elements along the new axis.
        axis: where the new axis goes, counted from the front.
    """

    name: ClassVar[str] = "one_hot"
    depth: int = 1
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        indices, values = inputs
        require_indices(indices)
        if values.shape != (2,) or self.depth < 1 or not 0 <= self.axis <= indices.rank:
            raise TypeMismatchError(f"one-hot vectors of {self.depth} of {indices} with {values}")
        shape = indices.shape
        return [values.with_shape((*shape[: self.axis], self.depth, *shape[self.axis :]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        indices, values = inputs
        # As Python integers: an index may be larger than any that arithmetic on its type could shift.
        i = np.expand_dims(indices.astype(object), self.axis)
        shape = [1] * i.ndim
        shape[self.axis] = self.depth
        place = np.arange(self.depth).reshape(shape)
        hot = (i == place) | (i + self.depth == place)
        return [np.where(hot.astype(bool), values[1], values[0]).astype(values.dtype)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals[1:]))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        indices, values = inputs
        shape, dtype = shape_of(indices), str(indices.dtype)
        wide = "int32" if dtype in ("int8", "uint8", "int16", "uint16") else dtype

        def element(*i: Any) -> Any:
            index = indices[(*i[: self.axis], *i[self.axis + 1 :])]
            index = index if wide == dtype else index.astype(wide)
            place = i[self.axis].astype(wide)
            hot = index == place
            if not dtype.startswith("u"):
                hot = te.any(hot, index == place - const(self.depth, wide))
            return te.if_then_else(hot, values[1], values[0])

        return te.compute((*shape[: self.axis], self.depth, *shape[self.axis :]), element, name="one_hot")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        indices, values = node.inputs
        grid = context.grid_of(node.output)
        operands = [context.integer(indices), context.on_grid(values, grid)]
        return context.emit(self, operands, node.name, grid.scale, zero_point=grid.zero_point)


@onnx_op("OneHot")
def import_one_hot(g: Importer, node: OnnxNode) -> Value:
    indices, values = node.value(0), node.value(2)
    depth = node.array(1)
    if depth.size != 1 or int(depth.reshape(())) < 1:
        raise node.invalid(f"depth {depth.tolist()}")
    axis = node.axis(node.int("axis", -1), indices.type.rank + 1)
    if not indices.type.dtype.is_integer:
        indices = g.emit(Cast(DType.I64), [indices])
    return g.emit(OneHot(int(depth.reshape(())), axis), [indices, values])
