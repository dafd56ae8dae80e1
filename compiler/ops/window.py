"""Sliding windows over [N,H,W,C]: output sizes and padding. How ONNX spells them: ``window_axis``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.te_types import shape_of

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image.

    Attributes:
        strides: (vertical, horizontal) step.
        pads: elements added around the image: (top, left, bottom, right).
        dilations: (vertical, horizontal) distance of two taps.
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)

    def output(self, spatial: Pair, kernel: Pair) -> Pair:
        """Output height and width; TypeMismatchError for a window that makes no sense or fits nowhere."""
        if min(*self.strides, *self.dilations, *kernel) < 1 or min(self.pads) < 0:
            raise TypeMismatchError(
                f"kernel {kernel}, strides {self.strides} and dilations {self.dilations} must be positive "
                f"and pads {self.pads} not negative"
            )
        top, left, bottom, right = self.pads
        height = (spatial[0] + top + bottom - self.extent(kernel)[0]) // self.strides[0] + 1
        width = (spatial[1] + left + right - self.extent(kernel)[1]) // self.strides[1] + 1
        if height < 1 or width < 1:
            raise TypeMismatchError(f"empty output: kernel {kernel} on {spatial} with pads {self.pads}")
        return height, width

    def extent(self, kernel: Pair) -> Pair:
        """Height and width that a dilated kernel covers."""
        return self.dilations[0] * (kernel[0] - 1) + 1, self.dilations[1] * (kernel[1] - 1) + 1

    def meets_image(self, spatial: Pair, kernel: Pair) -> bool:
        """Whether every window has a tap inside the image, not only in the padding."""
        return bool(self.counts(spatial, kernel).all())

    def counts(self, spatial: Pair, kernel: Pair) -> Array:
        """i64 [OH, OW]: how many taps of each window lie inside the image."""
        rows, columns = (
            _taps_inside(*along)
            for along in zip(
                self.output(spatial, kernel),
                spatial,
                kernel,
                self.strides,
                self.pads[:2],
                self.dilations,
                strict=True,
            )
        )
        return np.outer(rows, columns)


def _taps_inside(output: int, size: int, kernel: int, stride: int, before: int, dilation: int) -> Array:
    """i64 [output]: how many taps of each window along one axis lie inside it."""
    taps = np.arange(output)[:, None] * stride + np.arange(kernel) * dilation - before
    inside: Array = ((taps >= 0) & (taps < size)).sum(axis=1)
    return inside


def padded(x: Array, pads: Pads, value: float = 0) -> Array:
    """[N,H,W,C] with ``value`` around it; pads = (top, left, bottom, right)."""
    top, left, bottom, right = pads
    if not any(pads):
        return x
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def windows(x: Array, kernel: Sequence[int], strides: Pair, dilations: Pair) -> Array:
    """A view [N,OH,OW,KH,KW,C] of the taps of each window of a padded [N,H,W,C]."""
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    every = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    return every[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]].transpose(
        0, 1, 2, 4, 5, 3
    )


def te_padded(x: Any, pads: Pads, value: float = 0) -> Any:
    """``padded`` as a tensor expression."""
    top, left, bottom, right = pads
    return te_pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), value)


def te_pad(x: Any, pads: Sequence[Pair], value: float = 0) -> Any:
    """Tensor expression of ``x`` with ``value`` around it; pads = (before, after) for each axis."""
    from dnncc.targets.lowering.api import const, te

    if not any(before or after for before, after in pads):
        return x
    shape = shape_of(x)

    def element(*index: Any) -> Any:
        inside = []
        source = []
        for i, size, (before, after) in zip(index, shape, pads, strict=True):
            source.append(i - before if before else i)
            if before:
                inside.append(i >= before)
            if after:
                inside.append(i < before + size)
        return te.if_then_else(te.all(*inside), x[tuple(source)], const(value, str(x.dtype)))

    outer = tuple(before + size + after for size, (before, after) in zip(shape, pads, strict=True))
    return te.compute(outer, element, name="padded")
