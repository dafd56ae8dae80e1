"""Sliding window: an image comes in pixel after pixel, for each output pixel all its taps go out.

A ring buffer holds the pixels that are still needed. An iteration reads a word if the output pixel ``ahead`` places
later needs it, and writes a tap if all pixels of the present window are there: both at once, so that reading hides
behind writing, and no earlier than necessary, so that the producer need not be far ahead.
Order of the taps: channel folds outside, taps inside, which depthwise layers need and others do not mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.window import Window as Geometry
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, logic, memory
from dnncc.targets.hls.stages.base import Schedule, Stage

MARGIN = 4
"""Iterations between the write of a word into the buffer and its first read: the memory's pipeline."""
LATENCY = 5


@dataclass(frozen=True)
class Sliding:
    """A window over an image.

    Attributes:
        height, width, channels: of the image.
        kernel: (height, width).
        geometry: strides, pads and dilations.
        filler: what stands in the padding.
    """

    height: int
    width: int
    channels: int
    kernel: tuple[int, int]
    geometry: Geometry
    filler: int = 0

    @property
    def output(self) -> tuple[int, int]:
        return self.geometry.output((self.height, self.width), self.kernel)

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def trivial(self) -> bool:
        """Each window is the next pixel: no stage is needed."""
        return self.kernel == (1, 1) and self.geometry.strides == (1, 1) and not any(self.geometry.pads)

    @property
    def whole(self) -> bool:
        """The only window is the whole image, in order."""
        return self.kernel == (self.height, self.width) and not any(self.geometry.pads)


@dataclass(frozen=True, eq=False)
class Progress:
    """When a window stage reads and writes.

    Attributes:
        ahead: by how many output pixels reading runs ahead.
        depth: words of the ring buffer, a power of two.
        iterations: per frame.
        reads, writes: the iteration of each word.
    """

    ahead: int
    depth: int
    iterations: int
    reads: Array
    writes: Array


@cache
def progress(shape: Sliding, folds: int) -> Progress:
    """Of an image whose pixels come as ``folds`` words, with the least ``ahead`` that costs no time to speak of."""
    width = shape.output[1]
    tries = sorted({1, 2, 3, 4, *(max(1, width * n // 4) for n in range(1, 5)), width + 1, width + 2})
    found = [_progress(shape, folds, ahead) for ahead in tries]
    best = min(p.iterations for p in found)
    return next(p for p in found if p.iterations <= best + best // 200)


def _progress(shape: Sliding, folds: int, ahead: int) -> Progress:
    need, first = _needs(shape, folds)
    total, pixels, burst = shape.height * shape.width * folds, len(need), shape.taps * folds
    wanted = np.minimum(need + MARGIN, total)
    limit = np.full(pixels, total, np.int64)
    limit[: max(pixels - ahead, 0)] = need[ahead:]
    limit = np.maximum(limit, wanted)
    limit[-1] = total
    reads, writes, time, read, depth = [], [], 0, 0, 1
    for pixel in range(pixels):
        waiting = max(0, int(wanted[pixel]) - read)
        beside = max(0, min(burst, int(limit[pixel]) - read - waiting))
        reads.append(np.arange(time, time + waiting + beside))
        read += waiting + beside
        time += waiting
        writes.append(np.arange(time, time + burst))
        time += burst
        depth = max(depth, read - int(first[pixel]))
    reads.append(np.arange(time, time + total - read))
    return Progress(
        ahead,
        1 << (depth - 1).bit_length(),
        time + total - read,
        np.concatenate(reads),
        np.concatenate(writes),
    )


def _needs(shape: Sliding, folds: int) -> tuple[Array, Array]:
    """By output pixel: how many words must have been read, and the first word that it or a later one uses."""
    (sh, sw), (dh, dw), (top, left, _, _) = (
        shape.geometry.strides,
        shape.geometry.dilations,
        shape.geometry.pads,
    )
    oh, ow = shape.output
    rows, columns = np.arange(oh)[:, None] * sh - top, np.arange(ow)[None, :] * sw - left
    last_row = np.clip(rows + (shape.kernel[0] - 1) * dh, 0, shape.height - 1)
    last_column = np.clip(columns + (shape.kernel[1] - 1) * dw, 0, shape.width - 1)
    need = (last_row * shape.width + last_column + 1) * folds
    first = (np.maximum(rows, 0) * shape.width + np.maximum(columns, 0)) * folds
    later = np.minimum.accumulate(first.reshape(-1)[::-1])[::-1]
    return need.reshape(-1), later


@dataclass(eq=False)
class Window(Stage):
    """The stage. One input and one output of the same lanes."""

    kind: ClassVar[str] = "window"
    shape: Sliding = Sliding(1, 1, 1, (1, 1), Geometry())

    @property
    def folds(self) -> int:
        return self.shape.channels // self.inputs[0].lanes

    def schedule(self) -> Schedule:
        p = progress(self.shape, self.folds)
        return Schedule(p.iterations, (p.reads,), (p.writes,), LATENCY)

    def resources(self, part: Part) -> Resources:
        return window_resources(self.shape, self.inputs[0].lanes, self.inputs[0].wire.number.bits)

    def call(self) -> str:
        s, p = self.shape, progress(self.shape, self.folds)
        (sh, sw), (dh, dw), (top, left, _, _) = s.geometry.strides, s.geometry.dilations, s.geometry.pads
        shape = f"{s.height}, {s.width}, {self.folds}, {s.kernel[0]}, {s.kernel[1]}, {sh}, {sw}, {dh}, {dw}"
        oh, ow = s.output
        more = f"{top}, {left}, {oh}, {ow}, {p.ahead}, {MARGIN}, {p.depth}, {p.iterations}, {s.filler}"
        return f"dnncc::window<{shape}, {more}>({self.streams()})"


def window_cycles(shape: Sliding, lanes: int) -> int:
    return progress(shape, shape.channels // lanes).iterations


def window_resources(shape: Sliding, lanes: int, bits: int) -> Resources:
    """The ring buffer in whichever memory is cheaper, counters and comparisons."""
    width, depth = lanes * bits, progress(shape, shape.channels // lanes).depth
    ram, lutram = (memory(width, depth, style, rom=False) for style in ("bram", "lutram"))
    counters = 8 * max(shape.height * shape.width * shape.channels // lanes, 2).bit_length()
    return logic(counters + width, 2 * width) + (lutram if lutram.lut <= 256 * ram.bram18 else ram)


def buffer_style(shape: Sliding, lanes: int, bits: int) -> str:
    """Where ``window_resources`` puts the buffer."""
    return "bram" if window_resources(shape, lanes, bits).bram18 else "lutram"
