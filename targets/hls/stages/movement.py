"""Stages that compute nothing: other word widths, copies for several readers, concatenation, and the border."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.types import DType
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, logic
from dnncc.targets.hls.stages.base import (
    Choice,
    Layer,
    Schedule,
    Stage,
    Stream,
    Wire,
    divisors,
    steps,
)

LATENCY = 1
AXIS_LATENCY = 2
AXIS_BITS = 512
"""The widest AXI stream that is used."""


@dataclass(eq=False)
class Converter(Stage):
    """Words of other lanes, of which one number divides the other."""

    kind: ClassVar[str] = "width converter"

    def schedule(self) -> Schedule:
        a, b = self.inputs[0], self.outputs[0]
        if a.lanes < b.lanes:
            ratio = b.lanes // a.lanes
            return Schedule(a.words, (steps(a.words),), (steps(b.words, ratio - 1, ratio),), LATENCY)
        return Schedule(b.words, (steps(a.words, 0, a.lanes // b.lanes),), (steps(b.words),), LATENCY)

    def resources(self, part: Part) -> Resources:
        return converter_resources(self.inputs[0].lanes, self.outputs[0].lanes, self.inputs[0].wire)

    def call(self) -> str:
        a, b = self.inputs[0], self.outputs[0]
        name, words = ("widen", a.words) if a.lanes < b.lanes else ("narrow", b.words)
        return f"dnncc::{name}<{words}>({self.streams()})"


def conversion(wire: Wire, out: int, into: int) -> tuple[int, Resources]:
    """Cycles and resources of what stands between ``out`` and ``into`` lanes: nothing, one converter, or two over
    their greatest common divisor.
    """
    cycles, needed = 0, Resources()
    for a, b in conversion_steps(out, into):
        cycles = max(cycles, wire.elements // min(a, b))
        needed += converter_resources(a, b, wire)
    return cycles, needed


def conversion_steps(out: int, into: int) -> list[tuple[int, int]]:
    """The lanes of each converter."""
    if out == into:
        return []
    if out % into == 0 or into % out == 0:
        return [(out, into)]
    middle = math.gcd(out, into)
    return [(out, middle), (middle, into)]


def converter_resources(a: int, b: int, wire: Wire) -> Resources:
    width = max(a, b) * wire.number.bits
    return logic(width, width)


@dataclass(eq=False)
class Fork(Stage):
    """Each word to every reader."""

    kind: ClassVar[str] = "fork"

    def schedule(self) -> Schedule:
        words = steps(self.inputs[0].words)
        return Schedule(len(words), (words,), (words,) * len(self.outputs), LATENCY)

    def resources(self, part: Part) -> Resources:
        return fork_resources(self.inputs[0].bits)

    def call(self) -> str:
        return f"dnncc::fork<{self.inputs[0].words}>({self.streams()})"


def fork_resources(bits: int) -> Resources:
    return logic(10, bits)


@dataclass(frozen=True, eq=False)
class ConcatLayer(Layer):
    """Operands one after the other along the last axis.

    Attributes:
        parts: channels of each operand.
    """

    parts: tuple[int, ...]

    def choices(self, part: Part) -> Iterable[Choice]:
        common = math.gcd(*self.parts)
        for lanes in divisors(common):
            cycles = self.output.elements // lanes
            needed = logic(len(self.inputs) * lanes * self.output.number.bits)
            yield Choice({"lanes": lanes}, (lanes,) * len(self.inputs), lanes, cycles, needed)

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        return [Concat(f"{self.name}_concat", self.node, list(inputs), [output], self.parts)]


@dataclass(eq=False)
class Concat(Stage):
    """For each position the words of one operand after the other."""

    kind: ClassVar[str] = "concat"
    parts: tuple[int, ...] = ()

    @property
    def _folds(self) -> list[int]:
        return [part // self.outputs[0].lanes for part in self.parts]

    def schedule(self) -> Schedule:
        folds = self._folds
        whole = sum(folds)
        positions = steps(self.outputs[0].words // whole, 0, whole)[:, None]
        starts = np.cumsum([0, *folds])
        reads = tuple(
            (positions + steps(count, int(start))[None, :]).reshape(-1)
            for count, start in zip(folds, starts[:-1], strict=True)
        )
        words = self.outputs[0].words
        return Schedule(words, reads, (steps(words),), LATENCY)

    def resources(self, part: Part) -> Resources:
        return logic(len(self.inputs) * self.outputs[0].bits)

    def definition(self) -> str:
        output, folds = self.outputs[0], self._folds
        parameters = [f"dnncc::stream<{s.c_word}> &in{n}" for n, s in enumerate(self.inputs)]
        lines, start = [], 0
        for n, count in enumerate(folds):
            start += count
            lines.append(
                f"    {'else ' if n else ''}{f'if (fold < {start}) ' if n < len(folds) - 1 else ''}"
                f"y = dnncc::cast<{output.c_word}>(in{n}.read());"
            )
        reads = "\n".join(lines)
        return (
            f"static void {self.name}({', '.join(parameters)}, dnncc::stream<{output.c_word}> &out) {{\n"
            f"  int fold = 0;\n  for (int i = 0; i < {output.words}; ++i) {{\n"
            f"#pragma HLS pipeline II=1 style=flp\n    {output.c_word} y;\n{reads}\n    out.write(y);\n"
            f"    fold = fold == {start - 1} ? 0 : fold + 1;\n  }}\n}}\n"
        )

    def call(self) -> str:
        return f"{self.name}({self.streams()})"


@dataclass(frozen=True, eq=False)
class BorderLayer(Layer):
    """Where a tensor comes in or goes out as an AXI stream of its elements' memory type.

    Attributes:
        dtype: the type in memory.
        incoming: it is an input.
    """

    dtype: DType
    incoming: bool

    def choices(self, part: Part) -> Iterable[Choice]:
        wire = self.output if self.incoming else self.inputs[0]
        for lanes in divisors(wire.elements):
            width = lanes * 8 * self.dtype.bytes
            # Widths of AXI streams that DMA engines take.
            if width > AXIS_BITS or width & (width - 1):
                continue
            cycles = wire.elements // lanes
            into = () if self.incoming else (lanes,)
            yield Choice({"lanes": lanes}, into, lanes, cycles, logic(2 * width, 2 * width))

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        kind = "source" if self.incoming else "sink"
        return [Border(f"{self.name}_{kind}", self.node, list(inputs), [output], self.dtype, self.incoming)]


@dataclass(eq=False)
class Border(Stage):
    """From an AXI stream, or to one; the stream of AXI words counts as an input or output like any other."""

    kind: ClassVar[str] = "border"
    dtype: DType = DType.I8
    incoming: bool = True

    @property
    def axis(self) -> Stream:
        """The AXI stream."""
        return self.inputs[0] if self.incoming else self.outputs[0]

    @property
    def inner(self) -> Stream:
        return self.outputs[0] if self.incoming else self.inputs[0]

    def schedule(self) -> Schedule:
        words = steps(self.inner.words)
        return Schedule(len(words), (words,), (words,), AXIS_LATENCY)

    def resources(self, part: Part) -> Resources:
        width = self.inner.lanes * 8 * self.dtype.bytes
        return logic(2 * width, 2 * width)

    def call(self) -> str:
        bits = 8 * self.dtype.bytes
        if self.incoming:
            return f"dnncc::source<{self.inner.words}, {bits}>({self.streams()})"
        signed = "true" if self.dtype.is_signed else "false"
        return f"dnncc::sink<{self.inner.words}, {bits}, {signed}>({self.streams()})"
