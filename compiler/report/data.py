"""What a report shows, as plain data: everything is decided before any HTML is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dnncc.planner import Tried


@dataclass(frozen=True)
class Port:
    """One input or output of the network.

    Attributes:
        kind: "input" or "output".
        name: as in the model.
        dtype, shape: what the C function takes or gives.
        scale: ``real = scale * (integer - zero_point)``; None for a float.
    """

    kind: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scale: float | None
    zero_point: int


@dataclass(frozen=True)
class Block:
    """A stretch of the arena that is in use for some steps: a tensor, or a kernel's scratch memory.

    Attributes:
        name: the tensor's name; for scratch memory the node's.
        scratch: whether it is scratch memory.
        type: element type and shape, as text; "" for scratch memory.
        offset, size: bytes.
        first, end: the half-open interval of steps in which it is in use.
    """

    name: str
    scratch: bool
    type: str
    offset: int
    size: int
    first: int
    end: int


@dataclass(frozen=True)
class Measured:
    """What a run of one node, or of all, took; None where that was not measured."""

    instructions: int | None = None
    cycles: int | None = None


@dataclass(frozen=True)
class StepRow:
    """One kernel, in execution order.

    Attributes:
        name: the model's node.
        ops: the operators that it computes, in order.
        kernel: the strategy that its code was made with, such as "gemm-2x2".
        dtype, shape: of its first output.
        macs: multiply-accumulates.
        weights_bytes: constants that it reads.
        sources: what its inputs come from: a step's index, or ``-1 - i`` for the network's input i.
        results: the network's outputs that it writes, by index.
        sqnr: of its output against the float network, dB; None if not comparable.
        predicted_cycles: from a cost model; None if there is none.
        measured: None if nothing was measured.
    """

    name: str
    ops: tuple[str, ...]
    kernel: str
    dtype: str
    shape: tuple[int, ...]
    macs: int
    weights_bytes: int
    sources: tuple[int, ...]
    results: tuple[int, ...] = ()
    sqnr: float | None = None
    predicted_cycles: float | None = None
    measured: Measured | None = None


@dataclass(frozen=True)
class Scale:
    """The quantization of one activation tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float
    low: float
    high: float


@dataclass(frozen=True)
class Rescaling:
    """One requantization: ``clamp((x * multiplier + 2^(shift-1)) >> shift, low, high)``.

    Attributes:
        smallest, largest: multiplier; they differ where there is one per channel.
        channels: how many multipliers.
    """

    node: str
    smallest: int
    largest: int
    channels: int
    shift: int
    low: int
    high: int
    rounding: str


@dataclass(frozen=True)
class Sum:
    """The worst case of one 32-bit sum, whatever the input; None where nothing is proven."""

    node: str
    op: str
    low: int | None
    high: int | None
    bits: int | None

    @property
    def proven(self) -> bool:
        return self.bits is not None and self.bits <= 32


@dataclass(frozen=True)
class PassRow:
    """What one pass did: the number of nodes before and after."""

    text: str
    before: int
    after: int
    changed: bool


@dataclass(frozen=True)
class Machine:
    """The board: its core and what it has; None where it names no limit."""

    name: str
    description: str
    core: str
    clock_hz: int | None
    ram_name: str
    ram_bytes: int | None
    flash_bytes: int | None


@dataclass(frozen=True)
class Totals:
    """One measured inference as a whole, see ``dnncc.benchmark.Benchmark``; None: not measured."""

    on: str
    core: str
    compiler: str
    instructions: int | None
    cycles: int | None
    milliseconds: float | None
    flash_bytes: int | None
    ram_bytes: int | None
    stack_bytes: int | None


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows.

    Attributes:
        model: the network's name; ``name``: the prefix of its C symbols.
        version: of dnncc.
        model_hash: SHA-256 of the model file.
        dtype: "int8" or "float32".
        calibrated: whether scales come from real samples; None where nothing is calibrated.
        arena_bytes, bound_bytes: the arena and what is proven to be the least for these kernels.
        optimal: whether the two are equal.
        weights_bytes: all constants.
        blocks: the memory map.
        steps: the kernels, in order.
        measures: what the planner tried, see ``dnncc.planner``.
        ram_limit: bytes of RAM that it could use, all pools together; None for no limit.
        sqnr_samples: how many samples the steps' SQNR is of.
        totals: None if nothing was measured.
    """

    model: str
    name: str
    version: str
    model_hash: str
    machine: Machine
    dtype: str
    calibrated: bool | None
    options: tuple[tuple[str, str], ...]
    pipeline: str
    warnings: tuple[str, ...]
    arena_bytes: int
    bound_bytes: int
    optimal: bool
    weights_bytes: int
    ports: tuple[Port, ...]
    blocks: tuple[Block, ...]
    steps: tuple[StepRow, ...]
    scales: tuple[Scale, ...] = ()
    rescalings: tuple[Rescaling, ...] = ()
    sums: tuple[Sum, ...] = ()
    passes: tuple[PassRow, ...] = ()
    measures: tuple[Tried, ...] = ()
    ram_limit: int | None = None
    sqnr_samples: int = 0
    totals: Totals | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(step.macs for step in self.steps)

    @cached_property
    def in_use(self) -> tuple[int, ...]:
        """Bytes of the arena in use at each step; bytes that two blocks share count once."""
        return tuple(
            _covered([(b.offset, b.offset + b.size) for b in self.blocks if b.first <= step < b.end])
            for step in range(len(self.steps))
        )

    @property
    def peak(self) -> int | None:
        """The first step at which most of the arena is in use; None if there is no arena."""
        if not self.arena_bytes or not self.in_use:
            return None
        return self.in_use.index(max(self.in_use))


def _covered(intervals: list[tuple[int, int]]) -> int:
    """The length of the union."""
    total, reached = 0, 0
    for low, high in sorted(intervals):
        total += max(0, high - max(low, reached))
        reached = max(reached, high)
    return total
