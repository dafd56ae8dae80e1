"""Requantization against Python's integers; the choice of multiplier and shift."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import DType, TensorType
from dnncc.ops.ranges import Interval
from dnncc.ops.requantize import Requantize
from dnncc.passes.quantize.dyadic import MAX_SHIFT, NARROW_BITS, dyadic
from hypothesis import example, given
from hypothesis import strategies as st

I32 = st.integers(-(2**31), 2**31 - 1)
RATIOS = st.floats(1e-12, 2.0**30).flatmap(lambda x: st.sampled_from([x, -x, 1.0 / x]))


def half_up(x: Fraction) -> int:
    """The nearest integer; the upper one of two."""
    return (x + Fraction(1, 2)).__floor__()


@given(I32, I32, st.integers(0, MAX_SHIFT), st.sampled_from([DType.I8, DType.U8, DType.I16, DType.I32]))
@example(-(2**31), -(2**31), 0, DType.I32)
@example(2**31 - 1, 2**31 - 1, 62, DType.I32)
@example(-1, 1, 1, DType.I8)
def test_requantize_is_exact(x: int, m: int, shift: int, dtype: DType) -> None:
    (y,) = Requantize(dtype, shift).reference(np.array([x], np.int32), np.array(m, np.int32))
    assert int(y[0]) == min(max(half_up(Fraction(x * m, 2**shift)), dtype.min), dtype.max)


@given(st.lists(I32, min_size=1, max_size=5), st.data(), st.integers(1, 40))
def test_requantize_per_channel_and_clamped(x: list[int], data: st.DataObject, shift: int) -> None:
    m = data.draw(st.lists(I32, min_size=len(x), max_size=len(x)))
    lo, hi = sorted(data.draw(st.tuples(st.integers(-128, 127), st.integers(-128, 127))))
    op = Requantize(DType.I8, shift, lo=lo, hi=hi)
    (y,) = op.reference(np.array([x], np.int32), np.array(m, np.int32))
    expected = [min(max(half_up(Fraction(a * b, 2**shift)), lo), hi) for a, b in zip(x, m, strict=True)]
    assert y[0].tolist() == expected


@given(st.lists(RATIOS, min_size=1, max_size=6))
def test_the_error_of_a_ratio_is_half_a_unit_of_the_common_shift(ratios: list[float]) -> None:
    found = dyadic(np.array(ratios))
    assert 0 <= found.shift <= MAX_SHIFT
    for ratio, m in zip(ratios, found.multiplier.tolist(), strict=True):
        assert abs(Fraction(ratio) - Fraction(m, 2**found.shift)) <= Fraction(1, 2 ** (found.shift + 1))
    largest = max(abs(r) for r in ratios)
    if largest >= 2.0**-30:
        assert (
            abs(
                Fraction(int(np.abs(found.multiplier.astype(np.int64)).max()), 2**found.shift)
                / Fraction(largest)
                - 1
            )
            < 2**-15
        )


@given(st.floats(2.0**-17, 0.4999))
def test_a_shift_of_32_whenever_it_serves(ratio: float) -> None:
    found = dyadic(np.array([ratio, ratio / 1000.0]))
    assert found.shift == 32 and found.multiplier.max() >= 2**15


@pytest.mark.parametrize(
    ("ratio", "multiplier", "shift"), [(1.0, 1, 0), (4.0, 4, 0), (0.5, 1, 1), (0.0, 0, 0)]
)
def test_powers_of_two_stay_small(ratio: float, multiplier: int, shift: int) -> None:
    found = dyadic(np.array(ratio))
    assert (int(found.multiplier), found.shift) == (multiplier, shift)


@given(st.lists(st.floats(2.0**-8, 2.0**14), min_size=1, max_size=4), st.sampled_from([-128, 127, 255]))
def test_products_of_8_bit_operands_fit_32_bits(ratios: list[float], x: int) -> None:
    found = dyadic(np.array(ratios), narrow=True)
    assert int(found.multiplier.max()) <= 2**NARROW_BITS
    for m in found.multiplier.tolist():
        assert abs(x * m) + 2**found.shift // 2 < 2**31
    # Half a unit of the last place, times the operand: far below a step of the result.
    for ratio, m in zip(ratios, found.multiplier.tolist(), strict=True):
        assert abs(x) * abs(Fraction(ratio) - Fraction(m, 2**found.shift)) <= Fraction(max(ratios)) / 2**13


@pytest.mark.parametrize("ratio", [2.0**31, -(2.0**32), np.inf, np.nan])
def test_ratios_without_a_multiplier_are_refused(ratio: float) -> None:
    with pytest.raises(OverflowError):
        dyadic(np.array([1.0, ratio]))


@given(I32, I32, st.lists(I32, min_size=1, max_size=3), st.integers(0, MAX_SHIFT), I32)
def test_the_interval_of_a_requantization_holds_its_ends(
    a: int, b: int, m: list[int], shift: int, zero: int
) -> None:
    op, multiplier = Requantize(DType.I32, shift, zero_point=max(zero, -(2**31) + 1)), np.array(m, np.int32)
    x = Value("x", TensorType(DType.I32, (1, len(m))))
    ranges = op.ranges([x, Const.of("m", multiplier)], [Interval.of(min(a, b), max(a, b))])
    assert ranges is not None
    low, high = ranges.output.low, ranges.output.high
    ends = [op.reference(np.full(len(m), x, np.int32), multiplier)[0] for x in (a, b)]
    assert np.array_equal(np.minimum(*ends), low) and np.array_equal(np.maximum(*ends), high)
