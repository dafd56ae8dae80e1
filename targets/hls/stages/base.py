"""What every stage is: a process that reads words from streams and writes words to streams, one iteration a cycle.

A *wire* carries a tensor, element after element in row-major order. A *layer* is what the graph wants done; folding
chooses how many elements it takes and gives per cycle, which makes it one or two *stages* with *streams* between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.ranges import Interval
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources


@dataclass(frozen=True)
class Number:
    """The narrowest integer type that holds what can occur: ``ap_int`` or ``ap_uint``."""

    bits: int
    signed: bool

    @staticmethod
    def of(interval: Interval) -> Number:
        if interval.min < 0:
            return Number(interval.bits, True)
        return Number(max(interval.max.bit_length(), 1), False)

    @staticmethod
    def between(low: int, high: int) -> Number:
        return Number.of(Interval.of(low, high))

    @property
    def signed_bits(self) -> int:
        """Bits of a signed type that holds it."""
        return self.bits if self.signed else self.bits + 1

    @property
    def c_type(self) -> str:
        return f"{'ap_int' if self.signed else 'ap_uint'}<{self.bits}>"


@dataclass(frozen=True, eq=False)
class Wire:
    """A tensor on its way.

    Attributes:
        name: of the graph's value.
        number: the type of an element, from the proven interval.
        elements: per frame, in row-major order.
        channels: the last axis: what lanes divide.
    """

    name: str
    number: Number
    elements: int
    channels: int


@dataclass(eq=False)
class Stream:
    """A FIFO between two stages.

    Attributes:
        name: its C++ name.
        wire: what it carries.
        lanes: elements per word.
        internal: its order is not the tensor's (the windows of a convolution), so that it is not compared.
        words: per frame.
        depth: words that it can hold; chosen by the token-cycle simulation.
    """

    name: str
    wire: Wire
    lanes: int
    internal: bool = False
    words: int = 0
    depth: int = 2

    def __post_init__(self) -> None:
        self.words = self.words or self.wire.elements // self.lanes

    @property
    def bits(self) -> int:
        """Of a word."""
        return self.lanes * self.wire.number.bits

    @property
    def c_word(self) -> str:
        return f"dnncc::vec<{self.wire.number.c_type}, {self.lanes}>"


@dataclass(frozen=True, eq=False)
class Schedule:
    """What a stage does in which of a frame's iterations, one of which is started per cycle.

    The pipelines are rewound: the next frame's first iteration follows the last one of a frame without a gap.

    Attributes:
        iterations: per frame.
        reads: per input stream the iteration that reads each word, ascending.
        writes: per output stream the iteration that writes each word, ascending.
        latency: cycles from the start of an iteration to its write.
    """

    iterations: int
    reads: tuple[Array, ...]
    writes: tuple[Array, ...]
    latency: int


@dataclass(frozen=True)
class Rom:
    """A constant array of the generated code.

    Attributes:
        suffix: of its name, after the stage's.
        number: the type of its elements.
        data: any shape.
    """

    suffix: str
    number: Number
    data: Array


@dataclass(frozen=True)
class Choice:
    """One way to fold a layer.

    Attributes:
        config: what was chosen, such as ``{"pe": 4, "simd": 8}``.
        lanes_in: elements per word of each input.
        lanes_out: elements per word of the output.
        cycles: per frame, of its slowest stage.
        resources: of all its stages, without the FIFOs between layers.
    """

    config: Mapping[str, int | str]
    lanes_in: tuple[int, ...]
    lanes_out: int
    cycles: int
    resources: Resources


@dataclass(eq=False)
class Stage:
    """One process of the pipeline. Subclasses say what it does.

    Attributes:
        name: its C++ name.
        node: the graph's node that it works for.
        inputs, outputs: its streams.
    """

    kind: ClassVar[str] = ""
    name: str
    node: str
    inputs: Sequence[Stream] = field(default_factory=list)
    outputs: Sequence[Stream] = field(default_factory=list)

    def schedule(self) -> Schedule:
        """Its iterations; exact."""
        raise NotImplementedError

    def resources(self, part: Part) -> Resources:
        """Without its FIFOs; analytical."""
        raise NotImplementedError

    def roms(self) -> list[Rom]:
        """Its constants."""
        return []

    def definition(self) -> str:
        """C++ that defines its function where the library has none."""
        return ""

    def call(self) -> str:
        """C++ that calls it."""
        raise NotImplementedError

    def rom_name(self, suffix: str) -> str:
        return f"{self.name}_{suffix}"

    def streams(self) -> str:
        """Its streams as arguments."""
        return ", ".join(stream.name for stream in (*self.inputs, *self.outputs))


@dataclass(frozen=True, eq=False)
class Layer:
    """What the graph wants done, before it is folded. Subclasses say what it is.

    Attributes:
        name: prefix of its C++ names, unique.
        node: the graph's node.
        inputs, output: the wires.
    """

    name: str
    node: str
    inputs: tuple[Wire, ...]
    output: Wire

    def choices(self, part: Part) -> Iterable[Choice]:
        """Every way to fold it."""
        raise NotImplementedError

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        """Its stages in that folding, connected to streams of the folding's lanes."""
        raise NotImplementedError


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def steps(count: int, first: int = 0, every: int = 1) -> Array:
    """The iterations ``first, first + every, ...``, so many."""
    return first + every * np.arange(count, dtype=np.int64)
