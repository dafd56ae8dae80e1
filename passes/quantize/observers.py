"""Observers: from the values that a tensor takes on the calibration samples to the scale of its grid.

Each is a function ``(histogram, lo, hi) -> scale`` for a symmetric grid ``scale * {lo, ..., hi}`` with zero
point 0 (``lo`` is 0 for an unsigned grid). All are deterministic, and positive even for a tensor that is
always zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dnncc.ir.types import Array
from dnncc.passes.quantize.histogram import Histogram

Observer = Callable[[Histogram, int, int], float]

PERCENTILE = 99.99
"""The share of elements, in percent, that the percentile observer does not clip."""


def min_max(histogram: Histogram, lo: int, hi: int) -> float:
    """The smallest scale that clips nothing."""
    low = 0.0 if lo == 0 else min(histogram.minimum, 0.0) / lo
    return _positive(max(histogram.maximum / hi, low))


def percentile(histogram: Histogram, lo: int, hi: int) -> float:
    """The smallest scale that clips at most ``100 - PERCENTILE`` percent of the elements, on each side."""
    limit = histogram.total * (1.0 - PERCENTILE / 100.0)

    def bound(row: int) -> float:
        """The upper edge of the first bin that has at most ``limit`` elements above it."""
        above = np.cumsum(histogram.counts[row][::-1])[::-1]
        kept = np.flatnonzero(above > limit)
        return 0.0 if kept.size == 0 else float(kept[-1] + 1) * histogram.width

    low = 0.0 if lo == 0 else bound(0) / -lo
    largest = min_max(histogram, lo, hi)
    # So few elements may differ from zero that all of them could be clipped.
    return min(max(bound(1) / hi, low) or largest, largest)


def mean_squared_error(histogram: Histogram, lo: int, hi: int) -> float:
    """The scale with the least expected squared error of rounding and clipping."""
    largest = min_max(histogram, lo, hi)
    values, counts = _signed(histogram, lo)
    if values.size == 0:
        return largest

    def error(scale: float) -> float:
        residue = values - scale * np.clip(np.rint(values / scale), lo, hi)
        return float(counts @ (residue * residue))

    coarse = largest * np.linspace(0.02, 1.0, 50)
    best = min(coarse, key=error)
    step = coarse[1] - coarse[0]
    fine = np.clip(np.linspace(best - step, best + step, 41), coarse[0] / 2, largest)
    return _positive(float(min(fine, key=error)))


def entropy(histogram: Histogram, lo: int, hi: int) -> float:
    """The threshold with the least Kullback-Leibler divergence (Migacz, "8-bit inference with TensorRT").

    Works on magnitudes: of the positive side for an unsigned grid, of both sides together for a signed one.
    """
    levels = hi + 1
    counts = histogram.counts[1] if lo == 0 else histogram.counts.sum(axis=0)
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    largest = min_max(histogram, lo, hi)
    if used <= levels:
        return largest
    stride = max(1, (used - levels) // 200)
    best, threshold = np.inf, used
    for bins in range(used, levels - 1, -stride):
        divergence = _divergence(counts[:used], bins, levels)
        if divergence < best:
            best, threshold = divergence, bins
    return _positive(min(threshold * histogram.width / hi, largest))


def _divergence(counts: Array, bins: int, levels: int) -> float:
    """KL(P || Q) of the first ``bins`` bins: P with what lies above in the last, Q on ``levels`` levels."""
    p = counts[:bins].astype(np.float64)
    edges = np.arange(levels) * bins // levels
    present = (p > 0).astype(np.float64)
    share = np.add.reduceat(p, edges) / np.maximum(np.add.reduceat(present, edges), 1.0)
    q = np.repeat(share, np.diff(np.append(edges, bins))) * present
    p[-1] += counts[bins:].sum()
    # A bin that Q misses would make the divergence infinite; the usual remedy is a tiny share.
    floor = 1e-9 * p.sum()
    q = np.maximum(q, floor)
    p, q = p / p.sum(), q / q.sum()
    filled = p > 0
    return float(np.sum(p[filled] * np.log(p[filled] / q[filled])))


def _signed(histogram: Histogram, lo: int) -> tuple[Array, Array]:
    """The centres of the filled bins with their sign, and their counts; positive ones only if ``lo`` is 0."""
    centres = histogram.centres()
    rows = [(1, 1.0)] if lo == 0 else [(0, -1.0), (1, 1.0)]
    filled = [(row, sign, np.flatnonzero(histogram.counts[row])) for row, sign in rows]
    values = np.concatenate([sign * centres[index] for _, sign, index in filled])
    counts = np.concatenate([histogram.counts[row][index] for row, _, index in filled])
    return values, counts.astype(np.float64)


def _positive(scale: float) -> float:
    """``scale``, or 1.0 where a tensor is always zero: any grid represents that."""
    return scale if scale > 0.0 and np.isfinite(scale) else 1.0


OBSERVERS: dict[str, Observer] = {
    "minmax": min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}
