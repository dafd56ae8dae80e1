"""A tensor several times, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous, moved
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class Tile(Movement):
    """``y[i, j, ...] = x[i % x.shape[0], j % x.shape[1], ...]``, of x's type and scale.

    Attributes:
        repeats: how often, for each axis.
    """

    name: ClassVar[str] = "tile"
    repeats: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if len(self.repeats) != x.rank or any(r < 1 for r in self.repeats):
            raise TypeMismatchError(f"repeats {self.repeats} do not fit {x}")
        return [moved(x, [d * r for d, r in zip(x.shape, self.repeats, strict=True)])]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [contiguous(np.tile(inputs[0], self.repeats))]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        inner = shape_of(x)

        def element(*index: Any) -> Any:
            axes = zip(index, inner, self.repeats, strict=True)
            return x[tuple((te.indexmod(i, d) if d > 1 else 0) if r > 1 else i for i, d, r in axes)]

        return te.compute([d * r for d, r in zip(inner, self.repeats, strict=True)], element, name="tile")


@onnx_op("Tile")
def import_tile(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    repeats = tuple(int(r) for r in node.array(1).reshape(-1))
    if len(repeats) != x.type.rank or any(r < 0 for r in repeats):
        raise node.invalid(f"repeats {repeats} of {x.type}")
    if 0 in repeats:
        raise node.unsupported(f"repeats {repeats}, a result without elements")
    g.limit([d * r for d, r in zip(x.type.shape, repeats, strict=True)])
    return x if set(repeats) <= {1} else g.emit(Tile(repeats), [x])
