"""Permutation of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
class Transpose(Op):
    """Axis i of the result is axis ``perm[i]`` of x; of x's type and scale.

    Attributes:
        perm: a permutation of x's axes.
    """

    name: ClassVar[str] = "transpose"
    moves: ClassVar[bool] = True
    perm: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if sorted(self.perm) != list(range(x.rank)):
            raise TypeMismatchError(f"{self.perm} is no permutation of the axes of {x}")
        y = x.with_shape(tuple(x.shape[axis] for axis in self.perm))
        q = x.quantization
        if q is not None and q.axis is not None:
            y = replace(y, quantization=replace(q, axis=self.perm.index(q.axis)))
        return [y]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [np.ascontiguousarray(x.transpose(self.perm))]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        inner = shape_of(x)
        where = [self.perm.index(axis) for axis in range(len(inner))]
        return te.compute(
            [inner[axis] for axis in self.perm], lambda *i: x[tuple(i[w] for w in where)], name="transpose"
        )

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


@onnx_op("Transpose")
def import_transpose(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    perm = node.ints("perm", tuple(reversed(range(x.type.rank))))
    if sorted(perm) != list(range(x.type.rank)):
        raise node.invalid(f"perm {perm} of {x.type}")
    return g.transpose(x, perm)
