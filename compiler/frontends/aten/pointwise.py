"""Pointwise operators: arithmetic with PyTorch's type promotion, comparisons, activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from dnncc.frontends.aten.builder import Builder, Operand, Ref, aten

_UNARY = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan",
    "atanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor",
    "isnan": "IsNaN", "isinf": "IsInf", "log": "Log", "neg": "Neg", "reciprocal": "Reciprocal", "relu": "Relu",
    "round": "Round", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt",
    "tan": "Tan", "tanh": "Tanh", "logical_not": "Not", "bitwise_not": "BitwiseNot", "mish": "Mish",
    "hardswish": "HardSwish", "softsign": "Softsign",
}  # fmt: skip
_TO_FLOAT = {"acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "exp", "log", "reciprocal",
             "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"}  # fmt: skip


def _unary(name: str, op_type: str) -> None:
    @aten(f"{name}.default")
    def convert(g: Builder, x: Ref) -> str:
        if name in ("ceil", "floor", "round") and not x.is_float:
            return g.emit("Identity", x)
        if name in ("logical_not", "bitwise_not") and (x.dtype == "bool" or name == "logical_not"):
            return g.emit("Not", g.tensor(x, "bool"))
        return g.emit(op_type, g.tensor(x, "float32") if name in _TO_FLOAT else x)


for _name, _type in _UNARY.items():
    _unary(_name, _type)


_BINARY = {
    "minimum.default": "Min",
    "maximum.default": "Max",
    "mul.Tensor": "Mul",
    "mul.Scalar": "Mul",
    "pow.Tensor_Tensor": "Pow",
    "pow.Tensor_Scalar": "Pow",
    "pow.Scalar": "Pow",
}
_COMPARE = {
    "eq": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "ne": "Equal",
}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
_BITS = {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor"}


def _binary(name: str, op_type: str) -> None:
    @aten(name)
    def convert(g: Builder, a: Operand, b: Operand) -> str:
        dtype = g.result.dtype
        if dtype == "bool":  # a product of booleans
            return g.emit("And", g.tensor(a, "bool"), g.tensor(b, "bool"))
        if op_type == "Pow" and not isinstance(b, Ref):
            if b == 2:
                return g.emit("Mul", *[g.tensor(a, dtype)] * 2)
            if b == 0.5:
                return g.emit("Sqrt", g.tensor(a, dtype))
        return g.emit(op_type, g.tensor(a, dtype), g.tensor(b, dtype))


def _compare(name: str, op_type: str) -> None:
    @aten(f"{name}.Tensor", f"{name}.Scalar")
    def convert(g: Builder, a: Operand, b: Operand) -> str:
        dtype = common_type(a, b)
        if dtype == "bool" and op_type != "Equal":
            dtype = "int32"
        y = g.emit(op_type, g.tensor(a, dtype), g.tensor(b, dtype))
        return g.emit("Not", y) if name == "ne" else y


def _logic(name: str, op_type: str, bits: bool) -> None:
    @aten(*([f"{name}.Tensor", f"{name}.Scalar"] if bits else [f"{name}.default"]))
    def convert(g: Builder, a: Operand, b: Operand) -> str:
        dtype = g.result.dtype if bits else "bool"
        kind = op_type if dtype == "bool" else f"Bitwise{op_type}"
        return g.emit(kind, g.tensor(a, dtype), g.tensor(b, dtype))


for _name, _type in _BINARY.items():
    _binary(_name, _type)
for _name, _type in _COMPARE.items():
    _compare(_name, _type)
for _name, _type in _LOGIC.items():
    _logic(_name, _type, bits=False)
for _name, _type in _BITS.items():
    _logic(_name, _type, bits=True)


def common_type(a: Operand, b: Operand) -> str:
    """The element type in which PyTorch compares two operands."""
    tensors = [x for x in (a, b) if isinstance(x, Ref)]
    scalars = [x for x in (a, b) if not isinstance(x, Ref)]
    if any(t.is_float for t in tensors) or any(isinstance(s, float) for s in scalars):
        return "float32"
    # A tensor with axes outweighs one without, which only counts by its kind.
    ranked = [t for t in tensors if t.rank] or tensors
    found = np.result_type(*(np.dtype(t.dtype) for t in ranked))
    if found == np.bool_ and any(not isinstance(s, bool) for s in scalars):
        return "int64"
    return str(found)


@aten("add.Tensor", "add.Scalar")
def add(g: Builder, a: Operand, b: Operand, alpha: float = 1) -> str:
    dtype = g.result.dtype
    if dtype == "bool":
        return g.emit("Or", g.tensor(a, "bool"), g.tensor(b, "bool"))
    return g.emit("Add", g.tensor(a, dtype), _scaled(g, b, alpha, dtype))


@aten("sub.Tensor", "sub.Scalar")
def sub(g: Builder, a: Operand, b: Operand, alpha: float = 1) -> str:
    dtype = g.result.dtype
    return g.emit("Sub", g.tensor(a, dtype), _scaled(g, b, alpha, dtype))


@aten("rsub.Tensor", "rsub.Scalar")
def rsub(g: Builder, a: Operand, b: Operand, alpha: float = 1) -> str:
    dtype = g.result.dtype
    return g.emit("Sub", g.tensor(b, dtype), _scaled(g, a, alpha, dtype))


def _scaled(g: Builder, x: Operand, alpha: float, dtype: str) -> str:
    if alpha == 1:
        return g.tensor(x, dtype)
    if not isinstance(x, Ref):
        return g.const(x * alpha, dtype)
    return g.emit("Mul", g.tensor(x, dtype), g.const(alpha, dtype))


@aten("div.Tensor", "div.Scalar")
def div(g: Builder, a: Operand, b: Operand) -> str:
    dtype = g.result.dtype
    if not isinstance(b, Ref) and b and math.isfinite(1.0 / b):
        return g.emit("Mul", g.tensor(a, dtype), g.const(1.0 / b, dtype))
    return g.emit("Div", g.tensor(a, dtype), g.tensor(b, dtype))


@aten("div.Tensor_mode", "div.Scalar_mode")
def div_mode(g: Builder, a: Operand, b: Operand, rounding_mode: str | None = None) -> str:
    dtype = g.result.dtype
    quotient = g.emit("Div", g.tensor(a, "float32"), g.tensor(b, "float32"))
    if rounding_mode == "floor":
        quotient = g.emit("Floor", quotient)
    elif rounding_mode == "trunc":
        quotient = g.emit("Mul", g.emit("Sign", quotient), g.emit("Floor", g.emit("Abs", quotient)))
    return quotient if dtype == "float32" else g.cast(quotient, dtype)


@aten("floor_divide.default")
def floor_divide(g: Builder, a: Operand, b: Operand) -> str:
    return div_mode(g, a, b, "floor")


@aten("remainder.Tensor", "remainder.Scalar")
def remainder(g: Builder, a: Operand, b: Operand) -> str:
    dtype = g.result.dtype
    x, y = g.tensor(a, dtype), g.tensor(b, dtype)
    if dtype != "float32":
        return g.emit("Mod", x, y)
    return g.emit("Sub", x, g.emit("Mul", g.emit("Floor", g.emit("Div", x, y)), y))


@aten("fmod.Tensor", "fmod.Scalar")
def fmod(g: Builder, a: Operand, b: Operand) -> str:
    dtype = g.result.dtype
    return g.emit("Mod", g.tensor(a, dtype), g.tensor(b, dtype), fmod=1)


@aten("clamp.default", "hardtanh.default")
def clamp(g: Builder, x: Ref, low: float | None = None, high: float | None = None) -> str:
    dtype = g.result.dtype
    ends = [None if end is None else g.const(end, dtype) for end in (low, high)]
    return g.emit("Clip", g.tensor(x, dtype), *ends)


@aten("clamp.Tensor")
def clamp_tensor(g: Builder, x: Ref, low: Ref | None = None, high: Ref | None = None) -> str:
    dtype = g.result.dtype
    y = g.tensor(x, dtype)
    if low is not None:
        y = g.emit("Max", y, g.tensor(low, dtype))
    return y if high is None else g.emit("Min", y, g.tensor(high, dtype))


@aten("clamp_min.default")
def clamp_min(g: Builder, x: Ref, low: float) -> str:
    return clamp(g, x, low)


@aten("clamp_max.default")
def clamp_max(g: Builder, x: Ref, high: float) -> str:
    return clamp(g, x, None, high)


@aten("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(g: Builder, condition: Ref, a: Operand, b: Operand) -> str:
    dtype = g.result.dtype
    return g.emit("Where", g.tensor(condition, "bool"), g.tensor(a, dtype), g.tensor(b, dtype))


@aten("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(g: Builder, x: Ref, mask: Ref, value: Operand) -> str:
    dtype = g.result.dtype
    return g.emit("Where", g.tensor(mask, "bool"), g.tensor(value, dtype), g.tensor(x, dtype))


@aten("relu6.default")
def relu6(g: Builder, x: Ref) -> str:
    return clamp(g, x, 0.0, 6.0)


@aten("leaky_relu.default")
def leaky_relu(g: Builder, x: Ref, slope: float = 0.01) -> str:
    return g.emit("LeakyRelu", x, alpha=float(slope))


@aten("prelu.default", "_prelu_kernel.default")
def prelu(g: Builder, x: Ref, weight: Ref) -> str:
    slope: Ref | str = weight
    if weight.rank == 1 and x.rank > 2 and weight.shape[0] > 1:
        slope = g.reshape(weight, (weight.shape[0], *[1] * (x.rank - 2)))
    return g.emit("PRelu", x, slope)


@aten("elu.default")
def elu(g: Builder, x: Ref, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> str:
    y = x.name if input_scale == 1 else g.emit("Mul", x, g.const(input_scale, "float32"))
    if scale == 1:
        y = g.emit("Elu", y, alpha=float(alpha))
        # exp(input_scale * x) - 1 on one side only: the other keeps x.
        return y if input_scale == 1 else g.emit("Where", g.emit("Less", x, g.const(0, "float32")), y, x)
    if input_scale == 1:
        return g.emit("Selu", y, alpha=float(alpha), gamma=float(scale))
    negative = g.emit("Mul", g.emit("Elu", y, alpha=float(alpha)), g.const(scale, "float32"))
    positive = g.emit("Mul", x, g.const(scale, "float32"))
    return g.emit("Where", g.emit("Less", x, g.const(0, "float32")), negative, positive)


@aten("selu.default")
def selu(g: Builder, x: Ref) -> str:
    return g.emit("Selu", x)


@aten("celu.default")
def celu(g: Builder, x: Ref, alpha: float = 1.0) -> str:
    return g.emit("Celu", x, alpha=float(alpha))


@aten("gelu.default")
def gelu(g: Builder, x: Ref, approximate: str = "none") -> str:
    return g.emit("Gelu", x, approximate=approximate)


@aten("silu.default")
def silu(g: Builder, x: Ref) -> str:
    return g.emit("Mul", x, g.emit("Sigmoid", x))


@aten("hardsigmoid.default")
def hardsigmoid(g: Builder, x: Ref) -> str:
    return g.emit("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)


@aten("softplus.default")
def softplus(g: Builder, x: Ref, beta: float = 1.0, threshold: float = 20.0) -> str:
    # Beyond the threshold PyTorch returns x itself, which differs by less than float32 resolves.
    if beta == 1:
        return g.emit("Softplus", x)
    y = g.emit("Softplus", g.emit("Mul", x, g.const(beta, "float32")))
    return g.emit("Mul", y, g.const(1.0 / beta, "float32"))


@aten("log_sigmoid.default")
def log_sigmoid(g: Builder, x: Ref) -> str:
    return g.emit("Neg", g.emit("Softplus", g.emit("Neg", x)))


@aten("threshold.default")
def threshold_(g: Builder, x: Ref, threshold: float, value: float) -> str:
    if threshold == value == 0:
        return g.emit("Relu", x)
    above = g.emit("Greater", x, g.const(threshold, x.dtype))
    return g.emit("Where", above, x, g.const(value, x.dtype))


@aten("rsqrt.default")
def rsqrt(g: Builder, x: Ref) -> str:
    return g.emit("Reciprocal", g.emit("Sqrt", g.tensor(x, "float32")))


@aten("square.default")
def square(g: Builder, x: Ref) -> str:
    return g.emit("Mul", x, x)


@aten("log2.default")
def log2(g: Builder, x: Ref) -> str:
    return g.emit("Mul", g.emit("Log", g.tensor(x, "float32")), g.const(1 / math.log(2), "float32"))


@aten("log10.default")
def log10(g: Builder, x: Ref) -> str:
    return g.emit("Mul", g.emit("Log", g.tensor(x, "float32")), g.const(1 / math.log(10), "float32"))


@aten("log1p.default")
def log1p(g: Builder, x: Ref) -> str:
    return g.emit("Log", g.emit("Add", g.tensor(x, "float32"), g.const(1.0, "float32")))


@aten("expm1.default")
def expm1(g: Builder, x: Ref) -> str:
    return g.emit("Sub", g.emit("Exp", g.tensor(x, "float32")), g.const(1.0, "float32"))


@aten("trunc.default")
def trunc(g: Builder, x: Ref) -> str:
    return g.emit("Mul", g.emit("Sign", x), g.emit("Floor", g.emit("Abs", x)))


@aten(
    "clone.default", "alias.default", "detach.default", "contiguous.default", "lift_fresh_copy.default",
    "dropout.default", "feature_dropout.default", "alpha_dropout.default", "positive.default",
)  # fmt: skip
def identity(g: Builder, x: Ref, *_: Any, **__: Any) -> str:
    return g.emit("Identity", x)


@aten("native_dropout.default")
def native_dropout(g: Builder, x: Ref, *_: Any) -> list[str]:
    return [g.emit("Identity", x)]


@aten("_to_copy.default", "to.dtype", "to.dtype_layout", "to.device")
def to(g: Builder, x: Ref, *_: Any, **__: Any) -> str:
    dtype = g.result.dtype
    return g.emit("Identity", x) if dtype == x.dtype else g.cast(x, dtype)
