"""Rounding of weights such that later ones make up for the error of earlier ones, on calibration samples.

The method is OPTQ (Frantar et al., ICLR 2023, section 3) with the inputs that the integer network really has, and with
weights that are first refitted to the float network's sums (as in GPTAQ, Li et al., 2025): what earlier layers have
lost is part of the error that is made up for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.base import Op
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.window import padded, windows

REFIT = 0.5
"""How far weights go towards those that fit the samples best."""

RIDGE = 0.1
"""Of the mean variance of an input, added to each before weights are fitted: directions that the samples hardly show
are left alone."""

DAMPING = 0.01
"""The same before rounding errors are made up for."""


def taps_of(op: Op, x: Array, kernel: tuple[int, ...]) -> Array:
    """What each output of a convolution or matrix product sums over, float64 [groups, positions, taps].

    Args:
        op: conv2d or linear.
        x: the operand.
        kernel: the shape of the weights, [O, KH, KW, C/groups] or [O, K].
    """
    if not isinstance(op, Conv2d):
        return x.reshape(1, -1, kernel[-1]).astype(np.float64)
    patches = windows(padded(x, op.pads), kernel[1:3], op.strides, op.dilations)
    n, oh, ow, kh, kw, c = patches.shape
    split = patches.reshape(n * oh * ow, kh * kw, op.groups, c // op.groups).transpose(2, 0, 1, 3)
    return split.reshape(op.groups, n * oh * ow, -1).astype(np.float64)


@dataclass
class Moments:
    """Sums over positions, of which covariances follow; everything per group.

    Attributes:
        count: positions.
        x: float64 [groups, taps].
        y: float64 [groups, outputs].
        xx: float64 [groups, taps, taps].
        yx: float64 [groups, outputs, taps].
    """

    count: int
    x: Array
    y: Array
    xx: Array
    yx: Array

    @staticmethod
    def empty(groups: int, outputs: int, taps: int) -> Moments:
        shapes = (groups, taps), (groups, outputs), (groups, taps, taps), (groups, outputs, taps)
        return Moments(0, *(np.zeros(s) for s in shapes))

    def add(self, taps: Array, wanted: Array) -> None:
        """Count positions in.

        Args:
            taps: [groups, positions, taps].
            wanted: [positions, outputs], of all groups in a row.
        """
        groups, positions, _ = taps.shape
        y = wanted.reshape(positions, groups, -1).transpose(1, 2, 0)
        self.count += positions
        self.x += taps.sum(axis=1)
        self.y += y.sum(axis=2)
        self.xx += taps.transpose(0, 2, 1) @ taps
        self.yx += y @ taps

    def covariances(self) -> tuple[Array, Array]:
        """Of the taps with each other [groups, taps, taps], and of the outputs with the taps [groups, outputs, taps]:
        a bias takes care of the means."""
        mean = self.x / self.count
        xx = self.xx / self.count - mean[:, :, None] * mean[:, None, :]
        yx = self.yx / self.count - (self.y / self.count)[:, :, None] * mean[:, None, :]
        return xx, yx


def compensated(weights: Array, moments: Moments, levels: int) -> Array:
    """Integers for the weights of a layer, least in the squared error of its sums.

    Args:
        weights: float64 [O, ...], in steps of their grid: the float network's.
        moments: of the integer inputs and of the sums that the float network has, in steps of the accumulator.
        levels: integers are in [-levels - 1, levels].

    Returns:
        int8, shaped like the weights.
    """
    xx, yx = moments.covariances()
    groups, taps = xx.shape[:2]
    rows = weights.reshape(groups, -1, taps)
    found = [_group(rows[g], xx[g], yx[g], levels) for g in range(groups)]
    return np.stack(found).reshape(weights.shape).astype(np.int8)


def _group(rows: Array, xx: Array, yx: Array, levels: int) -> Array:
    """One group: rows [outputs, taps]."""
    taps = rows.shape[1]
    mean = float(np.trace(xx)) / taps
    if mean <= 0.0:
        return np.clip(np.rint(rows), -levels - 1, levels)
    # Half way to the weights that would give the float network's sums from these inputs: few samples tell them badly.
    rows = rows + REFIT * (yx - rows @ xx) @ np.linalg.inv(xx + RIDGE * mean * np.eye(taps))
    # The inputs of largest variance first: what they leave can still be made up for.
    order = np.argsort(-np.diag(xx), kind="stable")
    inverse = np.linalg.inv(xx + DAMPING * mean * np.eye(taps))
    upper = np.linalg.cholesky(inverse[np.ix_(order, order)]).T
    left = rows[:, order]
    rounded = np.empty_like(left)
    for k in range(taps):
        rounded[:, k] = np.clip(np.rint(left[:, k]), -levels - 1, levels)
        error = (left[:, k] - rounded[:, k]) / upper[k, k]
        left[:, k:] -= error[:, None] * upper[k, k:]
    result = np.empty_like(rounded)
    result[:, order] = rounded
    return result
