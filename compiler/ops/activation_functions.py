"""Activation functions of one real number, apart from relu and clip."""

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
from dnncc.ops.functions import erf
from dnncc.ops.mul import Mul

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


@dataclass(frozen=True)
class Sigmoid(Function):
    """``y = 1 / (1 + e^-x)``. Operand: f32."""

    name: ClassVar[str] = "sigmoid"

    def exact(self, x: Array) -> Array:
        y: Array = 1.0 / (1.0 + np.exp(-x))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return f32(1.0) / (f32(1.0) + tirx.exp(f32(0.0) - x))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True


@dataclass(frozen=True)
class HardSigmoid(Function):
    """``y = min(max(alpha * x + beta, 0), 1)``. Operand: f32."""

    name: ClassVar[str] = "hard_sigmoid"
    alpha: float = 0.2
    beta: float = 0.5

    def exact(self, x: Array) -> Array:
        return np.clip(self.alpha * x + self.beta, 0.0, 1.0)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te

        return te.min(te.max(x * f32(self.alpha) + f32(self.beta), f32(0.0)), f32(1.0))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True


@dataclass(frozen=True)
class HardSwish(Function):
    """``y = x * min(max(x / 6 + 1/2, 0), 1)``. Operand: f32."""

    name: ClassVar[str] = "hard_swish"

    def exact(self, x: Array) -> Array:
        y: Array = x * np.clip(x / 6.0 + 0.5, 0.0, 1.0)
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te

        return x * te.min(te.max(x * f32(1.0 / 6.0) + f32(0.5), f32(0.0)), f32(1.0))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Swish(Function):
    """``y = x / (1 + e^(-alpha x))``, with alpha = 1 also called SiLU. Operand: f32."""

    name: ClassVar[str] = "swish"
    alpha: float = 1.0

    def exact(self, x: Array) -> Array:
        y: Array = x / (1.0 + np.exp(-self.alpha * x))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return x / (f32(1.0) + tirx.exp(x * f32(-self.alpha)))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Mish(Function):
    """``y = x * tanh(ln(1 + e^x))``. Operand: f32."""

    name: ClassVar[str] = "mish"

    def exact(self, x: Array) -> Array:
        y: Array = x * np.tanh(np.logaddexp(0.0, x))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te, tirx

        # tanh(ln(1 + e)) = n / (n + 2) with n = e (e + 2); it is 1 long before e^2 is too large.
        e = tirx.exp(te.min(x, f32(20.0)))
        n = e * (e + f32(2.0))
        return x * (n / (n + f32(2.0)))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Softplus(Function):
    """``y = ln(1 + e^x)``. Operand: f32."""

    name: ClassVar[str] = "softplus"

    def exact(self, x: Array) -> Array:
        return np.logaddexp(0.0, x)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, te, tirx

        return te.max(x, f32(0.0)) + tirx.log1p(tirx.exp(f32(0.0) - tirx.abs(x)))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return True


@dataclass(frozen=True)
class Softsign(Function):
    """``y = x / (1 + |x|)``. Operand: f32."""

    name: ClassVar[str] = "softsign"

    def exact(self, x: Array) -> Array:
        y: Array = x / (1.0 + np.abs(x))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return x / (f32(1.0) + tirx.abs(x))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Gelu(Function):
    """``y = x/2 * (1 + erf(x / sqrt 2))``; or, ``approximate``, ``x/2 * (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``.
    Operand: f32."""

    name: ClassVar[str] = "gelu"
    approximate: bool = False

    def exact(self, x: Array) -> Array:
        inner = (
            np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))
            if self.approximate
            else erf(x / math.sqrt(2.0))
        )
        y: Array = 0.5 * x * (1.0 + inner)
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        if self.approximate:
            cube = x * (f32(1.0) + f32(0.044715) * x * x)
            inner = tirx.tanh(cube * f32(math.sqrt(2.0 / math.pi)))
        else:
            inner = tirx.erf(x * f32(math.sqrt(0.5)))
        return x * f32(0.5) * (f32(1.0) + inner)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class Elu(Function):
    """``y = gain * x`` for x > 0, ``gain * alpha * (e^(rate x) - 1)`` else: elu, selu and celu. Operand: f32."""

    name: ClassVar[str] = "elu"
    alpha: float = 1.0
    rate: float = 1.0
    gain: float = 1.0

    def exact(self, x: Array) -> Array:
        y: Array = self.gain * np.where(x > 0, x, self.alpha * np.expm1(self.rate * np.minimum(x, 0.0)))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, libm, te, tirx

        low = libm("expm1", te.min(x, f32(0.0)) * f32(self.rate)) * f32(self.alpha * self.gain)
        return tirx.Select(x > f32(0.0), x * f32(self.gain), low)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class LeakyRelu(Function):
    """``y = x`` for x >= 0, ``slope * x`` else. Operand: f32."""

    name: ClassVar[str] = "leaky_relu"
    slope: float = 0.01

    def exact(self, x: Array) -> Array:
        y: Array = np.where(x < 0, self.slope * x, x)
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return tirx.Select(x < f32(0.0), x * f32(self.slope), x)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


