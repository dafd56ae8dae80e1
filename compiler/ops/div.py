"""Division."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import NUMBERS, Binary
from dnncc.ops.mul import Mul
from dnncc.ops.sign import negated

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Div(Binary):
    """``y = a / b``, broadcast; integers are rounded towards zero, and divided by zero give 0. Operands: both f32, or
    both of one integer type."""

    name: ClassVar[str] = "div"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        if a.dtype.kind == "f":
            return super().reference(a, b)
        return [truncated_quotient(a, b)]

    def apply(self, a: Array, b: Array) -> Array:
        y: Array = a / b
        return y

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        dtype = str(b.ty.dtype)
        if dtype == "float32":
            return a / b
        zero = const(0, dtype)
        if dtype.startswith("u"):
            return tirx.if_then_else(b == zero, zero, tirx.truncdiv(a, b))
        # The quotient by -1 is a negation, which C leaves undefined for the smallest number.
        safe = tirx.if_then_else(b == const(-1, dtype), negated(a), tirx.truncdiv(a, b))
        return tirx.if_then_else(b == zero, zero, safe)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_quotient

        return integer_quotient(context, node)


@onnx_op("Div")
def import_div(g: Importer, node: OnnxNode) -> Value:
    from dnncc.ir.graph import Const

    a, b = node.value(0), node.value(1)
    if isinstance(b, Const) and b.type.dtype is DType.F32 and a.type.dtype is DType.F32:
        with np.errstate(over="ignore", divide="ignore"):
            reciprocal = np.float32(1) / b.data
        # One rounding more, but no division; not where the reciprocal has lost bits.
        tiny = np.finfo(np.float32).tiny
        if np.isfinite(reciprocal).all() and (np.abs(reciprocal) >= tiny).all():
            return g.emit(Mul(), [a, g.const("reciprocal", reciprocal)])
    return g.emit(Div(), [a, b])


def truncated_quotient(a: Array, b: Array) -> Array:
    """Integer division that rounds toward zero, as ONNX does and numpy does not; 0 where the divisor is 0."""
    with np.errstate(divide="ignore", over="ignore"):
        quotient: Array = a // b
        rounded_down = (np.remainder(a, b) != 0) & ((a < 0) != (b < 0))
    return np.asarray(np.where(b == 0, 0, quotient + rounded_down), a.dtype)
