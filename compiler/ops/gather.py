"""Slices chosen by indices along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.movement import Movement, contiguous, in_range, moved, require_along, require_indices, te_index
from dnncc.ops.take import taken
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class Gather(Movement):
    """``y[.., i.., ..] = x[.., indices[i..], ..]``: the axis is replaced by the axes of the indices.

    Of x's type and scale. Negative indices count from the end; one that lies outside is moved to the nearest end.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "gather"
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, indices = inputs
        require_along(x, self.axis, self.name)
        require_indices(indices)
        return [moved(x, (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, indices = inputs
        return [contiguous(np.take(x, in_range(indices, x.shape[self.axis]), self.axis))]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, indices = inputs
        inner, chosen = shape_of(x), shape_of(indices)
        end = self.axis + len(chosen)

        def element(*i: Any) -> Any:
            index = te_index(indices, i[self.axis : end], inner[self.axis])
            return x[(*i[: self.axis], index, *i[end:])]

        return te.compute((*inner[: self.axis], *chosen, *inner[self.axis + 1 :]), element, name="gather")


@onnx_op("Gather")
def import_gather(g: Importer, node: OnnxNode) -> Value:
    x, indices = node.value(0), node.value(1)
    shape, axis = x.type.shape, node.axis(node.int("axis", 0), x.type.rank)
    if not indices.type.dtype.is_integer:
        raise node.invalid(f"indices {indices.type}")
    if not isinstance(indices, Const):
        return g.emit(Gather(axis), [x, indices])
    check_indices(node, indices.data, shape[axis])
    positions = in_range(indices.data, max(shape[axis], 1)).reshape(-1)
    result = (*shape[:axis], *indices.type.shape, *shape[axis + 1 :])
    g.limit(result)
    if isinstance(x, Const):
        return g.const("gather", np.take(x.data, positions, axis).reshape(result))
    if not positions.size:
        raise node.unsupported("no indices, a result without elements")
    return g.reshape(taken(g, x, {axis: positions}), result)


def check_indices(node: OnnxNode, indices: Array, size: int) -> None:
    """Invalid if a constant index lies outside ``[-size, size)``."""
    i = indices.astype(np.int64)
    if ((i < -size) | (i >= size)).any():
        raise node.invalid(f"indices outside {size} elements")
