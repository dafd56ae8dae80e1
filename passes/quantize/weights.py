"""Weights and biases as integers: symmetric, one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Const
from dnncc.ir.types import Array, DType
from dnncc.ops.ranges import Interval, linear_ranges

SPREAD = 2.0**-17
"""Smallest ratio S_w * S_x / S_y of a channel beside the largest one (or 1/2, if that is larger).

A smaller one would keep fewer than 14 bits under the common shift, and so fine a weight step hardly moves the
output."""

LARGEST_RATIO = 256.0
"""Beyond it, one step of the accumulator is more than the whole 8-bit output."""

RATIO_BITS = 13
"""Ratios of a node are multiples of one power of two, the largest 2^13 at most: multipliers are stored in 16 bits
with a shift that is a multiple of 4."""

BIAS_LIMIT = 2.0**30
"""Largest bias: half of an i32, so that the products have room beside it."""


@dataclass(frozen=True)
class QuantizedLinear:
    """Integer weights and bias of a convolution or matrix product.

    Attributes:
        weights: i8 (i16 where a model's own need it), shaped like the float weights.
        scale: float64 [O], positive: what one step of a weight stands for.
        bias: i32 [O], in steps of ``scale * input scale``.
        raised: the channels whose scale had to be coarser than their weights alone would need.
    """

    weights: Array
    scale: Array
    bias: Array
    raised: tuple[int, ...]


def quantize_linear(
    w: Array, bias: Array, bits: int, x_scale: float, y_scale: float, x: Interval, zero_point: int = 0
) -> QuantizedLinear:
    """Quantize weights [O, ...] and bias [O] so that no accumulator can leave i32.

    The scale of a channel is ``max|w| / (2^(bits-1) - 1)`` for 8 bits, and the one with the least squared
    error for fewer. It is raised, never lowered, where a bias or a worst-case accumulator would not fit an
    i32 otherwise, and for channels that are (almost) zero.

    Args:
        bits: of a weight, 2 to 8.
        x_scale, y_scale: scales of the input and of the output.
        x: which integers the input can be.
        zero_point: the integer that stands for 0 in the input; the bias takes it up.
    """
    rows = w.reshape(w.shape[0], -1).astype(np.float64)
    b = bias.astype(np.float64)
    levels = (1 << (bits - 1)) - 1
    natural = np.abs(rows).max(axis=1) / levels if bits == 8 else least_squares(rows, levels)
    largest = float(np.clip(natural.max() * x_scale / y_scale, 0.5, LARGEST_RATIO))
    needed = np.maximum(SPREAD * largest * y_scale, np.abs(b) / BIAS_LIMIT) / x_scale
    forced = needed > natural
    scale = _on_grid(np.maximum(natural, needed), y_scale / x_scale)
    while True:
        q = np.clip(np.rint(rows / scale[:, None]), -levels - 1, levels).astype(np.int8)
        integer_bias = np.rint(b / (scale * x_scale)).astype(np.int64) - zero_point * q.sum(
            axis=1, dtype=np.int64
        )
        sums = linear_ranges(q, integer_bias, x).whole
        too_wide = (sums.low < DType.I32.min) | (sums.high > DType.I32.max)
        if not too_wide.any():
            break
        forced |= too_wide
        scale = np.where(too_wide, scale * 2.0, scale)
    raised = np.flatnonzero(forced & (np.abs(rows).max(axis=1) > 0.0))
    return QuantizedLinear(
        q.reshape(w.shape), scale, integer_bias.astype(np.int32), tuple(int(c) for c in raised)
    )


def given_linear(
    k: Array, w: Const, bias: Array, x_scale: float, zero_point: int = 0
) -> QuantizedLinear | None:
    """The same where the model gives the weights' integers ``k``, shaped like them, and their scales, which stay.

    Weights are i8 where they fit once their zero points are subtracted, else i16. None if a scale does not belong to
    an output channel, or a bias does not fit 32 bits.
    """
    q = w.type.quantization
    if q is None or q.axis not in (None, 0) or not np.isfinite(bias).all():
        return None
    scale = np.broadcast_to(np.asarray(q.scale, np.float64), (k.shape[0],)).copy()
    narrow = DType.I8.min <= k.min() and k.max() <= DType.I8.max
    if not narrow and not (DType.I16.min <= k.min() and k.max() <= DType.I16.max):
        return None
    sums = k.reshape(k.shape[0], -1).sum(axis=1)
    steps = np.rint(bias.astype(np.float64) / (scale * x_scale)) - zero_point * sums
    if np.abs(steps).max() > DType.I32.max:
        return None
    return QuantizedLinear(k.astype(np.int8 if narrow else np.int16), scale, steps.astype(np.int32), ())


def _on_grid(scale: Array, step: float) -> Array:
    """Scales [O] raised to where ``scale / step`` has few bits: no weight clips, and nothing is lost, since weights
    and bias are rounded to the raised scale. By 2^-12 for the largest channel, more for those far below it."""
    ratio = scale / step
    unit = 2.0 ** (np.frexp(ratio.max())[1] - RATIO_BITS)
    raised: Array = np.maximum(np.ceil(ratio / unit * (1.0 - 2.0**-40)), 1.0) * unit * step
    return raised


def least_squares(rows: Array, levels: int) -> Array:
    """The scale of each row [O, K] with the least squared rounding and clipping error, of 60 candidates."""
    largest = np.abs(rows).max(axis=1) / levels
    best, least = largest.copy(), np.full(rows.shape[0], np.inf)
    for factor in np.linspace(0.3, 1.0, 60):
        scale = np.where(largest > 0.0, largest * factor, 1.0)
        error = rows - scale[:, None] * np.clip(np.rint(rows / scale[:, None]), -levels - 1, levels)
        total = np.einsum("ok,ok->o", error, error)
        better = total < least
        best[better], least[better] = scale[better], total[better]
    return np.where(largest > 0.0, best, 0.0)
