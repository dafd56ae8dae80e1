"""Slices chosen by tuples of indices."""

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
from dnncc.ops.movement import Movement, contiguous, in_range, moved, require_indices, te_index
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class GatherNd(Movement):
    """``y[b, i] = x[b, indices[b, i, 0], indices[b, i, 1], ...]``: the last axis of the indices addresses x.

    Of x's type and scale. Negative indices count from the end; one that lies outside is moved to the nearest end.

    Attributes:
        batch_dims: leading axes that x and the indices share.
    """

    name: ClassVar[str] = "gather_nd"
    batch_dims: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, indices = inputs
        require_indices(indices)
        b = self.batch_dims
        if not 0 <= b < min(x.rank, indices.rank) or x.shape[:b] != indices.shape[:b]:
            raise TypeMismatchError(f"{b} batch axes of {x} and indices {indices}")
        depth = indices.shape[-1]
        if not 1 <= depth <= x.rank - b:
            raise TypeMismatchError(f"indices {indices} address more axes than {x} has")
        return [moved(x, (*indices.shape[:-1], *x.shape[b + depth :]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, indices = inputs
        depth, batch = indices.shape[-1], indices.shape[: self.batch_dims]
        grid = np.indices(indices.shape[:-1], sparse=True)[: len(batch)]
        sizes = x.shape[len(batch) : len(batch) + depth]
        chosen = [in_range(indices[..., k], size) for k, size in enumerate(sizes)]
        return [contiguous(x[(*grid, *chosen)])]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, indices = inputs
        inner, (*outer, depth) = shape_of(x), shape_of(indices)
        b = self.batch_dims

        def element(*i: Any) -> Any:
            where = i[: len(outer)]
            chosen = [te_index(indices, (*where, k), inner[b + k]) for k in range(depth)]
            return x[(*i[:b], *chosen, *i[len(outer) :])]

        # A scalar result is an array of one element.
        shape = (*outer, *inner[b + depth :])
        return te.compute(shape, element, name="gather_nd")


@onnx_op("GatherND")
def import_gather_nd(g: Importer, node: OnnxNode) -> Value:
    x, indices = node.value(0), node.value(1)
    batch_dims = node.int("batch_dims", 0)
    if isinstance(indices, Const):
        for k, size in enumerate(
            x.type.shape[batch_dims:][: indices.type.shape[-1] if indices.type.rank else 0]
        ):
            check_indices(node, indices.data[..., k], size)
    return g.emit(GatherNd(batch_dims), [x, indices])
