"""Concatenation along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Concat(Op):
    """The operands (any number, of one type and scale) one after the other along ``axis``.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "concat"
    moves: ClassVar[bool] = True
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if not inputs or not 0 <= self.axis < inputs[0].rank:
            given = ", ".join(map(str, inputs)) or "nothing"
            raise TypeMismatchError(f"concat along axis {self.axis} of {given}")
        first = inputs[0]
        for x in inputs[1:]:
            alike = x.rank == first.rank and x.dtype is first.dtype
            if not alike or self._others(x) != self._others(first):
                raise TypeMismatchError(f"concat along axis {self.axis} does not take {first} and {x}")
        total = sum(x.shape[self.axis] for x in inputs)
        return [first.with_shape((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]))]

    def _others(self, x: TensorType) -> tuple[int, ...]:
        return (*x.shape[: self.axis], -1, *x.shape[self.axis + 1 :])

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [np.concatenate(inputs, self.axis)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        shapes = [shape_of(x) for x in inputs]
        ends = np.cumsum([shape[self.axis] for shape in shapes]).tolist()

        def element(*i: Any) -> Any:
            def from_part(part: int) -> Any:
                start = ends[part - 1] if part else 0
                here = inputs[part][(*i[: self.axis], i[self.axis] - start, *i[self.axis + 1 :])]
                if part == len(inputs) - 1:
                    return here
                return te.if_then_else(i[self.axis] < ends[part], here, from_part(part + 1))

            return from_part(0)

        shape = (*shapes[0][: self.axis], ends[-1], *shapes[0][self.axis + 1 :])
        return te.compute(shape, element, name="concat")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.context import Grid, zero_point_of

        grid = context.grid_of(node.output)
        parts = [context.integer(v) for v in node.inputs]
        kinds = {p.type.dtype for p in parts}
        steps = {context.steps(p).flat[0] for p in parts}
        if (
            not grid.given
            and len(kinds) == len(steps) == 1
            and not any(context.is_raw(p) or zero_point_of(p) for p in parts)
        ):
            # Parts of one tensor, for instance: they are on a common grid already.
            (dtype,), (scale,) = kinds, steps
            grid = Grid(dtype, float(scale), dtype.min, dtype.max)
        moved = [context.on_grid(v, grid) for v in node.inputs]
        return context.emit(self, moved, node.name, grid.scale, zero_point=grid.zero_point)


@onnx_op("Concat")
def import_concat(g: Importer, node: OnnxNode) -> Value:
    parts = [node.value(i) for i in range(node.n_inputs)]
    if not parts:
        raise node.invalid("nothing to concatenate")
    axis = node.axis(node.int("axis"), parts[0].type.rank)
    return parts[0] if len(parts) == 1 else g.emit(Concat(axis), parts)
