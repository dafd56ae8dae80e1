"""Elementwise: requantization, residual additions, activations, tables; any number of operands, some lanes a cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array
from dnncc.ops.add import Add
from dnncc.ops.cast import Cast
from dnncc.ops.clip import Clip
from dnncc.ops.lookup import Lookup
from dnncc.ops.mul import Mul
from dnncc.ops.ranges import Interval, product_interval
from dnncc.ops.relu import Relu
from dnncc.ops.requantize import TO_EVEN, Requantize, inner_range
from dnncc.ops.sub import Sub
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, distributed_rom_lut, logic, multiplier_dsp, multiplier_lut
from dnncc.targets.hls.stages.arithmetic import C_STYLES
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

_MULTIPLIER_STAGES = 4


@dataclass(frozen=True, eq=False)
class Formula:
    """Elementwise nodes in order; the last one's value is the result.

    Attributes:
        nodes: of the graph.
        inputs: the values that come from streams.
        ranges: what every value can be.
        shape: of the result.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    ranges: Mapping[Value, Interval]
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[-1] if self.shape else 1


@dataclass(frozen=True)
class Term:
    """One node per lane: its C++ expression, the multipliers (bits of both operands) and other tables it takes."""

    code: str
    multipliers: tuple[tuple[int, int], ...] = ()
    lut: int = 0


@dataclass(eq=False)
class _Writer:
    """Turns a formula's nodes into terms; collects the constants."""

    formula: Formula
    lanes: int
    multiply: str
    prefix: str
    roms: list[Rom] = field(default_factory=list)
    names: dict[Value, str] = field(default_factory=dict)

    def operand(self, value: Value) -> str:
        """C++ of an operand's lane."""
        if not isinstance(value, Const):
            return self.names[value]
        if value.type.size == 1:
            return literal(int(value.data.reshape(-1)[0]))
        data, by_channel = _lanes(value.data, self.formula.shape, self.lanes)
        suffix = f"c{len(self.roms)}"
        self.roms.append(Rom(suffix, Number.between(int(data.min()), int(data.max())), data))
        return f"{self.prefix}_{suffix}[{'fold' if by_channel else 'i'}][lane]"

    def table(self, value: Const) -> str:
        suffix = f"c{len(self.roms)}"
        self.roms.append(
            Rom(suffix, Number.between(int(value.data.min()), int(value.data.max())), value.data)
        )
        return f"{self.prefix}_{suffix}"

    def range(self, value: Value) -> Interval:
        return self.formula.ranges[value]


def _lanes(data: Array, shape: tuple[int, ...], lanes: int) -> tuple[Array, bool]:
    """A constant operand as [words, lanes], one period of it; whether that period is the channels."""
    if all(d == 1 for d in data.shape[:-1]):
        return np.broadcast_to(data.reshape(-1), shape[-1:]).reshape(-1, lanes), True
    return np.broadcast_to(data, shape).reshape(-1, lanes), False


def literal(value: int) -> str:
    """An integer constant of C++."""
    if -(1 << 31) < value < 1 << 31:
        return str(value)
    return f"ap_int<{Number.between(value, value).signed_bits}>({value}LL)"


def _requantize(w: _Writer, node: Node) -> Term:
    op, (x, multiplier) = node.op, node.inputs
    assert isinstance(op, Requantize) and isinstance(multiplier, Const)
    product = requantize_product(w.range(x), multiplier.data, op.shift)
    low, high = inner_range(*op.range, op.zero_point)
    result = Number.of(w.range(node.output))
    even = "true" if op.rounding == TO_EVEN and op.shift else "false"
    types = f"{product.bits}, {op.shift}, {even}, {result.c_type}, {C_STYLES[w.multiply]}"
    bounds = f"{literal(low)}, {literal(high)}, {literal(op.zero_point)}"
    code = f"dnncc::requantize<{types}>({w.operand(x)}, {w.operand(multiplier)}, {bounds})"
    factors = np.abs(multiplier.data.astype(np.int64)).reshape(-1)
    shifts = factors.size == 1 and int(factors[0]) & (int(factors[0]) - 1) == 0
    bits = Number.of(Interval.of_const(multiplier)).signed_bits
    pairs = () if shifts else ((Number.of(w.range(x)).signed_bits, bits),)
    return Term(code, pairs, product.bits + 2 * result.bits)


