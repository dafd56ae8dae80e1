"""Bases of the elementwise operators: one operand, or two that broadcast as in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import element, shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

INTEGERS = frozenset(d for d in DType if d.is_integer)
NUMBERS = INTEGERS | {DType.F32}


@dataclass(frozen=True)
class Unary(Op):
    """``y[i] = f(x[i])``, of x's type and scale."""

    elementwise: ClassVar[bool] = True
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32, DType.I8, DType.U8, DType.I16, DType.I32})

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in self.dtypes:
            raise TypeMismatchError(f"{self.name} does not take {x}")
        return [x]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        return [np.asarray(self.apply(x)).astype(x.dtype, copy=False)]

    def apply(self, x: Array) -> Array:
        """f on an array."""
        raise NotImplementedError(f"{self.name} has no reference")

    def expr(self, x: Any) -> Any:
        """f on a TVM expression."""
        raise NotImplementedError(f"{self.name} has no tensor expression")

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(x.shape, lambda *i: self.expr(x(*i)), name=self.name)


@dataclass(frozen=True)
class Function(Unary):
    """A function of one real number, ``y = f(x)``. Operand: f32.

    As integers it is a table, see ``dnncc.passes.quantize.tables``: exact for the 256 values of an activation.
    """

    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})
    continuous: ClassVar[bool] = True
    """It has no jumps, so that it may be interpolated."""

    def exact(self, x: Array) -> Array:
        """f in double precision."""
        raise NotImplementedError(f"{self.name} has no reference")

    def apply(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            y: Array = np.asarray(self.exact(x.astype(np.float64))).astype(np.float32)
        return y

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.passes.quantize.tables import tabulated

        return tabulated(context, node, self.exact, continuous=self.continuous)


@dataclass(frozen=True)
class Binary(Op):
    """``y = f(a, b)`` of two tensors of one type, broadcast as in numpy; an integer result must fit it."""

    elementwise: ClassVar[bool] = True
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32, DType.I32, DType.I64})

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        a, b = inputs
        if a.dtype is not b.dtype or a.dtype not in self.accepted():
            raise TypeMismatchError(f"{self.name} does not take {a} and {b}")
        return [TensorType(self.result(a.dtype), broadcast_shape(a.shape, b.shape))]

    def accepted(self) -> frozenset[DType]:
        """The operands' types."""
        return self.dtypes

    def result(self, operand: DType) -> DType:
        """The result's type for operands of this type."""
        return operand

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        if a.dtype.kind == "f":
            with np.errstate(all="ignore"):
                return [np.asarray(self.apply(a, b))]
        # i64 holds every result of 32-bit operands; larger ones are calculated with Python's integers.
        wide: Any = object if a.dtype == np.int64 else np.int64
        return [narrow(np.asarray(self.apply(a.astype(wide), b.astype(wide))), DType.of(a))]

    def apply(self, a: Array, b: Array) -> Array:
        """f on arrays, or on scalars where numpy makes them such."""
        raise NotImplementedError(f"{self.name} has no reference")

    def expr(self, a: Any, b: Any) -> Any:
        """f on TVM expressions."""
        raise NotImplementedError(f"{self.name} has no tensor expression")

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        a, b = inputs
        shape = broadcast_shape(shape_of(a), shape_of(b))
        return te.compute(
            shape,
            lambda *i: self.expr(element(a, i, shape), element(b, i, shape)),
            name=self.name,
        )


@dataclass(frozen=True)
class Arithmetic(Binary):
    """A sum, difference or product.

    Attributes:
        wraps: integers of any type, whose result is taken modulo 2^bits as in numpy, C and ONNX Runtime: what a model
            computes with integers of its own. Otherwise a result that does not fit is an error, because quantized
            networks never wrap.
    """

    wraps: bool = False

    def accepted(self) -> frozenset[DType]:
        return NUMBERS if self.wraps else self.dtypes

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        if not self.wraps or a.dtype.kind == "f":
            return super().reference(a, b)
        with np.errstate(over="ignore"):
            y = np.asarray(self.apply(a.astype(np.uint64), b.astype(np.uint64)))
        return [y.astype(a.dtype)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        a, b = inputs
        dtype = str(a.dtype)
        if not self.wraps or dtype == "float32":
            return super().te(a, b)
        shape, wide = broadcast_shape(shape_of(a), shape_of(b)), wider(dtype, self.name == "sub")

        def result(*i: Any) -> Any:
            x, y = element(a, i, shape), element(b, i, shape)
            return self.expr(x.astype(wide), y.astype(wide)).astype(dtype)

        return te.compute(shape, result, name=self.name)


def wider(dtype: str, signed: bool) -> str:
    """A type that holds the sums and products of two integers, so that nothing overflows before it is taken modulo
    2^bits; of 64 bits there is none, and unsigned ones wrap in C.

    Args:
        signed: results may be negative although the operands are not.
    """
    bits = int(dtype.rpartition("int")[2])
    kind = "int" if bits < 64 and (signed or dtype.startswith("int")) else "uint"
    return f"{kind}{32 if bits == 8 else 64}"


def modular(dtype: str) -> str:
    """The unsigned type in which C calculates modulo a power of two, where signed numbers must not overflow."""
    return "uint64" if dtype in ("int64", "uint64") else "uint32"


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape to which numpy broadcasts these, of any size; TypeMismatchError if they do not fit."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise TypeMismatchError(f"shapes {' and '.join(map(str, shapes))} do not broadcast")
            if size != 1:
                result[axis] = size
    return tuple(result)
