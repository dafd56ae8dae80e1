"""Real ratios as dyadic numbers ``multiplier / 2^shift`` (HAWQ-V3, section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from dnncc.ir.types import Array

MAX_SHIFT = 62
WORD_SHIFT = 32
"""The upper word of a 64-bit product: one rounding multiply (SMMULR) on a Cortex-M4."""

SIGNIFICANT_BITS = 16
"""With a shift of 32 the largest multiplier has at least this many bits: a relative error below 2^-16."""

NARROW_BITS = 22
"""Multipliers of 8-bit operands stay below 2^22: |x * m| + rounding < 2^31, a 32-bit multiply on any core."""


@dataclass(frozen=True)
class Dyadic:
    """Ratios ``multiplier / 2^shift`` with a common shift.

    Attributes:
        multiplier: int32, a scalar or one per channel; at least one is not zero unless every ratio is.
        shift: 0 to 62.
    """

    multiplier: Array
    shift: int

    @property
    def ratio(self) -> Array:
        """The ratios, exact in float64."""
        return np.ldexp(self.multiplier.astype(np.float64), -self.shift)


def dyadic(ratio: Array, narrow: bool = False) -> Dyadic:
    """The dyadic numbers nearest to ``ratio``.

    Args:
        ratio: float64, finite, of any shape and either sign.
        narrow: the operand has 8 bits: keep the product within 32 bits.

    Returns:
        A shift of 32 where every multiplier fits an int32 and the largest keeps 16 significant bits (not if
        ``narrow``); else one power of two as small as it comes (1 / 2^0 for 1); else, if ``narrow``,
        multipliers below 2^22 with a shift of at most 30; else the shift that makes the largest multiplier
        use all 31 bits.

    Raises:
        OverflowError: a ratio is 2^31 or more.
    """
    ratio = np.asarray(ratio, np.float64)
    largest = float(np.abs(ratio).max(initial=0.0))
    if largest >= 2.0**31 - 0.5 or not math.isfinite(largest):
        raise OverflowError(f"ratio {largest} has no int32 multiplier")
    exponent = math.frexp(largest)[1]  # largest in [2^(exponent-1), 2^exponent)
    if not narrow and SIGNIFICANT_BITS - WORD_SHIFT <= exponent <= 31 - WORD_SHIFT:
        found = _round(ratio, WORD_SHIFT)
        if found.shift == WORD_SHIFT:
            return found
    exact = _exact(ratio)
    if exact is not None:
        return exact
    if narrow:
        # The rounding term 2^(shift-1) has to fit next to the product.
        shift = max(min(NARROW_BITS - exponent, 30), 0)
        if SIGNIFICANT_BITS <= exponent + shift <= NARROW_BITS:
            return _round(ratio, shift)
    return _round(ratio, max(min(31 - exponent, MAX_SHIFT), 0))


def _exact(ratio: Array) -> Dyadic | None:
    """The ratio itself when it is one power of two not above 2^30 (or zero) for every channel."""
    first = float(ratio.flat[0]) if ratio.size else 0.0
    if ratio.size == 0 or np.any(ratio != first):
        return None
    if first == 0.0:
        return Dyadic(np.zeros(ratio.shape, np.int32), 0)
    mantissa, exponent = math.frexp(first)
    if mantissa != 0.5 or not -MAX_SHIFT < exponent <= 31:
        return None
    shift = max(1 - exponent, 0)
    return Dyadic(np.full(ratio.shape, 1 << (exponent - 1 + shift), np.int32), shift)


def _round(ratio: Array, shift: int) -> Dyadic:
    scaled = np.rint(np.ldexp(ratio, shift))
    if np.any(np.abs(scaled) >= 2.0**31) and shift:
        # Rounding carried into the 32nd bit: one bit less.
        return _round(ratio, shift - 1)
    return Dyadic(scaled.astype(np.int32), shift)