def requantize_product(x: Interval, multiplier: Array, shift: int) -> Interval:
    """What the product can be, before and after the rounding term."""
    factors = multiplier.astype(object)
    if factors.ndim > 1:
        x, factors = x.collapsed(), factors.reshape(-1)
    ends = [np.asarray(end.astype(object) * factors).reshape(-1) for end in (x.low, x.high)]
    low, high = min(min(e) for e in ends), max(max(e) for e in ends)
    half = (1 << shift) >> 1
    return Interval(np.asarray(int(low) - 1, object), np.asarray(int(high) + half, object))


def _arithmetic(w: _Writer, node: Node) -> Term:
    a, b = node.inputs
    sign = {"add": "+", "sub": "-", "mul": "*"}[node.op.name]
    result = Number.of(w.range(node.output))
    if sign != "*":
        return Term(f"{w.operand(a)} {sign} {w.operand(b)}", (), result.bits)
    bits = tuple(Number.of(_interval(w, v)).signed_bits for v in (a, b))
    product = product_interval(_interval(w, a), _interval(w, b)).bits
    code = f"dnncc::product<{product}, {C_STYLES[w.multiply]}>({w.operand(a)}, {w.operand(b)})"
    return Term(code, ((bits[0], bits[1]),))


def _interval(w: _Writer, value: Value) -> Interval:
    return Interval.of_const(value) if isinstance(value, Const) else w.range(value)


def _relu(w: _Writer, node: Node) -> Term:
    return _clamp(w, node, 0, None)


def _clip(w: _Writer, node: Node) -> Term:
    assert isinstance(node.op, Clip)
    lo, hi = node.op.lo, node.op.hi
    return _clamp(w, node, None if lo is None else int(lo), None if hi is None else int(hi))


def _clamp(w: _Writer, node: Node, lo: int | None, hi: int | None) -> Term:
    code = w.operand(node.inputs[0])
    bits = Number.of(w.range(node.inputs[0])).bits
    if lo is not None:
        code = f"({code} < {literal(lo)} ? {_typed(w, node, lo)} : {_typed_name(w, node, code)})"
    if hi is not None:
        code = f"({code} > {literal(hi)} ? {_typed(w, node, hi)} : {_typed_name(w, node, code)})"
    return Term(code, (), bits)


def _typed(w: _Writer, node: Node, value: int) -> str:
    return f"{Number.of(w.range(node.inputs[0])).c_type}({literal(value)})"


def _typed_name(w: _Writer, node: Node, code: str) -> str:
    return f"{Number.of(w.range(node.inputs[0])).c_type}({code})"


def _cast(w: _Writer, node: Node) -> Term:
    return Term(w.operand(node.inputs[0]))


def _lookup(w: _Writer, node: Node) -> Term:
    x, table = node.inputs
    assert isinstance(table, Const)
    bits = Number.of(Interval.of_const(table)).bits
    code = f"{w.table(table)}[ap_uint<8>({w.operand(x)})]"
    return Term(code, (), distributed_rom_lut(bits, 256))


_TERMS: dict[str, Callable[[_Writer, Node], Term]] = {
    Requantize.name: _requantize,
    Add.name: _arithmetic,
    Sub.name: _arithmetic,
    Mul.name: _arithmetic,
    Relu.name: _relu,
    Clip.name: _clip,
    Cast.name: _cast,
    Lookup.name: _lookup,
}


def refusal(node: Node) -> str | None:
    """Why a node cannot be part of a formula; None if it can."""
    if node.op.name not in _TERMS:
        return "is not one of the elementwise operators that stream"
    if getattr(node.op, "wraps", False):
        return "wraps around"
    streams = [v for v in node.inputs if not isinstance(v, Const)]
    if any(v.type.shape != node.output.type.shape for v in streams):
        return "broadcasts an activation"
    if isinstance(node.op, Requantize | Lookup) and not isinstance(node.inputs[1], Const):
        return "has a second operand that is not constant"
    if not streams:
        return "has no operand from a stream"
    return None


@dataclass(frozen=True, eq=False)
class ElementwiseLayer(Layer):
    """A formula on every element."""

    formula: Formula

    def choices(self, part: Part) -> Iterable[Choice]:
        for lanes in divisors(self.output.channels):
            cycles = self.output.elements // lanes
            for multiply in ("lut", "dsp"):
                found = formula_resources(self.formula, lanes, multiply, part)
                if multiply == "dsp" and not found.dsp:
                    continue
                yield Choice(
                    {"lanes": lanes, "multiply": multiply}, (lanes,) * len(self.inputs), lanes, cycles, found
                )

    def stages(
        self, config: Mapping[str, int | str], inputs: Sequence[Stream], output: Stream
    ) -> list[Stage]:
        name = f"{self.name}_elementwise"
        return [Elementwise(name, self.node, list(inputs), [output], self.formula, str(config["multiply"]))]


