"""Matrix-vector unit: convolutions (behind a window) and fully connected layers, PE rows by SIMD columns a cycle.

Folding as in FINN (Umuroglu et al. 2017, section 4): a vector takes (rows / PE) * (columns / SIMD) cycles.

Row after row, a unit reads its vector at once and gives its sums evenly; column after column it reads evenly and gives
all sums at the end. Where the vector is the whole frame (fully connected layers), units of both kinds in turn need the
least FIFOs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.ranges import Interval
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, adder_tree_lut, distributed_ram_lut, logic, memory
from dnncc.targets.hls.stages.arithmetic import C_STYLES, STYLES, multipliers, product_bits, shares
from dnncc.targets.hls.stages.base import (
    Choice,
    Layer,
    Number,
    Rom,
    Schedule,
    Stage,
    Stream,
    divisors,
    steps,
)
from dnncc.targets.hls.stages.window import Sliding, Window, window_cycles, window_resources

MEMORIES = ("bram", "lutram")
ROWS, COLUMNS = "rows", "columns"


@dataclass(frozen=True, eq=False)
class Weights:
    """A matrix of weights.

    Attributes:
        data: i8 [rows, taps, channels].
        bias: i32 [rows].
        input: what the vector's elements can be.
        accumulator: what a partial sum can be.
    """

    data: Array
    bias: Array
    input: Interval
    accumulator: Interval

    @property
    def rows(self) -> int:
        return int(self.data.shape[0])

    @property
    def taps(self) -> int:
        return int(self.data.shape[1])

    @property
    def channels(self) -> int:
        return int(self.data.shape[2])

    @property
    def interval(self) -> Interval:
        return Interval.of(int(self.data.min()), int(self.data.max()))

    @property
    def number(self) -> Number:
        return Number.between(min(self.interval.min, 0), self.interval.max)


_NO_WEIGHTS = Weights(
    np.zeros((1, 1, 1), np.int8), np.zeros(1, np.int32), Interval.of(0, 0), Interval.of(0, 0)
)


def latency_of(simd: int) -> int:
    """Read, multiply, an adder tree of one level a cycle, accumulate, write."""
    return 5 + max(simd - 1, 0).bit_length()


@dataclass(frozen=True, eq=False)
class MatrixLayer(Layer):
    """A convolution without groups, or a fully connected layer.

    Attributes:
        sliding: the convolution's window, None for a fully connected layer.
        vectors: per frame.
        weights: the matrix.
    """

    sliding: Sliding | None
    vectors: int
    weights: Weights

    @property
    def window(self) -> Sliding | None:
        """The window, if it is not just the next pixel."""
        return None if self.sliding is None or self.sliding.trivial else self.sliding

    def choices(self, part: Part) -> Iterable[Choice]:
        w = self.weights
        styles = [s for s in STYLES if s != "dsp2" or shares(w.input, w.interval, part)]
        for simd in divisors(w.channels):
            slide, needed = 0, Resources()
            if self.window is not None:
                slide = window_cycles(self.window, simd)
                needed = window_resources(self.window, simd, self.inputs[0].number.bits)
            for pe in divisors(w.rows):
                folds = (w.rows // pe) * (w.taps * w.channels // simd)
                cycles = max(slide, self.vectors * folds)
                for style in styles:
                    if style == "dsp2" and pe == 1:
                        continue
                    for store in MEMORIES:
                        found = needed + unit_resources(
                            w, self.inputs[0].number, simd, pe, style, store, part
                        )
                        config: dict[str, int | str] = {
                            "simd": simd,
                            "pe": pe,
                            "multiply": style,
                            "memory": store,
                        }
                        yield Choice(config, (simd,), pe, cycles, found)

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        simd = int(config["simd"])
        (source,) = inputs
        found: list[Stage] = []
        if self.window is not None:
            slid = Stream(
                f"{self.name}_taps",
                source.wire,
                simd,
                True,
                self.vectors * self.weights.taps * self.weights.channels // simd,
            )
            found.append(Window(f"{self.name}_window", self.node, [source], [slid], self.window))
            source = slid
        unit = Matrix(
            f"{self.name}_matrix",
            self.node,
            [source],
            [output],
            self.vectors,
            self.weights,
            str(config["multiply"]),
            str(config["memory"]),
            str(config.get("order", ROWS)),
        )
        return [*found, unit]


@dataclass(eq=False)
class Matrix(Stage):
    """The unit alone: words of SIMD elements in, words of PE sums out."""

    kind: ClassVar[str] = "matrix"
    vectors: int = 1
    weights: Weights = _NO_WEIGHTS
    multiply: str = "dsp"
    memory: str = "bram"
    order: str = ROWS

    @property
    def simd(self) -> int:
        return self.inputs[0].lanes

    @property
    def pe(self) -> int:
        return self.outputs[0].lanes

    @property
    def column_folds(self) -> int:
        return self.weights.taps * self.weights.channels // self.simd

    @property
    def row_folds(self) -> int:
        return self.weights.rows // self.pe

    def schedule(self) -> Schedule:
        sf, nf = self.column_folds, self.row_folds
        starts = steps(self.vectors, 0, sf * nf)[:, None]
        if self.order == ROWS:
            taken, given = steps(sf), steps(nf, sf - 1, sf)
        else:
            taken, given = steps(sf, 0, nf), steps(nf, (sf - 1) * nf)
        reads, writes = ((starts + at[None, :]).reshape(-1) for at in (taken, given))
        return Schedule(self.vectors * sf * nf, (reads,), (writes,), latency_of(self.simd))

    def resources(self, part: Part) -> Resources:
        number = self.inputs[0].wire.number
        return unit_resources(
            self.weights, number, self.simd, self.pe, self.multiply, self.memory, part, self.order
        )

    def roms(self) -> list[Rom]:
        w = self.weights
        nf, pe, simd, folds = self.row_folds, self.pe, self.simd, w.channels // self.simd
        # [rows, taps, channels] -> [row fold, channel fold, tap, PE, SIMD]: the order in which a window sends.
        data = w.data.reshape(nf, pe, w.taps, folds, simd).transpose(0, 3, 2, 1, 4)
        data = data.reshape(nf, self.column_folds, pe, simd)
        if self.order == COLUMNS:
            data = data.transpose(1, 0, 2, 3)
        bias = Number.between(min(int(w.bias.min()), 0), int(w.bias.max()))
        return [
            Rom("weights", w.number, data.reshape(nf * self.column_folds, pe, simd)),
            Rom("bias", bias, w.bias.reshape(nf, pe)),
        ]

    def call(self) -> str:
        total = Number.of(self.weights.accumulator)
        product = product_bits(self.weights.input, self.weights.interval)
        shape = f"{self.vectors}, {self.column_folds}, {self.row_folds}"
        types = f"{total.c_type}, {product}, {self.weights.number.signed_bits}, {C_STYLES[self.multiply]}"
        roms = f"{self.rom_name('weights')}, {self.rom_name('bias')}"
        name = "matrix" if self.order == ROWS else "matrix_by_columns"
        return f"dnncc::{name}<{shape}, {types}>({self.streams()}, {roms})"


def unit_resources(
    w: Weights, number: Number, simd: int, pe: int, multiply: str, store: str, part: Part, order: str = ROWS
) -> Resources:
    """Of one unit without its window and FIFOs."""
    columns = w.taps * w.channels
    sf, nf = columns // simd, w.rows // pe
    product, total = product_bits(w.input, w.interval), w.accumulator.bits
    adders = pe * (adder_tree_lut(simd, product) + total)
    held = distributed_ram_lut(simd * number.bits, sf) if nf > 1 else 0
    if order == COLUMNS:
        held = distributed_ram_lut(pe * total, nf)
    found = multipliers(multiply, pe * simd, (pe + 1) // 2 * simd, w.input, w.interval, part)
    found += logic(found.lut + adders + held, pe * total) + Resources(lut=-found.lut)
    found += memory(pe * simd * w.number.bits, sf * nf, store, rom=True)
    return found + memory(
        pe * Number.between(int(w.bias.min()), int(w.bias.max())).bits, nf, "lutram", rom=True
    )
