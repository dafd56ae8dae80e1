"""Arithmetic in fixed point that several integer operators share: the high product, reciprocals without a division."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dnncc.ir.types import Array

# First approximation of 1/v on [0.5, 1): 48/17 - 32/17 v, off by at most 1/17; in Q29, and in Q30 as the
# factor of a Q31.
INTERCEPT = round(48 / 17 * 2**29)
SLOPE = round(32 / 17 * 2**30)
_ONE = 1 << 28


def mulhi(a: Array, b: Array | int) -> Array:
    """``(a * b + 2^31) >> 32`` on int64 arrays of 32-bit numbers."""
    high: Array = (np.asarray(a * b, np.int64) + (1 << 31)) >> 32
    return high


def reciprocal(v: Array, steps: int) -> Array:
    """About ``2^60 / v`` for v in [2^30, 2^31), an int64 array, by Newton's method:

        y = INTERCEPT - mulhi(v, SLOPE), then ``steps`` times y + mulhi(y, (2^28 - mulhi(v, y)) << 4)

    Each step squares the relative error, 1/17 to begin with: below 2^-16 after two steps; after three what is left is
    the rounding of the products, below 2^-26. Every intermediate fits an i32.
    """
    y = INTERCEPT - mulhi(v, SLOPE)
    for _ in range(steps):
        y = y + mulhi(y, (_ONE - mulhi(v, y)) << 4)
    return y


def te_mulhi(a: Any, b: Any) -> Any:
    """``mulhi`` of TVM expressions."""
    from dnncc.targets.lowering.api import extern_pure

    return extern_pure("int32", "dnncc_mulhi_round", a, b)


def te_reciprocal(shape: Sequence[Any], v: Callable[..., Any], steps: int) -> Any:
    """``reciprocal`` as TVM stages over a shape; two per step, so that no product is repeated.

    Args:
        v: the i32 tensor of what is inverted.
    """
    from dnncc.targets.lowering.api import const, te

    def c(value: int) -> Any:
        return const(value, "int32")

    y = te.compute(shape, lambda *o: c(INTERCEPT) - te_mulhi(v(*o), c(SLOPE)), name="reciprocal_0")
    for step in range(steps):
        y = _te_newton(shape, y, v, step)
    return y


def _te_newton(shape: Sequence[Any], y: Any, v: Callable[..., Any], step: int) -> Any:
    from dnncc.targets.lowering.api import const, te

    one, four = const(_ONE, "int32"), const(4, "int32")
    error = te.compute(shape, lambda *o: (one - te_mulhi(v(*o), y(*o))) << four, name=f"error_{step}")
    return te.compute(shape, lambda *o: y(*o) + te_mulhi(y(*o), error(*o)), name=f"reciprocal_{step + 1}")
