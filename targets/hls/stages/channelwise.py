"""Depthwise convolutions and pools: each channel by itself, PE channels a cycle, one tap a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dnncc.ops.ranges import Interval
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, distributed_ram_lut, logic, memory
from dnncc.targets.hls.stages.arithmetic import C_STYLES, multipliers, product_bits
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
from dnncc.targets.hls.stages.matrix import MEMORIES, Weights
from dnncc.targets.hls.stages.window import Sliding, Window, window_cycles, window_resources

LATENCY = 7


@dataclass(frozen=True, eq=False)
class ChannelLayer(Layer):
    """A depthwise convolution (with weights [channels, taps, 1]), or a pool that adds or takes the largest.

    Attributes:
        operation: "multiply", "add" or "max".
        sliding: the window.
        weights: of a depthwise convolution.
    """

    operation: str
    sliding: Sliding
    weights: Weights | None = None

    @property
    def window(self) -> Sliding | None:
        """The window, if a stage has to make it: a pool over the whole image takes the pixels as they come."""
        taken = self.sliding.trivial or (self.sliding.whole and self.operation != "multiply")
        return None if taken else self.sliding

    def choices(self, part: Part) -> Iterable[Choice]:
        s, number = self.sliding, self.inputs[0].number
        pixels = s.output[0] * s.output[1]
        for pe in divisors(s.channels):
            slide, needed = 0, Resources()
            if self.window is not None:
                slide = window_cycles(s, pe)
                needed = window_resources(s, pe, number.bits)
            cycles = max(slide, pixels * s.channels // pe * s.taps)
            for multiply in ("lut", "dsp") if self.weights else ("lut",):
                for store in MEMORIES if self.weights else ("lutram",):
                    config = {"pe": pe, "multiply": multiply, "memory": store}
                    found = needed + self._unit(pe, multiply, store, part)
                    yield Choice(config, (pe,), pe, cycles, found)

    def _unit(self, pe: int, multiply: str, store: str, part: Part) -> Resources:
        keeps = self.window is None and self.sliding.taps > 1
        return channel_resources(
            self.weights, self.output.number, self.sliding.channels, pe, multiply, store, keeps, part
        )

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        pe = int(config["pe"])
        s, (source,) = self.sliding, inputs
        found: list[Stage] = []
        if self.window is not None:
            words = s.output[0] * s.output[1] * s.taps * s.channels // pe
            slid = Stream(f"{self.name}_taps", source.wire, pe, True, words)
            found.append(Window(f"{self.name}_window", self.node, [source], [slid], s))
            source = slid
        unit = Channelwise(
            f"{self.name}_{'depthwise' if self.weights else self.operation}",
            self.node,
            [source],
            [output],
            self.operation,
            s,
            self.window is not None,
            self.weights,
            str(config["multiply"]),
            str(config["memory"]),
        )
        return [*found, unit]


@dataclass(eq=False)
class Channelwise(Stage):
    """The unit alone: words of PE taps in, words of PE results out."""

    kind: ClassVar[str] = "channelwise"
    operation: str = "max"
    sliding: Sliding | None = None
    windowed: bool = True
    weights: Weights | None = None
    multiply: str = "lut"
    memory: str = "lutram"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pixels, channel folds, taps."""
        s = self.sliding
        assert s is not None
        return s.output[0] * s.output[1], s.channels // self.inputs[0].lanes, s.taps

    @property
    def _keeps(self) -> bool:
        """All channels of a sum are open at the same time."""
        return not self.windowed and self.shape[2] > 1

    def schedule(self) -> Schedule:
        pixels, folds, taps = self.shape
        count = pixels * folds * taps
        if self._keeps:
            return Schedule(count, (steps(count),), (steps(folds, count - folds),), LATENCY)
        return Schedule(count, (steps(count),), (steps(pixels * folds, taps - 1, taps),), LATENCY)

    def resources(self, part: Part) -> Resources:
        s = self.sliding
        assert s is not None
        number = self.outputs[0].wire.number
        return channel_resources(
            self.weights,
            number,
            s.channels,
            self.inputs[0].lanes,
            self.multiply,
            self.memory,
            self._keeps,
            part,
        )

    def roms(self) -> list[Rom]:
        w, (_, folds, taps), pe = self.weights, self.shape, self.inputs[0].lanes
        if w is None:
            return []
        data = w.data.reshape(folds, pe, taps).transpose(0, 2, 1).reshape(folds * taps, pe)
        bias = Number.between(min(int(w.bias.min()), 0), int(w.bias.max()))
        return [Rom("weights", w.number, data), Rom("bias", bias, w.bias.reshape(folds, pe))]

    def call(self) -> str:
        pixels, folds, taps = self.shape
        shape = f"{pixels}, {folds}, {taps}"
        if self.weights is not None:
            total = Number.of(self.weights.accumulator)
            product = product_bits(self.weights.input, self.weights.interval)
            roms = f"{self.rom_name('weights')}, {self.rom_name('bias')}"
            types = f"{total.c_type}, {product}, {C_STYLES[self.multiply]}"
            return f"dnncc::depthwise<{shape}, {types}>({self.streams()}, {roms})"
        name = f"dnncc::pool{'_whole' if self._keeps else ''}"
        return f"{name}<{shape}, dnncc::{self.operation}>({self.streams()})"


def channel_resources(
    w: Weights | None,
    number: Number,
    channels: int,
    pe: int,
    multiply: str,
    store: str,
    keeps: bool,
    part: Part,
) -> Resources:
    """Of one unit without its window and FIFOs."""
    kept = distributed_ram_lut(pe * number.bits, channels // pe) if keeps else 0
    if w is None:
        return logic(2 * pe * number.bits + kept, pe * number.bits)
    found = multipliers(multiply, pe, pe, w.input, w.interval, part)
    total = w.accumulator.bits
    found += logic(found.lut + pe * total, pe * total) + Resources(lut=-found.lut)
    found += memory(pe * w.number.bits, channels // pe * w.taps, store, rom=True)
    bias = Number.between(int(w.bias.min()), int(w.bias.max()))
    return found + memory(pe * bias.bits, channels // pe, "lutram", rom=True)


def whole(interval: Interval) -> Interval:
    """Without the distinction of channels, zero included: what a padded tap can be."""
    return Interval.of(min(interval.min, 0), max(interval.max, 0))
