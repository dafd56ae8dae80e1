"""Broadcasting to a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.elementwise import broadcast_shape
from dnncc.ops.movement import Movement, contiguous, moved
from dnncc.ops.te_types import broadcast_index


@dataclass(frozen=True)
class Expand(Movement):
    """x, broadcast as numpy does; of x's type and scale.

    Attributes:
        shape: the result's.
    """

    name: ClassVar[str] = "expand"
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if broadcast_shape(x.shape, self.shape) != self.shape or any(d < 1 for d in self.shape):
            raise TypeMismatchError(f"{x} does not broadcast to {self.shape}")
        return [moved(x, self.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [contiguous(np.broadcast_to(inputs[0], self.shape))]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(self.shape, lambda *i: x[broadcast_index(x, i, self.shape)], name="expand")


@onnx_op("Expand")
def import_expand(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    wanted = tuple(int(d) for d in node.array(1).reshape(-1))
    if any(d < 0 for d in wanted):
        raise node.invalid(f"shape {wanted}")
    shape = broadcast_shape(x.type.shape, wanted)
    if shape == x.type.shape:
        return x
    if 0 in shape:
        raise node.unsupported(f"shape {shape}, a result without elements")
    g.limit(shape)
    if not x.type.rank:
        x = g.reshape(x, (1,))
    return g.emit(Expand(shape), [x])
