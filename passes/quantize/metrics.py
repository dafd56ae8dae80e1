"""How far the integer graph is from the float graph, value by value (SQNR, cosine, largest error)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.passes.quantize.border import integer_arguments, to_floats
from dnncc.passes.quantize.calibrate import Samples, arguments, sample_count


@dataclass(frozen=True)
class LayerError:
    """One value of both graphs over all samples.

    Attributes:
        value: its name.
        sqnr: signal to quantization noise in dB, ``10 log10(sum x^2 / sum (x - y)^2)``; infinite without any
            error.
        cosine: of the angle between the two; 1.0 for the same direction.
        largest: the largest absolute error.
        scale: the integer value's scale.
    """

    value: str
    sqnr: float
    cosine: float
    largest: float
    scale: float


@dataclass
class _Sums:
    """Running sums over samples."""

    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    scale: float = 1.0

    def add(self, x: Array, y: Array) -> None:
        a, b = x.astype(np.float64).reshape(-1), y.astype(np.float64).reshape(-1)
        error = a - b
        self.xx += float(a @ a)
        self.yy += float(b @ b)
        self.xy += float(a @ b)
        self.noise += float(error @ error)
        self.largest = max(self.largest, float(np.abs(error).max(initial=0.0)))

    def result(self, name: str) -> LayerError:
        sqnr = (
            math.inf
            if self.noise == 0.0
            else (10.0 * math.log10(self.xx / self.noise) if self.xx else -math.inf)
        )
        norm = math.sqrt(self.xx * self.yy)
        cosine = self.xy / norm if norm > 0.0 else float(self.xx == self.yy)
        return LayerError(name, sqnr, cosine, self.largest, self.scale)


def layer_errors(float_graph: Graph, integer_graph: Graph, samples: Samples) -> list[LayerError]:
    """The error of every value that both graphs have under one name, in the float graph's order.

    Values are compared as reals: integers times their per-tensor scale. Sums without one are left out.
    """
    comparable = {v.name: v for v in integer_graph.values() if _comparable(v)}
    sums: dict[str, _Sums] = {}
    for index in range(sample_count(samples)):
        floats = _values(float_graph, arguments(float_graph, samples, index))
        integers = _values(integer_graph, integer_arguments(integer_graph, samples, index))
        for name, x in floats.items():
            value = comparable.get(name)
            if value is not None and name in integers and integers[name].shape == x.shape:
                scale = _scale(value)
                entry = sums.setdefault(name, _Sums(scale=scale))
                entry.add(x, to_floats(integers[name], value.type))
    return [entry.result(name) for name, entry in sums.items()]


def _values(graph: Graph, inputs: Sequence[Array]) -> Mapping[str, Array]:
    found = {v.name: a for v, a in zip(graph.inputs, inputs, strict=True)}

    def observe(node: Node, results: Sequence[Array]) -> None:
        found.update({v.name: a for v, a in zip(node.outputs, results, strict=True)})

    interpret(graph, inputs, observe)
    return found


def _comparable(value: Value) -> bool:
    q = value.type.quantization
    return not isinstance(value, Const) and (value.type.dtype.is_float or (q is not None and q.axis is None))


def _scale(value: Value) -> float:
    return 1.0 if value.type.dtype.is_float else value.type.scale
