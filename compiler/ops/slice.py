"""Strided slices with constant bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Slice(Op):
    """``y[i, ...] = x[starts[0] + i * steps[0], ...]``, of x's type and per-tensor scale.

    Attributes:
        starts: first element for each axis.
        stops: the element before which to stop, for each axis.
        steps: distance of two elements for each axis, positive.
    """

    name: ClassVar[str] = "slice"
    moves: ClassVar[bool] = True
    starts: tuple[int, ...] = ()
    stops: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if not len(self.starts) == len(self.stops) == len(self.steps) == x.rank:
            raise TypeMismatchError(f"slice {self.starts} to {self.stops} by {self.steps} does not fit {x}")
        bounds = list(zip(x.shape, self.starts, self.stops, self.steps, strict=True))
        if any(step < 1 or not 0 <= start <= stop <= size for size, start, stop, step in bounds):
            raise TypeMismatchError(f"slice {self.starts} to {self.stops} by {self.steps} leaves {x}")
        y = x.with_shape(tuple(len(range(start, stop, step)) for _, start, stop, step in bounds))
        return [y if x.quantization is None or x.quantization.axis is None else y.plain()]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        bounds = zip(self.starts, self.stops, self.steps, strict=True)
        return [np.ascontiguousarray(x[tuple(slice(*bound) for bound in bounds)])]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        bounds = list(zip(self.starts, self.stops, self.steps, strict=True))

        def element(*i: Any) -> Any:
            return x[tuple(start + k * step for k, (start, _, step) in zip(i, bounds, strict=True))]

        return te.compute([len(range(*bound)) for bound in bounds], element, name="slice")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


@onnx_op("Slice")
def import_slice(g: Importer, node: OnnxNode) -> Value:
    from dnncc.ir.graph import Const

    x = node.value(0)
    if node.opset >= 10:
        starts, stops = (tuple(int(v) for v in node.array(i).reshape(-1)) for i in (1, 2))
        axes, steps = (node.optional_array(i) for i in (3, 4))
    else:
        starts, stops, steps = node.ints("starts"), node.ints("ends"), None
        axes = np.array(node.ints("axes")) if node.has("axes") else None
    along = range(len(starts)) if axes is None else [int(a) for a in axes.reshape(-1)]
    along = [node.axis(a, x.type.rank) for a in along]
    by = (1,) * len(starts) if steps is None else tuple(int(s) for s in steps.reshape(-1))
    if not len(starts) == len(stops) == len(by) == len(along) == len(set(along)) or 0 in by:
        raise node.invalid(f"starts {starts}, ends {stops}, axes {along}, steps {by}")
    bounds = [(0, d, 1) for d in x.type.shape]
    for axis, start, stop, step in zip(along, starts, stops, by, strict=True):
        # ONNX counts from the end and clamps as Python does.
        bounds[axis] = slice(start, stop, step).indices(x.type.shape[axis])
    if isinstance(x, Const):
        taken = x.data
        for axis, bound in enumerate(bounds):
            taken = np.take(taken, np.arange(*bound), axis)
        return g.const("slice", taken)
    if any(step < 1 for _, _, step in bounds):
        raise node.unsupported(f"negative steps {by}")
    bounds = [(start, max(start, stop), step) for start, stop, step in bounds]
    if bounds == [(0, d, 1) for d in x.type.shape]:
        return x
    return g.emit(Slice(*(tuple(column) for column in zip(*bounds, strict=True))), [x])
