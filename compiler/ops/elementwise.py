"""Bases of the elementwise operators: one operand, or two that broadcast as in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import broadcast_index, shape_of


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
        return [self.apply(x).astype(x.dtype, copy=False)]

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
class Binary(Op):
    """``y = f(a, b)`` of two tensors of one type, broadcast as in numpy; an integer result must fit it."""

    elementwise: ClassVar[bool] = True
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32, DType.I32, DType.I64})

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        a, b = inputs
        if a.dtype is not b.dtype or a.dtype not in self.dtypes:
            raise TypeMismatchError(f"{self.name} does not take {a} and {b}")
        return [TensorType(a.dtype, broadcast_shape(a.shape, b.shape))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        if a.dtype.kind == "f":
            with np.errstate(over="ignore", invalid="ignore"):
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
            lambda *i: self.expr(a[broadcast_index(a, i, shape)], b[broadcast_index(b, i, shape)]),
            name=self.name,
        )


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
