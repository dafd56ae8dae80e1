"""Linear layers as kernels: two in a row, or two side by side, are one.

Kim et al., ICML 2023, section 2 (composition); Ding et al., "RepVGG", CVPR 2021, section 3.3 (parallel branches). Here
for any strides, dilations and groups; everything in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from dnncc.ir.graph import Const, Node
from dnncc.ir.types import Array, DType
from dnncc.ops.conv2d import Conv2d


@dataclass(frozen=True)
class Kernel:
    """What a convolution computes.

    Attributes:
        op: strides, pads, dilations and groups.
        weights: float64 [O, KH, KW, C/groups].
        bias: float64 [O].
        exact: whether it gives what the layers that it stands for give, at the border too.
    """

    op: Conv2d
    weights: Array
    bias: Array
    exact: bool = True

    @staticmethod
    def of(node: Node) -> Kernel | None:
        """A conv2d's, if its parameters are constant floats."""
        if not isinstance(node.op, Conv2d):
            return None
        _, w, b = node.inputs
        if not isinstance(w, Const) or not isinstance(b, Const) or w.type.dtype is not DType.F32:
            return None
        return Kernel(node.op, w.data.astype(np.float64), b.data.astype(np.float64))

    @staticmethod
    def identity(channels: int) -> Kernel:
        """What a skip connection computes: a pointwise convolution of ones, depthwise."""
        return Kernel(Conv2d(groups=channels), np.ones((channels, 1, 1, 1)), np.zeros(channels))

    @property
    def size(self) -> tuple[int, int]:
        """Taps, vertically and horizontally."""
        return self.weights.shape[1], self.weights.shape[2]

    def parameters(self) -> list[Array] | None:
        """Weights and bias as f32; None if they are beyond it."""
        with np.errstate(over="ignore"):
            arrays = [array.astype(np.float32) for array in (self.weights, self.bias)]
        return arrays if all(np.isfinite(array).all() for array in arrays) else None


def compose(first: Kernel, second: Kernel) -> Kernel:
    """``second(first(x))`` as one kernel: taps lie at ``k1 * d1 + k2 * d2 * s1``, strides multiply.

    All padding moves to the input, ``p1 + s1 * p2``. There the second kernel sees what the first makes of zeros,
    not zeros, so that the result is exact only if along each axis the second pads nothing, or the first has a single
    tap and no bias.
    """
    groups = gcd(first.op.groups, second.op.groups)
    w1, w2 = (_blocks(k, groups) for k in (first, second))
    taps, dilations, places = [], [], []
    for k1, d1, k2, d2, s1 in zip(
        first.size, first.op.dilations, second.size, second.op.dilations, first.op.strides, strict=True
    ):
        step = d2 * s1
        dilation = gcd(d1 if k1 > 1 else 0, step if k2 > 1 else 0) or 1
        taps.append(((k1 - 1) * d1 + (k2 - 1) * step) // dilation + 1)
        dilations.append(dilation)
        places.append([_place(i * step, k1, d1, dilation) for i in range(k2)])
    weights = np.zeros((groups, w2.shape[1], *taps, w1.shape[-1]))
    for (i, rows), (j, columns) in product(enumerate(places[0]), enumerate(places[1])):
        weights[:, :, rows, columns] += np.einsum("gom,gmhwc->gohwc", w2[:, :, i, j], w1, optimize=True)
    bias = second.bias + np.einsum("gohwm,gm->go", w2, first.bias.reshape(groups, -1)).reshape(-1)
    (vertical, horizontal), (down, across) = first.op.strides, second.op.strides
    p, q = first.op.pads, second.op.pads
    top, left, bottom, right = (a + s * b for a, b, s in zip(p, q, (vertical, horizontal) * 2, strict=True))
    op = Conv2d(
        (vertical * down, horizontal * across),
        (top, left, bottom, right),
        (dilations[0], dilations[1]),
        groups,
    )
    unbiased = not np.any(first.bias)
    keeps = all((unbiased and first.size[i] == 1) or not (q[i] or q[2 + i]) for i in (0, 1))
    exact = first.exact and second.exact and keeps
    return Kernel(op, weights.reshape(-1, *weights.shape[2:]), bias, exact)


def parallel(first: Kernel, second: Kernel) -> Kernel:
    """``first(x) + second(x)`` as one kernel; both have the same strides and results of the same shape.

    Exact: padding beyond a kernel's own only ever meets taps of zero.
    """
    both = (first, second)
    groups = gcd(first.op.groups, second.op.groups)
    before, after, dilations, taps, places = [], [], [], [], []
    for axis in (0, 1):
        sizes, steps = [k.size[axis] for k in both], [k.op.dilations[axis] for k in both]
        before.append(max(k.op.pads[axis] for k in both))
        starts = [before[-1] - k.op.pads[axis] for k in both]
        ends = [start + (k - 1) * d for start, k, d in zip(starts, sizes, steps, strict=True)]
        after.append(max(k.op.pads[2 + axis] + max(ends) - end for k, end in zip(both, ends, strict=True)))
        dilation = gcd(*starts, *(d for k, d in zip(sizes, steps, strict=True) if k > 1)) or 1
        dilations.append(dilation)
        taps.append(max(ends) // dilation + 1)
        places.append([_place(*at, dilation) for at in zip(starts, sizes, steps, strict=True)])
    blocks = [_blocks(k, groups) for k in both]
    weights = np.zeros((*blocks[0].shape[:2], *taps, blocks[0].shape[-1]))
    for block, rows, columns in zip(blocks, *places, strict=True):
        weights[:, :, rows, columns] += block
    pads = (before[0], before[1], after[0], after[1])
    op = Conv2d(first.op.strides, pads, (dilations[0], dilations[1]), groups)
    exact = first.exact and second.exact
    return Kernel(op, weights.reshape(-1, *weights.shape[2:]), first.bias + second.bias, exact)


def _place(start: int, size: int, step: int, dilation: int) -> slice:
    """Where ``size`` taps, ``step`` elements apart, lie in a kernel of that dilation."""
    first = start // dilation
    each = max(1, step // dilation)
    return slice(first, first + (size - 1) * each + 1, each)


def _blocks(kernel: Kernel, groups: int) -> Array:
    """The weights with fewer, larger groups: [groups, O/groups, KH, KW, C/groups], zeros between the finer ones."""
    o, kh, kw, fine = kernel.weights.shape
    finer = kernel.op.groups // groups
    wide = np.zeros((groups, finer, o // kernel.op.groups, kh, kw, finer, fine))
    source = kernel.weights.reshape(groups, finer, -1, kh, kw, fine)
    for i in range(finer):
        wide[:, i, ..., i, :] = source[:, i]
    return wide.reshape(groups, o // groups, kh, kw, finer * fine)
