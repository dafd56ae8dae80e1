"""Which tile a convolution is computed with: sums that fill the registers, with little left over at the borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dnncc.runtime.cpus import Cpu
from dnncc.targets.cpu.tuned import Entry

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


@dataclass(frozen=True)
class Shape:
    """A convolution; a pointwise one, or a product, over P pixels is one row of P columns."""

    n: int
    h: int
    w: int
    c: int
    oh: int
    ow: int
    o: int
    kh: int
    kw: int
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def taps(self) -> int:
        """Runs of channels per row of the kernel: one where the taps are neighbours, too."""
        return 1 if self.dilations[1] == 1 else self.kw

    @property
    def run(self) -> int:
        """Activations that follow one another in memory."""
        return self.kw * self.c // self.taps


@dataclass(frozen=True)
class Problem:
    """What the choice of a tile depends on.

    Attributes:
        cpu: the level.
        form: how numbers are multiplied, see ``dnncc_cpu.h``.
        shape: of the convolution.
        words: groups of activations per run.
        copied: whether activations are copied into rows whatever the tile.
    """

    cpu: Cpu
    form: str
    shape: Shape
    words: int
    copied: bool

    @property
    def key(self) -> str:
        """The problem as text: what is measured for it holds for all that are equal."""
        s = self.shape
        sizes = f"{s.n}x{s.h}x{s.w}x{s.c} -> {s.oh}x{s.ow}x{s.o}, kernel {s.kh}x{s.kw}"
        window = f"strides {s.strides}, dilations {s.dilations}, pads {s.pads}"
        return f"{self.cpu.name} {self.form}{' copied' if self.copied else ''}: {sizes}, {window}"

    def choose(self, tuned: Mapping[str, Entry]) -> Tiling:
        """The tile that was measured to be the fastest, or else is predicted to be."""
        entry = tuned.get(self.key)
        if entry is None:
            return self.ranked()[0]
        return next((t for t in self.ranked() if Entry.of(t, entry.microseconds) == entry), self.ranked()[0])

    def ranked(self) -> list[Tiling]:
        """Every tile whose sums fit the registers beside weights and an activation, the best predicted one first."""
        shape, lanes, registers = self.shape, self.cpu.lanes, self.cpu.registers
        most = -(-shape.o // lanes)
        # PMADDWD needs a register for each product before it is added.
        spare = 2 if self.form == "i16x2" else 1
        found = [
            Tiling(lines, pixels, vectors, vectors * lanes, outside)
            for vectors in range(1, min(most, 8) + 1)
            for pixels in range(1, min(shape.ow, registers) + 1)
            for lines in range(1, (min(shape.oh, registers) if pixels == shape.ow else 1) + 1)
            if lines * pixels * vectors + vectors + spare <= registers
            for outside in (False, True)
        ]
        return sorted(found, key=self.predicted)

    def predicted(self, t: Tiling) -> float:
        """Cycles of the whole convolution, relative to those of other tiles, by a simple model of a core."""
        weight_bytes = self.shape.o * self.shape.kh * self.shape.taps * self.words * 4
        outside = weight_bytes > _NEAR and self.shape.oh * self.shape.ow > 1
        order = 1.0 if t.channels_outside == outside else 1.02
        steps = self.shape.kh * self.shape.taps * self.words
        rows = t.lines * t.pixels
        per_step = rows * t.vectors * (2 if self.form == "i16x2" else 1) / 2
        # A step takes a sum four cycles, two of which are computed in each.
        latency = 4.0
        loads = (rows + t.vectors * (2.5 if self.form == "i16x2" else 2)) / 2
        far = steps * t.vectors * self.cpu.lanes * 4 > _FIRST
        stream = t.vectors * self.cpu.lanes * 4 / _STREAM if far else 0.0
        tiles = (
            self.shape.n
            * -(-self.shape.oh // t.lines)
            * -(-self.shape.ow // t.pixels)
            * -(-self.shape.o // t.channels)
        )
        surplus = 1.0 if self.copied or not (self.shape.ow % t.pixels or self.shape.oh % t.lines) else 1.05
        return order * (
            surplus
            * tiles
            * (steps * max(per_step, loads, latency, stream) + _EPILOGUE * rows * t.vectors + 10)
        )
