"""Strided slices with constant bounds, and splits as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node
    from dnncc.passes.quantize.context import QuantizeContext


Bound = tuple[int, int, int]


@dataclass(frozen=True)
class Slice(Op):
    """``y[i, ...] = x[starts[0] + i * steps[0], ...]``, of x's type and per-tensor scale.

    Attributes:
        starts: first element for each axis.
        stops: the element before which to stop, for each axis; -1 where a negative step reaches the first element.
        steps: distance of two elements for each axis; negative ones go backwards.
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
        if not all(
            _inside(*bound) for bound in zip(x.shape, self.starts, self.stops, self.steps, strict=True)
        ):
            raise TypeMismatchError(f"slice {self.starts} to {self.stops} by {self.steps} leaves {x}")
        y = x.with_shape(tuple(len(range(*bound)) for bound in self._bounds()))
        return [y if x.quantization is None or x.quantization.axis is None else y.plain()]

    def _bounds(self) -> list[Bound]:
        return list(zip(self.starts, self.stops, self.steps, strict=True))

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        # To numpy a stop of -1 is the last element.
        chosen = (slice(start, None if stop < 0 else stop, step) for start, stop, step in self._bounds())
        return [np.ascontiguousarray(x[tuple(chosen)])]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        bounds = self._bounds()

        def element(*i: Any) -> Any:
            return x[tuple(start + k * step for k, (start, _, step) in zip(i, bounds, strict=True))]

        return te.compute([len(range(*bound)) for bound in bounds], element, name="slice")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


def _inside(size: int, start: int, stop: int, step: int) -> bool:
    if step > 0:
        return 0 <= start <= stop <= size
    return step < 0 and -1 <= stop <= start < size


def sliced(g: Importer, x: Value, bounds: Sequence[Bound]) -> Value:
    """``x`` between bounds as ``slice.indices`` gives them; nothing is emitted for all of it.

    Args:
        bounds: (start, stop, step) for each axis.
    """
    shape = x.type.shape
    if [*bounds] == [(0, d, 1) for d in shape]:
        return x
    if not all(len(range(*bound)) for bound in bounds):
        return g.const("slice", np.zeros([len(range(*bound)) for bound in bounds], x.type.dtype.numpy))
    return g.emit(Slice(*(tuple(column) for column in zip(*bounds, strict=True))), [x])


@onnx_op("Slice")
def import_slice(g: Importer, node: OnnxNode) -> Value:
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
    return sliced(g, x, bounds)


@onnx_op("Split")
def import_split(g: Importer, node: OnnxNode) -> Sequence[Value]:
    x = node.value(0)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    size = x.type.shape[axis]
    if node.opset >= 13:
        given = node.optional_array(1)
        lengths = None if given is None else [int(n) for n in given.reshape(-1)]
    else:
        lengths = list(node.ints("split")) if node.has("split") else None
    parts = node.int("num_outputs") if node.opset >= 18 and node.has("num_outputs") else node.n_outputs
    if lengths is None:
        if not 1 <= parts <= max(size, 1) or (node.opset < 18 and size % parts):
            raise node.invalid(f"{size} elements along axis {axis} in {parts} equal parts")
        # The last one may be smaller.
        each = -(-size // parts)
        lengths = [min(each, size - i * each) for i in range(parts)]
    if len(lengths) != node.n_outputs or sum(lengths) != size or min(lengths) < 0:
        raise node.invalid(f"{size} elements along axis {axis} in {node.n_outputs} parts of {lengths}")
    return split(g, x, axis, lengths)


def split(g: Importer, x: Value, axis: int, lengths: Sequence[int]) -> list[Value]:
    """``x`` in parts of these lengths along an axis."""
    ends = np.cumsum(lengths).tolist()
    bounds = [(0, d, 1) for d in x.type.shape]
    return [
        sliced(g, x, [*bounds[:axis], (end - length, end, 1), *bounds[axis + 1 :]])
        for end, length in zip(ends, lengths, strict=True)
    ]
