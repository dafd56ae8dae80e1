"""Absolute value, negation and sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import INTEGERS, NUMBERS, Unary

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


def negated(x: Any) -> Any:
    """``-x`` of a signed integer; the smallest one, whose negation C leaves undefined, stays what it is."""
    from dnncc.targets.lowering.api import const, tirx

    dtype = str(x.ty.dtype)
    return tirx.Select(x == tirx.min_value(dtype), x, const(0, dtype) - x)


@dataclass(frozen=True)
class Abs(Unary):
    """``y = |x|``; the smallest of signed integers stays what it is. Operand: f32 or integers."""

    name: ClassVar[str] = "abs"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS

    def apply(self, x: Array) -> Array:
        return np.abs(x)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        dtype = str(x.ty.dtype)
        if dtype.startswith("u"):
            return x
        return tirx.abs(x) if dtype == "float32" else tirx.Select(x < const(0, dtype), negated(x), x)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.tables import on_own_steps

        return on_own_steps(context, node, np.abs, DType.U8)


@dataclass(frozen=True)
class Neg(Unary):
    """``y = -x``; the smallest of signed integers stays what it is. Operand: f32 or signed integers."""

    name: ClassVar[str] = "neg"
    dtypes: ClassVar[frozenset[DType]] = frozenset(d for d in INTEGERS if d.is_signed) | {DType.F32}

    def apply(self, x: Array) -> Array:
        y: Array = -x
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32

        # Not 0 - x, which is 0 for 0 where -x is -0.
        return x * f32(-1.0) if str(x.ty.dtype) == "float32" else negated(x)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.forms import integer_affine

        return integer_affine(context, node, node.inputs[0], np.asarray(-1.0), None)


@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1. Operand: f32 or integers."""

    name: ClassVar[str] = "sign"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS

    def apply(self, x: Array) -> Array:
        return np.sign(x)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        dtype = str(x.ty.dtype)
        zero, one = const(0, dtype), const(1, dtype)
        if dtype.startswith("u"):
            return tirx.Select(x > zero, one, zero)
        # Zeros and what is not a number stay.
        middle = x if dtype == "float32" else zero
        return tirx.Select(x > zero, one, tirx.Select(x < zero, const(-1, dtype), middle))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.tables import tabulated

        return tabulated(context, node, np.sign, continuous=False)


@onnx_op("Abs")
def import_abs(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Abs(), [node.value(0)])


@onnx_op("Neg")
def import_neg(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Neg(), [node.value(0)])


@onnx_op("Sign")
def import_sign(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Sign(), [node.value(0)])
