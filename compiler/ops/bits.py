"""Operations on the bits of integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.elementwise import INTEGERS, Binary, Unary, modular


@dataclass(frozen=True)
class Bitwise(Binary):
    """Bit by bit; nothing can overflow."""

    dtypes: ClassVar[frozenset[DType]] = INTEGERS

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [np.asarray(self.apply(*inputs))]


@dataclass(frozen=True)
class BitwiseAnd(Bitwise):
    """``y = a & b``, broadcast. Operands: both of one integer type."""

    name: ClassVar[str] = "bitwise_and"

    def apply(self, a: Array, b: Array) -> Array:
        return np.bitwise_and(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a & b


@dataclass(frozen=True)
class BitwiseOr(Bitwise):
    """``y = a | b``, broadcast. Operands: both of one integer type."""

    name: ClassVar[str] = "bitwise_or"

    def apply(self, a: Array, b: Array) -> Array:
        return np.bitwise_or(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a | b


@dataclass(frozen=True)
class BitwiseXor(Bitwise):
    """``y = a ^ b``, broadcast. Operands: both of one integer type."""

    name: ClassVar[str] = "bitwise_xor"

    def apply(self, a: Array, b: Array) -> Array:
        return np.bitwise_xor(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        return a ^ b


@dataclass(frozen=True)
class BitwiseNot(Unary):
    """``y = ~x``. Operand: integers."""

    name: ClassVar[str] = "bitwise_not"
    dtypes: ClassVar[frozenset[DType]] = INTEGERS

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        return [super().infer(*inputs)[0].plain()]

    def apply(self, x: Array) -> Array:
        return np.bitwise_not(x)

    def expr(self, x: Any) -> Any:
        return ~x


@dataclass(frozen=True)
class BitShift(Bitwise):
    """``y = a << b`` or ``a >> b``, broadcast, to the right with copies of the sign. Where b is negative or not below
    the number of bits, nothing but such copies is left. Operands: both of one integer type.

    Attributes:
        left: the direction.
    """

    name: ClassVar[str] = "bit_shift"
    left: bool = True

    def apply(self, a: Array, b: Array) -> Array:
        bits = 8 * a.dtype.itemsize
        inside = (b >= 0) & (b < bits)
        amount = np.where(inside, b, bits - 1).astype(a.dtype)
        y = np.left_shift(a, amount) if self.left else np.right_shift(a, amount)
        signs = a.dtype.kind == "i" and not self.left
        return np.asarray(y if signs else np.where(inside, y, 0), a.dtype)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        dtype = str(a.ty.dtype)
        bits = int(dtype.rpartition("int")[2])
        wide = modular(dtype)
        amount = b.astype(wide)  # a negative one becomes large
        limit = const(bits, wide)
        if dtype.startswith("int") and not self.left:
            signed = wide.removeprefix("u")
            bounded = tirx.Select(amount < limit, amount, const(bits - 1, wide))
            return tirx.shift_right(a.astype(signed), bounded.astype(signed)).astype(dtype)
        x = a.astype(wide)
        y = tirx.shift_left(x, amount) if self.left else tirx.shift_right(x, amount)
        return tirx.Select(amount < limit, y, const(0, wide)).astype(dtype)


@onnx_op("BitwiseAnd")
def import_bitwise_and(g: Importer, node: OnnxNode) -> Value:
    return g.emit(BitwiseAnd(), [node.value(0), node.value(1)])


@onnx_op("BitwiseOr")
def import_bitwise_or(g: Importer, node: OnnxNode) -> Value:
    return g.emit(BitwiseOr(), [node.value(0), node.value(1)])


@onnx_op("BitwiseXor")
def import_bitwise_xor(g: Importer, node: OnnxNode) -> Value:
    return g.emit(BitwiseXor(), [node.value(0), node.value(1)])


@onnx_op("BitwiseNot")
def import_bitwise_not(g: Importer, node: OnnxNode) -> Value:
    return g.emit(BitwiseNot(), [node.value(0)])


@onnx_op("BitShift")
def import_bit_shift(g: Importer, node: OnnxNode) -> Value:
    direction = node.string("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise node.invalid(f"direction {direction!r}")
    return g.emit(BitShift(direction == "LEFT"), [node.value(0), node.value(1)])
