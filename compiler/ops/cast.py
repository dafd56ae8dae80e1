"""Conversion to another element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import BFLOAT16, ELEMENT_TYPES, FLOAT16, Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Cast(Op):
    """Each element as another type: floats lose their fraction, other than 0 is true; integers must fit.

    Attributes:
        wraps: nothing has to fit: integers are taken modulo 2^bits, floats beyond the type become its ends, and what is
            not a number 0.
    """

    name: ClassVar[str] = "cast"
    elementwise: ClassVar[bool] = True
    dtype: DType = DType.F32
    wraps: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        return [TensorType(self.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        if self.wraps and self.dtype.is_integer:
            return [self._saturated(x) if x.dtype.kind == "f" else x.astype(self.dtype.numpy)]
        if x.dtype.kind == "f" and self.dtype.is_integer:
            if not np.isfinite(x).all() or np.abs(x).max(initial=0) >= 2.0**63:
                raise OverflowError(f"cast: infinite, too large or not a number for {self.dtype.value}")
            x = x.astype(np.int64)
        return [narrow(x, self.dtype)]

    def _saturated(self, x: Array) -> Array:
        low, high = _ends(self.dtype, x.dtype.type)
        inside = np.where((x >= low) & (x <= high), x, 0).astype(self.dtype.numpy)
        beyond = [self.dtype.numpy.type(end) for end in (self.dtype.min, self.dtype.max)]
        return np.asarray(np.where(x < low, beyond[0], np.where(x > high, beyond[1], inside)))

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        found = union(intervals)
        return Ranges(Interval.of_dtype(self.dtype) if self.wraps and not found.fits(self.dtype) else found)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        saturates = self.wraps and self.dtype.is_integer and str(x.dtype).startswith("float")
        return te.compute(
            x.shape,
            lambda *i: self._saturating(x(*i)) if saturates else x[i].astype(self.dtype.numpy.name),
            name="cast",
        )

    def _saturating(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        source, target = str(x.ty.dtype), self.dtype.numpy.name
        low, high = (const(float(end), source) for end in _ends(self.dtype, np.dtype(source).type))
        # C leaves the conversion of what does not fit undefined. Small types go through 32 bits.
        inside = x.astype("int32" if self.dtype.bytes < 4 else target).astype(target)
        smallest = const(self.dtype.min, target)
        largest = tirx.max_value(target) if self.dtype is DType.U64 else const(self.dtype.max, target)
        outside = tirx.if_then_else(x < low, smallest, tirx.if_then_else(x > high, largest, const(0, target)))
        return tirx.if_then_else(tirx.all(x >= low, x <= high), inside, outside)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_cast

        return integer_cast(context, node, self.dtype)


def _ends(dtype: DType, of: type[Any]) -> tuple[Any, Any]:
    """The smallest and largest floats of a numpy type that lie within an integer type."""
    low, high = of(dtype.min), of(dtype.max)
    return low, np.nextafter(high, of(0)) if int(high) > dtype.max else high


@onnx_op("Cast")
def import_cast(g: Importer, node: OnnxNode) -> Value:
    """Every floating type is calculated in f32; only constants can be rounded to a smaller one."""
    node.ignore("saturate", "round_mode")  # they matter for 8-bit floats only
    return _cast(g, node, node.value(0), node.int("to"))


@onnx_op("CastLike")
def import_cast_like(g: Importer, node: OnnxNode) -> Value:
    node.ignore("saturate", "round_mode")
    x, like = node.value(0), node.value(1).type.dtype
    return x if x.type.dtype is like else g.emit(Cast(like, like.is_integer), [x])


def _cast(g: Importer, node: OnnxNode, x: Value, to: int) -> Value:
    from dnncc.ir.graph import Const

    if to not in ELEMENT_TYPES:
        raise node.unsupported(f"a cast to ONNX element type {to}")
    if to in (FLOAT16, BFLOAT16):
        if to == BFLOAT16 or not isinstance(x, Const):
            raise node.unsupported("a cast to a 16-bit float (export the model in float32)")
        with np.errstate(over="ignore"):
            x = g.const("rounded", x.data.astype(np.float16).astype(np.float32))
    dtype = ELEMENT_TYPES[to]
    return x if x.type.dtype is dtype else g.emit(Cast(dtype, dtype.is_integer), [x])
