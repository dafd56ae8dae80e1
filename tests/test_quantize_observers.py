"""Histograms and observers against numpy and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from dnncc.ir.types import Array
from dnncc.passes.quantize.histogram import BINS, Histogram
from dnncc.passes.quantize.observers import OBSERVERS, entropy, mean_squared_error, min_max, percentile
from hypothesis import given
from hypothesis import strategies as st

GRIDS = [(-128, 127), (0, 255), (-8, 7), (0, 15)]


def histogram(*arrays: Array) -> Histogram:
    result = Histogram()
    for array in arrays:
        result.add(array)
    return result


def samples(seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-6, 6, 5)
    return [(rng.standard_normal(200) * s).astype(np.float32) for s in scales] + [np.zeros(7, np.float32)]


@given(st.integers(0, 1000))
def test_a_histogram_does_not_depend_on_the_order(seed: int) -> None:
    arrays = samples(seed)
    one, other = histogram(*arrays), histogram(*arrays[::-1])
    assert np.array_equal(one.counts, other.counts)
    assert (one.width, one.zeros, one.minimum, one.maximum) == (
        other.width,
        other.zeros,
        other.minimum,
        other.maximum,
    )


@given(st.integers(0, 1000))
def test_a_histogram_counts_every_element_in_its_bin(seed: int) -> None:
    arrays = samples(seed)
    found, x = histogram(*arrays), np.concatenate(arrays).astype(np.float64)
    edges = np.arange(BINS + 1) * found.width
    assert np.array_equal(found.counts[1], np.histogram(x[x > 0], edges)[0])
    assert np.array_equal(found.counts[0], np.histogram(-x[x < 0], edges)[0])
    assert found.zeros == (x == 0).sum() and found.total == x.size
    assert found.minimum == x.min() and found.maximum == x.max()
    assert BINS / 2 * found.width <= found.largest < BINS * found.width


def test_min_max_clips_nothing_and_wastes_nothing() -> None:
    x = np.array([-3.0, 0.5, 2.0])
    assert min_max(histogram(x), -128, 127) == 3.0 / 128
    assert min_max(histogram(-x), -128, 127) == 3.0 / 127
    assert min_max(histogram(x), 0, 255) == 2.0 / 255


def test_percentile_clips_no_more_than_it_may() -> None:
    x = np.random.default_rng(0).standard_cauchy(1_000_000)
    scale = percentile(histogram(x), -128, 127)
    clipped = np.count_nonzero((x > 127.0 * scale) | (x < -128.0 * scale))
    # One ten-thousandth on each side, to within the mass of a bin.
    assert 0 < clipped <= 200
    assert scale < min_max(histogram(x), -128, 127)


def test_percentile_does_not_clip_what_is_rare_but_all_there_is() -> None:
    x = np.zeros(1_000_000)
    x[3] = 5.0
    assert percentile(histogram(x), 0, 255) == 5.0 / 255


@pytest.mark.parametrize(("lo", "hi"), GRIDS)
@pytest.mark.parametrize("tail", [1.0, 3.0])
def test_mse_is_the_best_scale(lo: int, hi: int, tail: float) -> None:
    x = np.random.default_rng(1).standard_normal(20_000)
    x = np.sign(x) * np.abs(x) ** tail

    def error(scale: float) -> float:
        kept = x if lo else x[x > 0]
        return float(np.mean((kept - scale * np.clip(np.rint(kept / scale), lo, hi)) ** 2))

    found = error(mean_squared_error(histogram(x), lo, hi))
    best = min(error(s) for s in min_max(histogram(x), lo, hi) * np.linspace(0.01, 1.0, 400))
    assert found <= 1.02 * best


def divergence(counts: Array, bins: int, levels: int) -> float:
    """The definition of the entropy observer's criterion, one bin after the other."""
    p = [float(c) for c in counts[:bins]]
    q = [0.0] * bins
    for level in range(levels):
        part = range(level * bins // levels, (level + 1) * bins // levels)
        filled = [i for i in part if p[i] > 0]
        for i in filled:
            q[i] = sum(p[j] for j in part) / len(filled)
    p[-1] += float(counts[bins:].sum())
    floor = 1e-9 * sum(p)
    q = [max(v, floor) for v in q]
    ratio = [(a / sum(p), b / sum(q)) for a, b in zip(p, q, strict=True)]
    return sum(a * np.log(a / b) for a, b in ratio if a > 0)


def test_entropy_takes_the_threshold_with_the_least_divergence() -> None:
    x = np.abs(np.random.default_rng(2).standard_t(2, 30_000))
    seen = histogram(x)
    scale = entropy(seen, 0, 15)
    chosen = round(scale * 15 / seen.width)
    counts = seen.counts[1]
    others = range(16, int(np.flatnonzero(counts)[-1]) + 2, 97)
    assert divergence(counts, chosen, 15 + 1) <= min(divergence(counts, b, 16) for b in others) * 1.05 + 1e-12
    assert scale < min_max(seen, 0, 15)


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize(("lo", "hi"), GRIDS)
def test_scales_are_positive_and_never_beyond_min_max(name: str, lo: int, hi: int) -> None:
    for array in (np.zeros(5), np.array([1e-30]), np.array([-1e30, 1e30]), *samples(3), np.full(4, -2.0)):
        seen = histogram(array.astype(np.float32))
        scale = OBSERVERS[name](seen, lo, hi)
        assert np.isfinite(scale) and scale > 0
        assert scale <= min_max(seen, lo, hi) * (1 + 1e-12)


@pytest.mark.parametrize("name", OBSERVERS)
def test_scales_follow_the_unit_of_the_data(name: str) -> None:
    x = np.random.default_rng(4).standard_normal(5000)
    observe = OBSERVERS[name]
    assert observe(histogram(x * 1024.0), -128, 127) == pytest.approx(
        1024.0 * observe(histogram(x), -128, 127)
    )
