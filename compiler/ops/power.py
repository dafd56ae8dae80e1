"""Powers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.cast import Cast
from dnncc.ops.elementwise import INTEGERS, NUMBERS, Binary, Function, Unary, broadcast_shape
from dnncc.ops.functions import Reciprocal, Sqrt
from dnncc.ops.mul import Mul

if TYPE_CHECKING:
    from dnncc.ir.graph import Value

_MOST_PRODUCTS = 3


@dataclass(frozen=True)
class Pow(Binary):
    """``y = a^b``, broadcast. Operands: both f32."""

    name: ClassVar[str] = "pow"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})

    def apply(self, a: Array, b: Array) -> Array:
        y: Array = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
        return y

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import tirx

        return tirx.pow(a, b)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return operands[0]


@dataclass(frozen=True)
class PowScalar(Function):
    """``y = x^exponent``. Operand: f32."""

    name: ClassVar[str] = "pow_scalar"
    exponent: float = 1.0

    def exact(self, x: Array) -> Array:
        return np.power(x, self.exponent)

    def expr(self, x: Any) -> Any:
        from dnncc.targets.lowering.api import f32, tirx

        # tirx.pow itself warns of exponents above 3 on stderr.
        return tirx.call_intrin("float32", "tirx.pow", x, f32(self.exponent))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands) or self.exponent % 2.0 == 0.0


@dataclass(frozen=True)
class PowInteger(Unary):
    """``y = x^exponent`` modulo 2^bits. Operand: integers of any type.

    Attributes:
        exponent: 0 to 63.
    """

    name: ClassVar[str] = "pow_integer"
    dtypes: ClassVar[frozenset[DType]] = INTEGERS
    exponent: int = 1

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if not 0 <= self.exponent < 64:
            raise TypeMismatchError(f"pow_integer: the exponent {self.exponent} is not within 0..63")
        return [super().infer(*inputs)[0].plain()]

    def apply(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            y: Array = np.power(x.astype(np.uint64), np.uint64(self.exponent))
        return y

    def expr(self, x: Any) -> Any:
        from dnncc.ops.elementwise import modular
        from dnncc.targets.lowering.api import const

        dtype = str(x.ty.dtype)
        wide = modular(dtype)
        square, y, rest = x.astype(wide), const(1, wide), self.exponent
        while rest:
            y = y * square if rest & 1 else y
            square, rest = square * square, rest >> 1
        return y.astype(dtype)


@onnx_op("Pow")
def import_pow(g: Importer, node: OnnxNode) -> Value:
    from dnncc.ir.graph import Const

    x, y = node.value(0), node.value(1)
    dtype = x.type.dtype
    if isinstance(y, Const) and y.type.size == 1 and not isinstance(x, Const):
        exponent = float(y.data.reshape(()).item())
        shape = broadcast_shape(x.type.shape, y.type.shape)
        if dtype is DType.F32:
            return g.reshape(_power(g, x, exponent), shape)
        if dtype.is_integer and exponent.is_integer() and 0 <= exponent < 64:
            return g.reshape(g.emit(PowInteger(int(exponent)), [x]), shape)
    if dtype not in NUMBERS:
        raise node.invalid(f"a power of {x.type}")
    floats = [v if v.type.dtype is DType.F32 else g.emit(Cast(DType.F32), [v]) for v in (x, y)]
    z = g.emit(Pow(), floats)
    return z if dtype is DType.F32 else g.emit(Cast(dtype, True), [z])


def _power(g: Importer, x: Value, exponent: float) -> Value:
    """Few products, a root or a reciprocal where one of them is the power."""
    if exponent == 0.5:
        return g.emit(Sqrt(), [x])
    if exponent == -1.0:
        return g.emit(Reciprocal(), [x])
    if exponent in range(1, _MOST_PRODUCTS + 1):
        y = x
        for _ in range(int(exponent) - 1):
            y = g.emit(Mul(), [y, x])
        return y
    return g.emit(PowScalar(exponent), [x])
