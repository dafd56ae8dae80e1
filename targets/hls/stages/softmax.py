"""Softmax over the last axis: three passes over a row, then a row's results; one element a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.softmax_int import HEADROOM, SoftmaxInt, exponent_bits
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, distributed_ram_lut, distributed_rom_lut, logic
from dnncc.targets.hls.stages.base import (
    Choice,
    Layer,
    Number,
    Rom,
    Schedule,
    Stage,
    Stream,
    steps,
)

LATENCY = 40
"""The chain of the reciprocal: seven products of 32 x 32 bits."""
_PRODUCTS = 4


@dataclass(frozen=True, eq=False)
class SoftmaxLayer(Layer):
    """Integer softmax of ``rows`` rows, see ``dnncc.ops.softmax_int``."""

    op: SoftmaxInt
    table: Array

    def choices(self, part: Part) -> Iterable[Choice]:
        cycles = 3 * self.output.elements
        yield Choice({}, (1,), 1, cycles, softmax_resources(self.output.channels, self.table))

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        name = f"{self.name}_softmax"
        return [Softmax(name, self.node, list(inputs), [output], self.op, self.table)]


@dataclass(eq=False)
class Softmax(Stage):
    """The stage. An iteration belongs to one of three passes: read and find the largest, sum, write."""

    kind: ClassVar[str] = "softmax"
    op: SoftmaxInt = field(default_factory=SoftmaxInt)
    table: Array = field(default_factory=lambda: np.zeros(1, np.int32))

    def schedule(self) -> Schedule:
        wire = self.outputs[0].wire
        length, rows = wire.channels, wire.elements // wire.channels
        starts = steps(rows, 0, 3 * length)[:, None]
        reads = (starts + steps(length)[None, :]).reshape(-1)
        writes = (starts + steps(length, 2 * length)[None, :]).reshape(-1)
        return Schedule(3 * wire.elements, (reads,), (writes,), LATENCY)

    def resources(self, part: Part) -> Resources:
        return softmax_resources(self.outputs[0].wire.channels, self.table)

    def roms(self) -> list[Rom]:
        return [Rom("table", Number.between(0, int(self.table.max())), self.table)]

    def call(self) -> str:
        wire = self.outputs[0].wire
        rows = wire.elements // wire.channels
        headroom = HEADROOM[self.op.dtype]
        numbers = f"{rows}, {wire.channels}, {len(self.table)}, {exponent_bits(wire.channels)}"
        return (
            f"dnncc::softmax<{numbers}, {self.op.dtype.max}, {headroom}>"
            f"({self.streams()}, {self.rom_name('table')})"
        )


def softmax_resources(length: int, table: Array) -> Resources:
    """Its products share four multipliers of 32 x 32 bits, four DSP blocks each."""
    bits = int(table.max()).bit_length()
    memories = distributed_rom_lut(bits, len(table)) + distributed_ram_lut(bits, length)
    return logic(20 * 32 + 2 * memories, 10 * 32) + Resources(dsp=4 * _PRODUCTS)
