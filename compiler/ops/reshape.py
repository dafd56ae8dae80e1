"""Another shape for the same elements in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Reshape(Op):
    """x under another shape, of x's type and per-tensor scale.

    Attributes:
        shape: the whole new shape, static, of as many elements as x has.
    """

    name: ClassVar[str] = "reshape"
    moves: ClassVar[bool] = True
    is_view: ClassVar[bool] = True
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if any(d < 0 for d in self.shape) or math.prod(self.shape) != x.size:
            raise TypeMismatchError(f"{x} with {x.size} elements cannot have the shape {self.shape}")
        y = x.with_shape(self.shape)
        return [y if x.quantization is None or x.quantization.axis is None else y.plain()]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [x.reshape(self.shape)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        inner = shape_of(x)

        def element(*index: Any) -> Any:
            flat: Any = 0
            for i, size in zip(index, self.shape, strict=True):
                flat = flat * size + i
            source = []
            for size in reversed(inner):
                source.append(te.indexmod(flat, size))
                flat = te.indexdiv(flat, size)
            return x[tuple(reversed(source))]

        return te.compute(self.shape, element, name="reshape")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


@onnx_op("Reshape")
def import_reshape(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    wanted = [int(d) for d in node.array(1).reshape(-1)]
    if not node.int("allowzero", 0):
        if any(d == 0 and axis >= x.type.rank for axis, d in enumerate(wanted)):
            raise node.invalid(f"shape {wanted} keeps a dimension that {x.type} does not have")
        wanted = [d or x.type.shape[axis] for axis, d in enumerate(wanted)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise node.invalid(f"shape {wanted}")
    known = math.prod(d for d in wanted if d != -1)
    if -1 in wanted:
        if not known or x.type.size % known:
            raise node.invalid(f"{x.type} with {x.type.size} elements cannot have the shape {wanted}")
        wanted[wanted.index(-1)] = x.type.size // known
    return g.reshape(x, wanted)


@onnx_op("Flatten")
def import_flatten(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    axis = node.int("axis", 1)
    if axis != x.type.rank:
        axis = node.axis(axis, x.type.rank)
    return g.reshape(x, (math.prod(x.type.shape[:axis]), math.prod(x.type.shape[axis:])))


@onnx_op("Squeeze")
def import_squeeze(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    given = _axes(node)
    if given is None:
        return g.reshape(x, tuple(d for d in x.type.shape if d != 1))
    axes = {node.axis(axis, x.type.rank) for axis in given}
    if any(x.type.shape[axis] != 1 for axis in axes):
        raise node.invalid(f"axes {sorted(axes)} of {x.type} are not all of size 1")
    return g.reshape(x, tuple(d for axis, d in enumerate(x.type.shape) if axis not in axes))


@onnx_op("Unsqueeze")
def import_unsqueeze(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    given = _axes(node)
    if given is None:
        raise node.invalid("axes are missing")
    rank = x.type.rank + len(given)
    axes = {node.axis(axis, rank) for axis in given}
    if len(axes) != len(given):
        raise node.invalid(f"axes {given} name an axis twice")
    rest = iter(x.type.shape)
    return g.reshape(x, tuple(1 if axis in axes else next(rest) for axis in range(rank)))


def _axes(node: OnnxNode) -> tuple[int, ...] | None:
    """The axes, an operand since opset 13 and an attribute before."""
    if node.opset >= 13:
        given = node.optional_array(1)
        return None if given is None else tuple(int(axis) for axis in given.reshape(-1))
    return node.ints("axes") if node.has("axes") else None
