"""Sums of products: the type they are kept in, and how the references calculate them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError

_EXACT_IN_F64 = 1 << 53
_EXACT_IN_I64 = 1 << 63


def product_type(a: TensorType, b: TensorType) -> DType:
    """The type in which products of two operands are summed: f32 for floats, i32 for integers."""
    if a.dtype is DType.F32 and b.dtype is DType.F32:
        return DType.F32
    if a.dtype.is_integer and b.dtype.is_integer:
        return DType.I32
    raise TypeMismatchError(f"no product of {a.dtype.value} and {b.dtype.value}")


def accumulator(x: TensorType, w: TensorType, b: TensorType) -> DType:
    """The type of a sum of products with a bias, which must have it: f32 for floats, i32 for integers."""
    expected = product_type(x, w)
    if b.dtype is not expected:
        raise TypeMismatchError(
            f"operands {x.dtype.value}, {w.dtype.value} need a bias of {expected.value}, not {b.dtype.value}"
        )
    return expected


def product_sum(a: Array, b: Array) -> Array:
    """``a @ b`` without rounding for integers, and in f64 for floats.

    Args:
        a, b: [..., M, K] and [..., K, N] of one kind, float or integer.

    Returns:
        f64 for floats; for integers i64, or Python integers where i64 could overflow.
    """
    if a.dtype.kind == "f":
        return _matmul(a, b, np.float64)
    bound = _magnitude(a) * _magnitude(b) * a.shape[-1]
    if bound < _EXACT_IN_F64:
        # Every partial sum is an integer that f64 holds exactly, and f64 has a fast product.
        return _matmul(a, b, np.float64).astype(np.int64)
    return _matmul(a, b, np.int64 if bound < _EXACT_IN_I64 else object)


def _matmul(a: Array, b: Array, dtype: Any) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        product: Array = np.matmul(a.astype(dtype), b.astype(dtype))
    return product


def narrow(y: Array, dtype: DType) -> Array:
    """``y`` in its own type; OverflowError if an integer does not fit, because nothing may wrap silently."""
    if dtype.is_integer and y.size and (int(y.min()) < dtype.min or int(y.max()) > dtype.max):
        raise OverflowError(f"the result leaves {dtype.value}: [{y.min()}, {y.max()}]")
    with np.errstate(over="ignore"):
        return y.astype(dtype.numpy)


def _magnitude(a: Array) -> int:
    return max(abs(int(a.min())), abs(int(a.max()))) if a.size else 0
