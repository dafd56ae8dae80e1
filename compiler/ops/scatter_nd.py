"""Slices replaced, or added to, at tuples of indices."""

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
from dnncc.ops.movement import in_range, te_index
from dnncc.ops.scatter import Scatter
from dnncc.ops.scatter_elements import import_reduction
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class ScatterNd(Scatter):
    """``y = x``, then ``y[indices[i, 0], indices[i, 1], ...] = updates[i]``, see ``Scatter``.

    Attributes:
        reduction: "none", or how an update is combined with what is there: "add", "mul", "min", "max".
    """

    name: ClassVar[str] = "scatter_nd"

    def updates_shape(self, x: TensorType, indices: TensorType) -> tuple[int, ...]:
        if not indices.rank or not 1 <= indices.shape[-1] <= x.rank:
            raise TypeMismatchError(f"indices {indices} do not address {x}")
        return (*indices.shape[:-1], *x.shape[indices.shape[-1] :])

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        depth, outer = indices.shape[-1], indices.ndim - 1
        rest = x.shape[depth:]
        chosen = [in_range(indices[..., k], x.shape[k]) for k in range(depth)]
        chosen = [p.reshape((*p.shape, *(1 for _ in rest))) for p in chosen]
        grid: list[Array] = [*np.indices(rest, sparse=True)]
        return (*chosen, *(p.reshape((1,) * outer + p.shape) for p in grid))

    def te_place(self, x: Any, indices: Any, i: Sequence[Any]) -> tuple[Any, ...]:
        *outer, depth = shape_of(indices)
        where = i[: len(outer)]
        chosen = [te_index(indices, (*where, k), shape_of(x)[k]) for k in range(depth)]
        # A scalar is an array of one element there: no more axes than x has.
        return (*chosen, *i[len(outer) :][: len(shape_of(x)) - depth])


@onnx_op("ScatterND")
def import_scatter_nd(g: Importer, node: OnnxNode) -> Value:
    x, indices, updates = (node.value(i) for i in range(3))
    reduction = import_reduction(node)
    if isinstance(indices, Const) and indices.type.rank:
        for k, size in enumerate(x.type.shape[: indices.type.shape[-1]]):
            check_indices(node, indices.data[..., k], size)
    if not indices.type.size:
        return x
    return g.emit(ScatterNd(reduction), [x, indices, updates])