@dataclass(eq=False)
class Elementwise(Stage):
    """The stage: a word of each operand in, a word of results out."""

    kind: ClassVar[str] = "elementwise"
    formula: Formula = field(default_factory=lambda: Formula((), (), {}, ()))
    multiply: str = "lut"

    def schedule(self) -> Schedule:
        words = steps(self.outputs[0].words)
        return Schedule(len(words), (words,) * len(self.inputs), (words,), formula_latency(self.formula))

    def resources(self, part: Part) -> Resources:
        return formula_resources(self.formula, self.outputs[0].lanes, self.multiply, part)

    def roms(self) -> list[Rom]:
        return self._write()[0].roms

    def _write(self) -> tuple[_Writer, list[str]]:
        """The constants, and the C++ lines of one lane."""
        writer, lines = _Writer(self.formula, self.outputs[0].lanes, self.multiply, self.name), []
        for number, value in enumerate(self.formula.inputs):
            writer.names[value] = f"x{number}[lane]"
        for number, node in enumerate(self.formula.nodes):
            code = _TERMS[node.op.name](writer, node).code
            writer.names[node.output] = f"v{number}"
            lines.append(f"const {Number.of(self.formula.ranges[node.output]).c_type} v{number} = {code};")
        return writer, lines

    def definition(self) -> str:
        writer, lines = self._write()
        output = self.outputs[0]
        parameters = [f"dnncc::stream<{s.c_word}> &in{n}" for n, s in enumerate(self.inputs)]
        parameters.append(f"dnncc::stream<{output.c_word}> &out")
        folds = max(self.formula.channels // output.lanes, 1)
        reads = "\n".join(f"    const {s.c_word} x{n} = in{n}.read();" for n, s in enumerate(self.inputs))
        body = "\n".join(f"      {line}" for line in lines)
        last = writer.names[self.formula.nodes[-1].output]
        by_fold = any("[fold]" in line for line in lines)
        count = f"    fold = fold == {folds - 1} ? 0 : fold + 1;\n" if by_fold else ""
        start = "  int fold = 0;\n" if by_fold else ""
        return (
            f"static void {self.name}({', '.join(parameters)}) {{\n"
            f"{start}  for (int i = 0; i < {output.words}; ++i) {{\n"
            "#pragma HLS pipeline II=1 style=flp\n"
            f"{reads}\n    {output.c_word} y;\n"
            f"    for (int lane = 0; lane < {output.lanes}; ++lane) {{\n#pragma HLS unroll\n"
            f"{body}\n      y[lane] = {last};\n    }}\n    out.write(y);\n{count}  }}\n}}\n"
        )

    def call(self) -> str:
        return f"{self.name}({self.streams()})"


def formula_latency(formula: Formula) -> int:
    """Read, the longest way through the nodes, write."""
    levels: dict[Value, int] = {}
    for node in formula.nodes:
        own = 1 + _MULTIPLIER_STAGES * (node.op.name in (Requantize.name, Mul.name))
        levels[node.output] = own + max((levels.get(v, 0) for v in node.inputs), default=0)
    return 2 + levels.get(formula.nodes[-1].output, 0)


def formula_resources(formula: Formula, lanes: int, multiply: str, part: Part) -> Resources:
    writer = _Writer(formula, lanes, multiply, "")
    lut, dsp = 0, 0
    for value in formula.inputs:
        writer.names[value] = ""
    for node in formula.nodes:
        term = _TERMS[node.op.name](writer, node)
        writer.names[node.output] = ""
        lut += term.lut
        for a, b in term.multipliers:
            if multiply == "dsp":
                dsp += multiplier_dsp(a, b, part.wide, part.narrow)
            else:
                lut += multiplier_lut(a, b)
    roms = 0
    for rom in writer.roms:
        if rom.data.ndim == 2:
            roms += distributed_rom_lut(lanes * rom.number.bits, rom.data.shape[0])
    width = sum(Number.of(formula.ranges[v]).bits for v in formula.inputs)
    return logic(lanes * lut + roms, lanes * width) + Resources(dsp=lanes * dsp)
