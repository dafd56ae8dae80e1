"""Small float graphs, quantized, for the tests of quantization."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ir.verify import verify, verify_integer
from dnncc.ops.base import Op
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.passes.quantize import QuantizeOptions, integer_arguments, proven, quantize

PLAIN = QuantizeOptions(observer="minmax", bias_correction=False, zero_point=False)


class Net:
    """A float graph under construction, with random weights and calibration samples."""

    def __init__(self, *shapes: tuple[int, ...], seed: int = 0, samples: int = 8) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs = [Value(f"x{i}", TensorType(DType.F32, shape)) for i, shape in enumerate(shapes)]
        self.graph = Graph("net", self.inputs)
        self.samples = {
            v.name: self.rng.standard_normal((samples, *v.type.shape[1:])).astype(np.float32) * (i + 1)
            for i, v in enumerate(self.inputs)
        }

    def const(self, data: Array) -> Value:
        return self.graph.const("c", np.asarray(data, np.float32))

    def emit(self, op: Op, *inputs: Value, name: str | None = None) -> Value:
        return self.graph.append(op, inputs, name or op.name)

    def conv(self, x: Value, channels: int, kernel: int = 3, name: str = "conv", scale: float = 0.3) -> Value:
        shape = (channels, kernel, kernel, x.type.shape[3])
        w = self.const(self.rng.standard_normal(shape) * scale)
        b = self.const(self.rng.standard_normal(channels))
        pad = kernel // 2
        return self.emit(Conv2d(pads=(pad,) * 4), x, w, b, name=name)

    def linear(self, x: Value, outputs: int, name: str = "linear") -> Value:
        w = self.const(self.rng.standard_normal((outputs, x.type.shape[-1])))
        return self.emit(Linear(), x, w, self.const(self.rng.standard_normal(outputs)), name=name)

    def quantized(self, *outputs: Value, options: QuantizeOptions = PLAIN) -> Graph:
        """The integer graph, verified."""
        self.graph.outputs = list(outputs)
        verify(self.graph)
        result = quantize(self.graph, self.samples, options)
        verify(result)
        verify_integer(result)
        assert proven(result)
        assert [v.name for v in result.inputs] == [v.name for v in self.graph.inputs]
        assert [v.name for v in result.outputs] == [v.name for v in self.graph.outputs]
        assert [v.type.shape for v in result.outputs] == [v.type.shape for v in self.graph.outputs]
        return result

    def all_values(self, graph: Graph, index: int = 0) -> dict[str, Array]:
        """Every value of the integer graph for one sample, by name."""
        arrays = integer_arguments(graph, self.samples, index)
        found = dict(zip((v.name for v in graph.inputs), arrays, strict=True))
        interpret(graph, arrays, lambda n, r: found.update(zip((v.name for v in n.outputs), r, strict=True)))
        return found


def named(graph: Graph, name: str) -> Value:
    (value,) = (v for v in graph.values() if v.name == name)
    return value


def ops(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def exact(data: Array, scale: float) -> list[Fraction]:
    """The reals that integers stand for."""
    return [Fraction(int(q)) * Fraction(scale) for q in data.reshape(-1)]


def assert_rounded(
    y: Array,
    value: Value,
    expected: Sequence[Fraction],
    extra: float = 2.0**-9,
    lo: int = -128,
    hi: int = 127,
) -> None:
    """y is ``expected`` on the value's grid: half a step, and ``extra`` steps for multipliers and finer grids."""
    scale = Fraction(value.type.scale)
    for q, real in zip(y.reshape(-1).tolist(), expected, strict=True):
        steps = min(max(real / scale, Fraction(lo)), Fraction(hi))
        assert abs(q - steps) <= Fraction(1, 2) + Fraction(extra)
