"""Which values of a float graph share a grid, from the graph's structure alone.

A value is stored on the grid of the *end* of its chain: the last value that follows from it through
single-use operators that neither mix nor rescale elements (activations, max pooling, padding, layout,
concatenation). So ``conv -> relu -> max_pool -> concat`` is requantized once, from the accumulators to the
concatenation's scale, with the activation as the clamp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dnncc.ir.graph import Const, Graph, Node, Value

CLAMPS = ("relu", "clip")
GIVEN = ("fake_quantize", "quantize_linear")
"""These end a chain: they say themselves on which grid."""


@dataclass(frozen=True)
class Chain:
    """Where a value's chain ends and what happens on the way.

    Attributes:
        end: the value whose statistics decide the scale.
        low, high: the real interval to which the activations on the way clamp; infinite where they do not.
    """

    end: Value
    low: float = -math.inf
    high: float = math.inf


def clamp_of(node: Node) -> tuple[float, float]:
    """The real interval of a relu or clip."""
    if node.op.name == "relu":
        return 0.0, math.inf
    ends = node.op.attributes(all_fields=True)
    low, high = ends["lo"], ends["hi"]
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))


class Plan:
    """The structure that quantization needs to know about a float graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.outputs = set(graph.outputs)
        self.has_given = bool(graph.find(*GIVEN, "dequantize_linear"))
        self._chains: dict[Value, Chain] = {}
        self._non_negative: dict[Value, bool] = {}

    def reader(self, value: Value) -> Node | None:
        """The only reader of ``value``; None if there are several, or the graph returns it."""
        readers = self.uses.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def may_wait(self, value: Value) -> bool:
        """Whether a sum need not be stored in 8 bits yet: a single reader, or readers that say on which grid."""
        readers = self.uses.get(value, [])
        all_given = bool(readers) and all(n.op.name in GIVEN for n in readers)
        return self.reader(value) is not None or (all_given and value not in self.outputs)

    def grid_node(self, value: Value) -> Node | None:
        """The node that says on which grid ``value`` is: it makes it, or ends its chain; of the readers of an input,
        the first such.
        """
        own = self.producers.get(value)
        if own is not None and own.op.name in GIVEN:
            return own
        end = self.producers.get(self.chain(value).end)
        if end is not None and end.op.name in GIVEN and self.chain(value).end is not value:
            return end
        if own is None:
            return next((n for n in self.uses.get(value, []) if n.op.name in GIVEN), None)
        return None

    def is_on_given(self, value: Value) -> bool:
        """Whether ``value`` is on a grid that the model gives, as it comes from there by moves and clamps."""
        node = self.producers.get(value)
        while node is not None and node.op.name not in (*GIVEN, "dequantize_linear"):
            if not (node.op.moves or node.op.name in CLAMPS) or len(node.inputs) != 1:
                return False
            node = self.producers.get(node.inputs[0])
        return node is not None

    def chain(self, value: Value) -> Chain:
        """The chain that starts at ``value``."""
        if value not in self._chains:
            self._chains[value] = self._follow(value)
        return self._chains[value]

    def _follow(self, value: Value) -> Chain:
        reader = self.reader(value)
        if reader is None:
            return Chain(value)
        name = reader.op.name
        if name in GIVEN:
            return Chain(reader.output)
        if reader.op.moves and value.type.dtype.is_float and len(reader.outputs) == 1:
            return self.chain(reader.output)
        if name in CLAMPS:
            low, high = clamp_of(reader)
            rest = self.chain(reader.output)
            # The clamp that comes first decides where the two intervals are disjoint.
            return Chain(rest.end, min(max(rest.low, low), high), max(min(rest.high, high), low))
        return Chain(value)

    def non_negative(self, value: Value) -> bool:
        """Whether ``value`` cannot be negative, by construction."""
        if value not in self._non_negative:
            self._non_negative[value] = self._is_non_negative(value)
        return self._non_negative[value]

    def _is_non_negative(self, value: Value) -> bool:
        if isinstance(value, Const):
            return bool((value.data >= 0).all())
        node = self.producers.get(value)
        if node is None:
            return False
        name = node.op.name
        if name in CLAMPS:
            return clamp_of(node)[0] >= 0.0 or (
                clamp_of(node)[1] >= 0.0 and self.non_negative(node.inputs[0])
            )
        if name == "softmax":
            return True
        if name == "pad" and node.op.attributes(all_fields=True)["value"] < 0:
            return False
        if node.op.moves or name in ("add", "mul", "average_pool2d"):
            return all(self.non_negative(v) for v in node.inputs)
        return node.op.never_negative([self.non_negative(v) for v in node.inputs])
