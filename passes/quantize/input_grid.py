"""The grid of a network's input: exact where the data come from integers, with a zero point where that pays.

Only inputs may have a zero point. It costs nothing at run time: the first convolution or matrix product takes
it into its bias, and what pads an image is the integer that stands for 0.
"""

from __future__ import annotations

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType
from dnncc.passes.quantize.histogram import Histogram
from dnncc.passes.quantize.observers import Observer
from dnncc.passes.quantize.plan import Plan

ZERO_SCALE = 2.0**-16
"""The scale of a tensor that was 0 on every sample: fine, so that what it is added to loses nothing to it."""

LEVELS = 256
WORTHWHILE = 1.5
"""By how much a zero point must refine the scale of data that are on no lattice."""

_FOLDING = ("conv2d", "linear")
_MOVING = ("reshape", "transpose", "slice", "pad")


def lattice_step(data: Array) -> float | None:
    """The step of which all of ``data`` are integer multiples, if they span at most 256 of them; else None.

    Pixels, and features that another tool quantized before, are such data; their own step represents them
    exactly, while any other step adds a rounding error as large as theirs.
    """
    flat = data.reshape(len(data), -1)
    # Continuous data show themselves in the first sample.
    if np.unique(flat[0]).size > LEVELS:
        return None
    values = np.unique(flat).astype(np.float64)
    span = float(values[-1] - values[0])
    if values.size > LEVELS or span == 0.0:
        return None
    gaps = np.diff(values)
    gaps = gaps[gaps > span * 1e-5]  # float rounding may tell the same multiple apart
    smallest = float(gaps.min())
    for parts in (1, 2, 3, 4):
        multiples = np.rint(values / (smallest / parts))
        if not multiples.any() or np.ptp(multiples) >= LEVELS:
            return None
        step = float(values @ multiples / (multiples @ multiples))
        if np.abs(values / step - multiples).max() < 0.01:
            return step
    return None


def folds_zero_point(plan: Plan, value: Value) -> bool:
    """Whether all that reads an input, directly or moved, can take a zero point into its bias."""
    readers = plan.uses.get(value, [])
    if not readers or value in plan.outputs:
        return False
    for node in readers:
        moved = node.op.name in _MOVING and folds_zero_point(plan, node.output)
        folded = node.op.name in _FOLDING and all(isinstance(v, Const) for v in node.inputs[1:])
        if not moved and not folded:
            return False
    return True


def input_grid(
    histogram: Histogram, step: float | None, observer: Observer, affine: bool
) -> tuple[float, int]:
    """Scale and zero point of an i8 input.

    Args:
        step: the data's lattice step, if they are on one.
        affine: a zero point is allowed.
    """
    lo, hi = DType.I8.min, DType.I8.max
    if histogram.largest == 0.0:
        return ZERO_SCALE, 0
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    if step is not None:
        first, last = round(low / step), round(high / step)
        if lo <= first and last <= hi:
            # A fraction of the step is as exact, and finer for data that are not on the lattice after all.
            return step / max(min(lo // first if first < 0 else hi, hi // last if last > 0 else hi), 1), 0
        if affine and last - first < LEVELS:
            return step, _zero_point(first, last)
    symmetric = observer(histogram, lo, hi)
    fine = (high - low) / (LEVELS - 1)
    if affine and fine > 0.0 and symmetric >= WORTHWHILE * fine:
        return fine, _zero_point(round(low / fine), round(high / fine))
    return symmetric, 0


def _zero_point(first: int, last: int) -> int:
    """Where 0 goes so that ``first`` to ``last`` fit, with what room is left on the side that may need it."""
    room = LEVELS - 1 - (last - first)
    # Data that cannot be negative, or positive, need no room there.
    below = 0 if first == 0 else room if last == 0 else room // 2
    return DType.I8.min - first + max(below, 0)
