"""Which tile a convolution is computed with: sums that fill the registers, with little left over at the borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dnncc.runtime.cpus import Cpu

if TYPE_CHECKING:
    from dnncc.targets.lowering.cpu.gemm import Shape

_NEAR = 128 * 1024
"""Bytes of weights that stay in a core's second-level cache beside the activations."""
_FIRST = 24 * 1024
"""Bytes of a block of weights that stay in the first-level cache."""
_STREAM = 14.0
"""Bytes of weights per cycle that come from the second-level cache."""
_EPILOGUE = 6.0
"""Cycles of storing, rescaling and writing one vector of sums."""


@dataclass(frozen=True)
class Tiling:
    """A tile and the order of the loops around it.

    Attributes:
        lines, pixels: its pixels: several lines only where a tile takes all of each.
        vectors: its columns, in vectors.
        channels: its columns, in channels.
        channels_outside: whether blocks of channels are the outermost loop, so that a block's weights stay near.
    """

    lines: int
    pixels: int
    vectors: int
    channels: int
    channels_outside: bool


def choose(cpu: Cpu, form: str, shape: Shape, words: int, copied: bool) -> Tiling:
    """The tile that a simple model of the core predicts to be the fastest."""
    options = candidates(cpu, form, shape, words)
    return min(options, key=lambda t: predicted(cpu, form, shape, words, copied, t))


def candidates(cpu: Cpu, form: str, shape: Shape, words: int) -> list[Tiling]:
    """Every tile whose sums fit the registers beside the weights and an activation."""
    weight_bytes = shape.o * shape.kh * shape.taps * words * 4
    outside = weight_bytes > _NEAR and shape.oh * shape.ow > 1
    most = -(-shape.o // cpu.lanes)
    # PMADDWD needs a register for each product before it is added.
    spare = 2 if form == "i16x2" else 1
    return [
        Tiling(lines, pixels, vectors, vectors * cpu.lanes, outside)
        for vectors in range(1, min(most, 8) + 1)
        for pixels in range(1, min(shape.ow, cpu.registers) + 1)
        for lines in range(1, (min(shape.oh, cpu.registers) if pixels == shape.ow else 1) + 1)
        if lines * pixels * vectors + vectors + spare <= cpu.registers
    ]


def predicted(cpu: Cpu, form: str, shape: Shape, words: int, copied: bool, t: Tiling) -> float:
    """Cycles of the whole convolution, relative to those of other tiles."""
    steps = shape.kh * shape.taps * words
    rows = t.lines * t.pixels
    per_step = rows * t.vectors * (2 if form == "i16x2" else 1) / 2
    # A step takes a sum four cycles, two of which are computed in each.
    latency = 4.0
    loads = (rows + t.vectors * (2.5 if form == "i16x2" else 2)) / 2
    far = steps * t.vectors * cpu.lanes * 4 > _FIRST
    stream = t.vectors * cpu.lanes * 4 / _STREAM if far else 0.0
    tiles = shape.n * -(-shape.oh // t.lines) * -(-shape.ow // t.pixels) * -(-shape.o // t.channels)
    surplus = 1.0 if copied or not (shape.ow % t.pixels or shape.oh % t.lines) else 1.05
    return (
        surplus * tiles * (steps * max(per_step, loads, latency, stream) + _EPILOGUE * rows * t.vectors + 10)
    )
