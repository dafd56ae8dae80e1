"""Padding with a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.clip import fits
from dnncc.ops.movement import zero_of
from dnncc.ops.pad_mirror import MODES, PadMirror
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.slice import sliced
from dnncc.ops.window import te_pad

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Pad(Op):
    """x with ``value`` around it, of x's type and scale.

    Attributes:
        pads: (before, after) for each axis.
        value: in x's own units; an integer that x's type can hold where x is of an integer type.
    """

    name: ClassVar[str] = "pad"
    moves: ClassVar[bool] = True
    pads: tuple[tuple[int, int], ...] = ()
    value: int | float = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if len(self.pads) != x.rank or any(before < 0 or after < 0 for before, after in self.pads):
            raise TypeMismatchError(f"pads {self.pads} do not fit {x}")
        if x.dtype.is_integer and not fits(self.value, x.dtype):
            raise TypeMismatchError(f"padding value {self.value} is no {x.dtype.value}")
        padded = zip(x.shape, self.pads, strict=True)
        return [x.with_shape(tuple(before + size + after for size, (before, after) in padded))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        # numpy refuses to pad along no axis.
        return [np.pad(x, self.pads, constant_values=self.value) if self.pads else x.copy()]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        value = int(self.value)
        return Ranges(union([intervals[0], Interval.of(value, value)]))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        y = te_pad(x, self.pads, self.value)
        return te.compute(x.shape, lambda *i: x[i], name="padded") if y is x else y

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_pad

        return integer_pad(context, node, self)


@onnx_op("Pad")
def import_pad(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    rank = x.type.rank
    mode = node.string("mode", "constant")
    if mode not in ("constant", *MODES):
        raise node.invalid(f"mode '{mode}'")
    if node.opset >= 11:
        amounts = tuple(int(p) for p in node.array(1).reshape(-1))
        given = node.optional_array(2)
        chosen = node.optional_array(3)
        axes = range(rank) if chosen is None else [node.axis(int(a), rank) for a in chosen.reshape(-1)]
    else:
        amounts = node.ints("pads")
        given = np.array(node.float("value", 0.0), np.float32)
        axes = range(rank)
    if len(amounts) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise node.invalid(f"pads {amounts} for axes {tuple(axes)}")
    if given is not None and given.size != 1:
        raise node.invalid(f"a padding value of shape {given.shape}")
    pads = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pads[axis] = (amounts[i], amounts[i + len(axes)])
    shape = [before + size + after for size, (before, after) in zip(x.type.shape, pads, strict=True)]
    if min(shape, default=0) < 0:
        raise node.invalid(f"pads {amounts} leave {x.type} the shape {shape}")
    g.limit(shape)
    # Negative amounts cut off, before anything is added.
    cut = [
        (max(-before, 0), size - max(-after, 0), 1)
        for size, (before, after) in zip(x.type.shape, pads, strict=True)
    ]
    if any(start > stop for start, stop, _ in cut):
        raise node.unsupported(f"pads {amounts} that cut off more than there is")
    x = sliced(g, x, cut)
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
    if not any(before or after for before, after in pads):
        return x
    if mode == "constant":
        value = zero_of(x.type.dtype) if given is None else given.reshape(()).item()
        return g.emit(Pad(tuple(pads), int(value) if x.type.dtype is DType.BOOL else value), [x])
    return g.emit(PadMirror(tuple(pads), mode), [x])
