"""What merged layers cost on a target: each is compiled as a network of its own and measured."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.ops.relu import Relu
from dnncc.passes.depth.layers import Layers
from dnncc.passes.depth.problem import Merge

RECTIFIER = "rectifier"
_CALIBRATION = 32
_KNOWN: dict[tuple[str, ...], int] = {}
"""What was measured in this process; cycles are the same every time, and are measured once."""


@dataclass(frozen=True)
class Meter:
    """Measures networks on a target: estimated cycles on the emulator, nanoseconds on the host.

    Attributes:
        target: a board.
        dtype: what the network computes with, see ``dnncc.options.Options``.
        samples: that whole networks are calibrated with; None for made up ones.
    """

    target: str
    dtype: str
    samples: Mapping[str, Array] | None = field(default=None, compare=False)

    @property
    def unit(self) -> str:
        from dnncc.targets.boards import load_board

        return "ns" if load_board(self.target).core == "host" else "cycles"

    def network(self, graph: Graph) -> int:
        """One inference of a whole float graph, compiled with the default pipeline.

        Raises:
            DnnccError: what compiling and measuring raise.
        """
        samples = self.samples
        few = None if samples is None else {name: array[:_CALIBRATION] for name, array in samples.items()}
        return self._measure(graph, None, None, few)

    def segment(self, layers: Layers, merge: Merge) -> int:
        """A segment merged into one layer, with the sum and the activation at the end.

        A network's inputs are signed integers, but a segment may read unsigned ones, for which kernels differ: then
        a rectifier stands before it that does not count. (On the host, single nodes are not measured.)
        """
        rectified = self.unit == "cycles" and self.dtype == "int8" and layers[merge[0] + 1].unsigned
        return self._known(segment_graph(layers, merge, rectified), RECTIFIER if rectified else None)

    def _known(self, graph: Graph, without: str | None) -> int:
        key = (self.target, self.dtype, _structure(graph))
        if key not in _KNOWN:
            # Inputs without a zero point, like the activations inside a network.
            passes = "simplify,quantize{zero_point=False},cse,dce" if self.dtype == "int8" else None
            _KNOWN[key] = self._measure(graph, without, passes, None)
        return _KNOWN[key]

    def _measure(
        self, graph: Graph, without: str | None, passes: str | None, samples: Mapping[str, Array] | None
    ) -> int:
        from dnncc.benchmark import cost
        from dnncc.driver import compile_model

        with tempfile.TemporaryDirectory(prefix="dnncc-depth-") as folder:
            place = Path(folder) / "net"
            compile_model(
                graph, target=self.target, calibrate=samples, output=place, dtype=self.dtype, passes=passes
            )
            return cost(place, without)


def segment_graph(layers: Layers, merge: Merge, rectified: bool = False) -> Graph:
    """A segment as a graph, behind a rectifier if asked for; the weights are noise, on which the cost does not
    depend."""
    i, j, dropped = merge
    last = layers[j]
    generator = np.random.default_rng(0)
    x = Value("x", layers.begin(i).type)
    graph = Graph("segment", [x])
    if rectified:
        x = graph.append(Relu(), [x], RECTIFIER)
    kernel = layers.kernel(i, j, dropped)
    fan_in = max(1, kernel.weights[0].size)
    weights = generator.standard_normal(kernel.weights.shape).astype(np.float32) / np.float32(fan_in**0.5)
    bias = generator.standard_normal(kernel.bias.shape).astype(np.float32)
    known: dict[Value, Value] = {layers.begin(i): x}
    y = graph.append(kernel.op, [x, graph.const("w", weights), graph.const("b", bias)], "conv")
    known[last.conv.output] = y
    nodes: list[Node] = [] if last.add is None else [last.add]
    if last.add is not None and layers.absorbs(i, j):
        known[last.add.output], nodes = y, []
    for node in [*nodes, *last.activation]:
        operands = [_operand(graph, known, v) for v in node.inputs]
        known[node.output] = graph.append(node.op, operands, "tail")
    graph.outputs = [known[last.output]]
    return graph


def _operand(graph: Graph, known: dict[Value, Value], value: Value) -> Value:
    """A constant as it is, a value of the segment, or a further input for one from elsewhere."""
    if isinstance(value, Const):
        return graph.const("c", value.data)
    if value not in known:
        known[value] = Value(graph.fresh("skip"), value.type)
        graph.inputs.append(known[value])
    return known[value]


def _structure(graph: Graph) -> str:
    """A graph's operators, shapes and edges; not the content of large constants, which costs do not depend on."""
    numbers = {v: k for k, v in enumerate(graph.values())}
    lines = [f"{numbers[v]}: {v.type}" for v in graph.inputs]
    for node in graph.nodes:
        operands = [str(numbers[v]) + (f" {v.type}" if isinstance(v, Const) else "") for v in node.inputs]
        lines.append(f"{node.op!r}({', '.join(operands)})")
    return "\n".join([*lines, *(str(numbers[v]) for v in graph.outputs)])
