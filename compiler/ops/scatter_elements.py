"""Single elements replaced, or added to, at indices along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.gather import check_indices
from dnncc.ops.movement import in_range, require_along, te_index
from dnncc.ops.scatter import REDUCTIONS, Scatter
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class ScatterElements(Scatter):
    """``y = x``, then ``y[i, indices[i, j, k], k] = updates[i, j, k]`` for axis 1, see ``Scatter``.

    Attributes:
        reduction: "none", or how an update is combined with what is there: "add", "mul", "min", "max".
        axis: counted from the front.
    """

    name: ClassVar[str] = "scatter_elements"
    axis: int = 0

    def updates_shape(self, x: TensorType, indices: TensorType) -> tuple[int, ...]:
        require_along(x, self.axis, self.name)
        fits = indices.rank == x.rank and all(
            axis == self.axis or i <= d
            for axis, (i, d) in enumerate(zip(indices.shape, x.shape, strict=True))
        )
        if not fits:
            raise TypeMismatchError(f"indices {indices} along axis {self.axis} do not fit {x}")
        return indices.shape

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        where: list[Array] = [*np.indices(indices.shape, sparse=True)]
        where[self.axis] = in_range(indices, x.shape[self.axis])
        return tuple(where)

    def te_place(self, x: Any, indices: Any, i: Sequence[Any]) -> tuple[Any, ...]:
        index = te_index(indices, i, shape_of(x)[self.axis])
        return (*i[: self.axis], index, *i[self.axis + 1 :])


@onnx_op("ScatterElements", "Scatter")
def import_scatter_elements(g: Importer, node: OnnxNode) -> Value:
    x, indices, updates = (node.value(i) for i in range(3))
    axis = node.axis(node.int("axis", 0), x.type.rank)
    reduction = import_reduction(node)
    if isinstance(indices, Const):
        check_indices(node, indices.data, x.type.shape[axis])
    if not indices.type.size:
        return x
    return g.emit(ScatterElements(reduction, axis), [x, indices, updates])


def import_reduction(node: OnnxNode) -> str:
    """The attribute ``reduction``."""
    reduction = node.string("reduction", "none")
    if reduction not in REDUCTIONS:
        raise node.invalid(f"reduction '{reduction}'")
    return reduction