@dataclass(frozen=True)
class ThresholdedRelu(Function):
    """``y = x`` for x > alpha, 0 else. Operand: f32."""

    name: ClassVar[str] = "thresholded_relu"
    continuous: ClassVar[bool] = False
    alpha: float = 1.0

    def exact(self, x: Array) -> Array:
        y: Array = np.where(x > self.alpha, x, 0.0)
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        return tirx.Select(x > f32(self.alpha), x, f32(0.0))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return self.alpha >= 0.0 or all(operands)


@dataclass(frozen=True)
class Shrink(Function):
    """``y = x + bias`` for x < -bound, ``x - bias`` for x > bound, 0 else. Operand: f32."""

    name: ClassVar[str] = "shrink"
    continuous: ClassVar[bool] = False
    bias: float = 0.0
    bound: float = 0.5

    def exact(self, x: Array) -> Array:
        y: Array = np.where(x < -self.bound, x + self.bias, np.where(x > self.bound, x - self.bias, 0.0))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        high = tirx.Select(x > f32(self.bound), x - f32(self.bias), f32(0.0))
        return tirx.Select(x < f32(-self.bound), x + f32(self.bias), high)


@onnx_op("Sigmoid")
def import_sigmoid(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Sigmoid(), [node.value(0)])


@onnx_op("HardSigmoid")
def import_hard_sigmoid(g: Importer, node: OnnxNode) -> Value:
    return g.emit(HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)), [node.value(0)])


@onnx_op("HardSwish")
def import_hard_swish(g: Importer, node: OnnxNode) -> Value:
    return g.emit(HardSwish(), [node.value(0)])


@onnx_op("Swish")
def import_swish(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Swish(node.float("alpha", 1.0)), [node.value(0)])


@onnx_op("SwiGLU")
def import_swiglu(g: Importer, node: OnnxNode) -> Value:
    gate = g.emit(Swish(node.float("alpha", 1.0)), [node.value(0)])
    return g.emit(Mul(), [gate, node.value(1)])


@onnx_op("Mish")
def import_mish(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Mish(), [node.value(0)])


@onnx_op("Softplus")
def import_softplus(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Softplus(), [node.value(0)])


@onnx_op("Softsign")
def import_softsign(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Softsign(), [node.value(0)])


@onnx_op("Gelu")
def import_gelu(g: Importer, node: OnnxNode) -> Value:
    approximate = node.string("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise node.invalid(f"approximate is {approximate!r}, neither none nor tanh")
    return g.emit(Gelu(approximate == "tanh"), [node.value(0)])


@onnx_op("Elu")
def import_elu(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Elu(node.float("alpha", 1.0)), [node.value(0)])


@onnx_op("Selu")
def import_selu(g: Importer, node: OnnxNode) -> Value:
    alpha, gamma = node.float("alpha", _SELU[0]), node.float("gamma", _SELU[1])
    return g.emit(Elu(alpha, 1.0, gamma), [node.value(0)])


@onnx_op("Celu")
def import_celu(g: Importer, node: OnnxNode) -> Value:
    alpha = node.float("alpha", 1.0)
    if alpha == 0.0:
        raise node.invalid("alpha is 0")
    return g.emit(Elu(alpha, 1.0 / alpha), [node.value(0)])


@onnx_op("LeakyRelu")
def import_leaky_relu(g: Importer, node: OnnxNode) -> Value:
    return g.emit(LeakyRelu(node.float("alpha", 0.01)), [node.value(0)])


@onnx_op("ThresholdedRelu")
def import_thresholded_relu(g: Importer, node: OnnxNode) -> Value:
    return g.emit(ThresholdedRelu(node.float("alpha", 1.0)), [node.value(0)])


@onnx_op("Shrink")
def import_shrink(g: Importer, node: OnnxNode) -> Value:
    return g.emit(Shrink(node.float("bias", 0.0), node.float("lambd", 0.5)), [node.value(0)])
