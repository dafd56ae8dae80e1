"""Which integers can occur: the interval arithmetic behind the overflow proof (A2Q, Colbert et al., section 3).

An operator's ``ranges`` maps its operands' intervals to those of its result and of every partial sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType


@dataclass(frozen=True, eq=False)
class Interval:
    """Every element lies in ``[low, high]``; int64, scalars or one bound per index of the last axis."""

    low: Array
    high: Array

    @staticmethod
    def of(low: int, high: int) -> Interval:
        return Interval(np.asarray(low, np.int64), np.asarray(high, np.int64))

    @staticmethod
    def of_dtype(dtype: DType) -> Interval:
        return Interval.of(dtype.min, min(dtype.max, np.iinfo(np.int64).max))

    @staticmethod
    def of_const(value: Const) -> Interval:
        limit = np.iinfo(np.int64).max
        return Interval.of(min(int(value.data.min()), limit), min(int(value.data.max()), limit))

    @property
    def min(self) -> int:
        return int(self.low.min())

    @property
    def max(self) -> int:
        return int(self.high.max())

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(abs(self.min), abs(self.max))

    def collapsed(self) -> Interval:
        """The same without the distinction of channels."""
        return Interval.of(self.min, self.max)

    def fits(self, dtype: DType) -> bool:
        return dtype.min <= self.min and self.max <= dtype.max

    @property
    def bits(self) -> int:
        """Width of the narrowest two's complement integer that holds every value."""
        return max((-self.min - 1 if self.min < 0 else 0).bit_length(), max(self.max, 0).bit_length()) + 1


def union(intervals: Sequence[Interval]) -> Interval:
    return Interval.of(min(i.min for i in intervals), max(i.max for i in intervals))


@dataclass(frozen=True)
class Ranges:
    """What is known about one node.

    Attributes:
        output: the values that the node's output can take.
        partial: the values that any partial sum can take, in any order of summation; None if nothing is
            summed.
    """

    output: Interval
    partial: Interval | None = None

    @property
    def whole(self) -> Interval:
        """The values that the output or a partial sum can take."""
        if self.partial is None:
            return self.output
        return Interval(
            np.minimum(self.output.low, self.partial.low), np.maximum(self.output.high, self.partial.high)
        )


def linear_ranges(w: Array, bias: Array, x: Interval) -> Ranges:
    """Exact bounds of ``sum x * w[o] + bias[o]`` for x in the interval and in padding zeros.

    Args:
        w: integers [O, ...].
        bias: integers [O].
        x: the input's interval (its channels are not told apart).
    """
    rows = w.reshape(w.shape[0], -1).astype(np.int64)
    positive = np.maximum(rows, 0).sum(axis=1)
    negative = np.minimum(rows, 0).sum(axis=1)
    b = bias.astype(np.int64)
    # Padding adds no term at all, and neither does what a partial sum leaves out: zero joins the input's range.
    least, most = min(x.min, 0), max(x.max, 0)
    low, high = positive * least + negative * most, positive * most + negative * least
    # The bias may come first or last.
    return Ranges(Interval(b + low, b + high), Interval(np.minimum(b, 0) + low, np.maximum(b, 0) + high))


def linear_ranges_of(inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges:
    """``linear_ranges`` of operands (x, w, b), w constant or not; LookupError if b is not constant."""
    _, w, b = inputs
    if not isinstance(b, Const):
        raise LookupError("the bias is not constant")
    if isinstance(w, Const):
        return linear_ranges(w.data, b.data, intervals[0])
    product, taps = product_interval(intervals[0].collapsed(), intervals[1].collapsed()), w.type.size
    taps //= w.type.shape[0]
    low, high = taps * min(product.min, 0), taps * max(product.max, 0)
    bias = b.data.astype(np.int64)
    return Ranges(
        Interval(bias + low, bias + high), Interval(np.minimum(bias, 0) + low, np.maximum(bias, 0) + high)
    )


def product_interval(a: Interval, b: Interval) -> Interval:
    """What the product of two elements can be."""
    ends = [x * y for x in (a.min, a.max) for y in (b.min, b.max)]
    return Interval.of(min(ends), max(ends))
