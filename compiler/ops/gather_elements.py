"""Single elements chosen by indices along one axis."""

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
from dnncc.ops.movement import Movement, contiguous, in_range, moved, require_along, require_indices, te_index
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class GatherElements(Movement):
    """``y[i, j, k] = x[i, indices[i, j, k], k]`` for axis 1: one index for each element of the result.

    Of x's type and scale. Negative indices count from the end; one that lies outside is moved to the nearest end.

    Attributes:
        axis: counted from the front.
    """

    name: ClassVar[str] = "gather_elements"
    axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, indices = inputs
        require_along(x, self.axis, self.name)
        require_indices(indices)
        fits = indices.rank == x.rank and all(
            axis == self.axis or i <= d
            for axis, (i, d) in enumerate(zip(indices.shape, x.shape, strict=True))
        )
        if not fits:
            raise TypeMismatchError(f"indices {indices} along axis {self.axis} do not fit {x}")
        return [moved(x, indices.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, indices = inputs
        where: list[Array] = [*np.indices(indices.shape, sparse=True)]
        where[self.axis] = in_range(indices, x.shape[self.axis])
        return [contiguous(x[tuple(where)])]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, indices = inputs
        size = shape_of(x)[self.axis]

        def element(*i: Any) -> Any:
            return x[(*i[: self.axis], te_index(indices, i, size), *i[self.axis + 1 :])]

        return te.compute(shape_of(indices), element, name="gather_elements")


@onnx_op("GatherElements")
def import_gather_elements(g: Importer, node: OnnxNode) -> Value:
    x, indices = node.value(0), node.value(1)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    if isinstance(indices, Const):
        check_indices(node, indices.data, x.type.shape[axis])
    return g.emit(GatherElements(axis), [x, indices])
