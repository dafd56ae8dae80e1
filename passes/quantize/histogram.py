"""A streaming histogram whose content does not depend on the order in which the samples come."""

from __future__ import annotations

import math

import numpy as np
from dnncc.ir.types import Array

BINS = 4096


class Histogram:
    """Magnitudes of a tensor's negative and positive elements, in bins whose width is a power of two.

    The width doubles (neighbouring bins merge) when a larger magnitude arrives, so that the final content is
    that of a histogram made in one go, whatever the order of the samples. Between ``BINS / 2`` and ``BINS``
    bins are in use.

    Attributes:
        counts: int64 [2, BINS]: row 0 counts ``x < 0`` by ``|x|``, row 1 ``x > 0``.
        zeros: how many elements are exactly 0 (they are exact on every grid).
        minimum, maximum: the extremes seen, 0.0 before the first sample.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, BINS), np.int64)
        self.zeros = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        self._exponent: int | None = None

    @property
    def width(self) -> float:
        """The width of a bin; 1.0 while only zeros were seen."""
        return 1.0 if self._exponent is None else math.ldexp(1.0, self._exponent)

    @property
    def total(self) -> int:
        """Elements seen."""
        return self.zeros + int(self.counts.sum())

    @property
    def largest(self) -> float:
        """The largest magnitude seen; 0.0 if there is none."""
        return max(self.maximum, -self.minimum, 0.0)

    def centres(self) -> Array:
        """The magnitude in the middle of each bin, float64 [BINS]."""
        return (np.arange(BINS) + 0.5) * self.width

    def add(self, array: Array) -> None:
        """Count the elements of ``array`` (floats of any shape); ValueError if one is not finite."""
        if array.size == 0:
            return
        flat = np.ascontiguousarray(array).reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("NaN or infinite values")
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        largest = max(high, -low)
        if largest == 0.0:
            self.zeros += flat.size
            return
        self._grow(largest)
        # Scaling by a power of two is exact, so an element's bin never depends on rounding.
        index = (flat * flat.dtype.type(1.0 / self.width)).astype(np.int64)
        if low >= 0.0:
            self._count(1, index, flat > 0.0 if low == 0.0 else None)
        else:
            self._count(0, -index, flat < 0.0)
            self._count(1, index, flat > 0.0)
        self.zeros += int(np.count_nonzero(flat == 0.0))

    def _count(self, row: int, index: Array, where: Array | None) -> None:
        chosen = index if where is None else index[where]
        self.counts[row] += np.bincount(chosen, minlength=BINS)

    def _grow(self, largest: float) -> None:
        # frexp: largest < 2^e, hence |x| / 2^(e - log2(BINS)) < BINS. Subnormal widths are not worth having.
        needed = max(math.frexp(largest)[1] - int(math.log2(BINS)), -120)
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            merged = self.counts.reshape(2, BINS // 2, 2).sum(axis=2)
            self.counts = np.concatenate([merged, np.zeros_like(merged)], axis=1)
            self._exponent += 1
