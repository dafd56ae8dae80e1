"""Functions of one real number: exponential, logarithm, roots, circular and hyperbolic functions, rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array
from dnncc.ops.elementwise import Function


@dataclass(frozen=True)
class Named(Function):
    """A function that numpy and TIR know; by default under the operator's own name."""

    numpy_name: ClassVar[str] = ""
    tir_name: ClassVar[str] = ""

    def exact(self, x: Array) -> Array:
        y: Array = getattr(np, self.numpy_name or self.name)(x)
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return getattr(tirx, self.tir_name or self.name)(x)


@dataclass(frozen=True)
class NonNegative(Named):
    """One of which no result is negative."""

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True


@dataclass(frozen=True)
class Exp(NonNegative):
    """``y = e^x``. Operand: f32."""

    name: ClassVar[str] = "exp"


@dataclass(frozen=True)
class Log(Named):
    """``y = ln x``. Operand: f32."""

    name: ClassVar[str] = "log"


@dataclass(frozen=True)
class Sqrt(NonNegative):
    """``y = x^(1/2)``. Operand: f32."""

    name: ClassVar[str] = "sqrt"


@dataclass(frozen=True)
class Reciprocal(Function):
    """``y = 1 / x``. Operand: f32."""

    name: ClassVar[str] = "reciprocal"

    def exact(self, x: Array) -> Array:
        y: Array = 1.0 / x
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32

        return f32(1.0) / x

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Erf(Named):
    """The error function, ``y = 2 / sqrt(pi) * integral from 0 to x of e^(-t^2)``. Operand: f32."""

    name: ClassVar[str] = "erf"

    def exact(self, x: Array) -> Array:
        return erf(x)


@dataclass(frozen=True)
class Sin(Named):
    """``y = sin x``. Operand: f32."""

    name: ClassVar[str] = "sin"


@dataclass(frozen=True)
class Cos(Named):
    """``y = cos x``. Operand: f32."""

    name: ClassVar[str] = "cos"


@dataclass(frozen=True)
class Tan(Named):
    """``y = tan x``. Operand: f32."""

    name: ClassVar[str] = "tan"


@dataclass(frozen=True)
class Asin(Named):
    """``y = arcsin x``. Operand: f32."""

    name: ClassVar[str] = "asin"
    numpy_name: ClassVar[str] = "arcsin"


@dataclass(frozen=True)
class Acos(NonNegative):
    """``y = arccos x``. Operand: f32."""

    name: ClassVar[str] = "acos"
    numpy_name: ClassVar[str] = "arccos"


@dataclass(frozen=True)
class Atan(Named):
    """``y = arctan x``. Operand: f32."""

    name: ClassVar[str] = "atan"
    numpy_name: ClassVar[str] = "arctan"


@dataclass(frozen=True)
class Sinh(Named):
    """``y = (e^x - e^-x) / 2``. Operand: f32."""

    name: ClassVar[str] = "sinh"


@dataclass(frozen=True)
class Cosh(NonNegative):
    """``y = (e^x + e^-x) / 2``. Operand: f32."""

    name: ClassVar[str] = "cosh"


@dataclass(frozen=True)
class Tanh(Named):
    """``y = (e^x - e^-x) / (e^x + e^-x)``. Operand: f32."""

    name: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Asinh(Named):
    """``y = ln(x + sqrt(x^2 + 1))``. Operand: f32."""

    name: ClassVar[str] = "asinh"
    numpy_name: ClassVar[str] = "arcsinh"


@dataclass(frozen=True)
class Acosh(NonNegative):
    """``y = ln(x + sqrt(x^2 - 1))``. Operand: f32."""

    name: ClassVar[str] = "acosh"
    numpy_name: ClassVar[str] = "arccosh"


@dataclass(frozen=True)
class Atanh(Named):
    """``y = ln((1 + x) / (1 - x)) / 2``. Operand: f32."""

    name: ClassVar[str] = "atanh"
    numpy_name: ClassVar[str] = "arctanh"


@dataclass(frozen=True)
class Floor(Named):
    """The largest whole number not above x. Operand: f32."""

    name: ClassVar[str] = "floor"
    continuous: ClassVar[bool] = False


@dataclass(frozen=True)
class Ceil(Named):
    """The smallest whole number not below x. Operand: f32."""

    name: ClassVar[str] = "ceil"
    continuous: ClassVar[bool] = False


@dataclass(frozen=True)
class Round(Named):
    """The nearest whole number, of two the even one. Operand: f32."""

    name: ClassVar[str] = "round"
    continuous: ClassVar[bool] = False
    numpy_name: ClassVar[str] = "rint"
    tir_name: ClassVar[str] = "nearbyint"


def erf(x: Array) -> Array:
    """The error function in double precision."""
    y: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return y


@onnx_op("Exp")
def import_exp(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Exp(), [node.value(0)])


@onnx_op("Log")
def import_log(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Log(), [node.value(0)])


@onnx_op("Sqrt")
def import_sqrt(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Sqrt(), [node.value(0)])


@onnx_op("Reciprocal")
def import_reciprocal(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Reciprocal(), [node.value(0)])


@onnx_op("Erf")
def import_erf(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Erf(), [node.value(0)])


@onnx_op("Sin")
def import_sin(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Sin(), [node.value(0)])


@onnx_op("Cos")
def import_cos(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Cos(), [node.value(0)])


@onnx_op("Tan")
def import_tan(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Tan(), [node.value(0)])


@onnx_op("Asin")
def import_asin(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Asin(), [node.value(0)])


@onnx_op("Acos")
def import_acos(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Acos(), [node.value(0)])


@onnx_op("Atan")
def import_atan(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Atan(), [node.value(0)])


@onnx_op("Sinh")
def import_sinh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Sinh(), [node.value(0)])


@onnx_op("Cosh")
def import_cosh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Cosh(), [node.value(0)])


@onnx_op("Tanh")
def import_tanh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Tanh(), [node.value(0)])


@onnx_op("Asinh")
def import_asinh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Asinh(), [node.value(0)])


@onnx_op("Acosh")
def import_acosh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Acosh(), [node.value(0)])


@onnx_op("Atanh")
def import_atanh(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Atanh(), [node.value(0)])


@onnx_op("Floor")
def import_floor(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Floor(), [node.value(0)])


@onnx_op("Ceil")
def import_ceil(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Ceil(), [node.value(0)])


@onnx_op("Round")
def import_round(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Round(), [node.value(0)])
