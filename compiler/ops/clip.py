"""Clamping to constant bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.elementwise import NUMBERS, Unary
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.relu import Relu

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

Bound = int | float | None


@dataclass(frozen=True)
class Clip(Unary):
    """``y = min(max(x, lo), hi)``. Operand: f32, or integers; the bounds are in x's own units.

    Attributes:
        lo, hi: the bounds; None for none. Integers that x's type can hold where x is of an integer type.
    """

    name: ClassVar[str] = "clip"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS
    lo: Bound = None
    hi: Bound = None

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = super().infer(*inputs)
        for bound in (self.lo, self.hi):
            if bound is not None and math.isnan(bound):
                raise TypeMismatchError("clip: a bound is not a number")
            if bound is not None and x.dtype.is_integer and not fits(bound, x.dtype):
                raise TypeMismatchError(f"clip: bound {bound} is no {x.dtype.value}")
        return [x]

    def apply(self, x: Array) -> Array:
        y = x if self.lo is None else np.maximum(x, x.dtype.type(self.lo))
        return y if self.hi is None else np.minimum(y, x.dtype.type(self.hi))

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        dtype = str(x.ty.dtype)
        y = x if self.lo is None else te.max(x, const(self.lo, dtype))
        return y if self.hi is None else te.min(y, const(self.hi, dtype))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_clamp

        return integer_clamp(context, node)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        (x,), dtype = intervals, inputs[0].type.dtype
        lo = dtype.min if self.lo is None else self.lo
        hi = dtype.max if self.hi is None else self.hi
        return Ranges(Interval(np.clip(x.low, lo, hi), np.clip(x.high, lo, hi)))


@onnx_op("Clip")
def import_clip(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    if node.opset >= 11:
        bounds = [_scalar(node, node.optional_array(i)) for i in (1, 2)]
    else:
        bounds = [node.float(name) if node.has(name) else None for name in ("min", "max")]
    # The largest floats are the defaults of old opsets and what exporters write for "no bound".
    largest = float(np.finfo(np.float32).max)
    lo = None if bounds[0] is None or bounds[0] <= -largest else bounds[0]
    hi = None if bounds[1] is None or bounds[1] >= largest else bounds[1]
    if lo is None and hi is None:
        return x
    return g.emit(Relu() if lo == 0 and hi is None else Clip(lo, hi), [x])


def _scalar(node: OnnxNode, bound: Array | None) -> float | None:
    if bound is None:
        return None
    if bound.size != 1:
        raise node.invalid(f"a bound of shape {bound.shape}")
    number: float = bound.reshape(()).item()
    return number


def fits(bound: float, dtype: DType) -> bool:
    """Whether an integer type can hold ``bound`` exactly."""
    return isinstance(bound, int) and dtype.min <= bound <= dtype.max
