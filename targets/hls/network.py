"""The fused integer graph as layers on wires: what streams, and what is refused.

A fused group becomes its anchor (with a window where it has one) and one elementwise layer of everything behind it.
Reshapes vanish: a stream is in row-major order whatever the shape. A transposition right behind an input or before an
output becomes the order in which the AXI stream carries the tensor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dnncc.errors import Culprit, UnsupportedError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import TensorType
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.fused import Fused
from dnncc.ops.linear import Linear
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.pad import Pad
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.ranges import Interval, union
from dnncc.ops.softmax_int import SoftmaxInt
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.transpose import Transpose
from dnncc.ops.window import Window as Geometry
from dnncc.passes.quantize.intervals import node_ranges
from dnncc.targets.hls.stages.base import Layer, Number, Wire
from dnncc.targets.hls.stages.channelwise import ChannelLayer, whole
from dnncc.targets.hls.stages.elementwise import ElementwiseLayer, Formula, refusal
from dnncc.targets.hls.stages.matrix import MatrixLayer, Weights
from dnncc.targets.hls.stages.movement import BorderLayer, ConcatLayer
from dnncc.targets.hls.stages.softmax import SoftmaxLayer
from dnncc.targets.hls.stages.window import Sliding

PIPELINE = "last-step,fuse"
ELSEWHERE = "microcontrollers and the host (dnncc list targets) run every operator that has code"


@dataclass(frozen=True, eq=False)
class Port:
    """An input or output of the network.

    Attributes:
        name, type: of the graph's value.
        wire: what the AXI stream carries.
        order: the stream has the tensor transposed by this permutation, in row-major order.
    """

    name: str
    type: TensorType
    wire: Wire
    order: tuple[int, ...]


@dataclass(eq=False)
class Network:
    """Layers in execution order.

    Attributes:
        name: prefix of every C++ symbol.
        layers: border layers included.
        inputs, outputs: the ports, as in the graph.
    """

    name: str
    layers: list[Layer] = field(default_factory=list)
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)

    def readers(self) -> dict[Wire, list[tuple[Layer, int]]]:
        """Who reads each wire, and as which of its inputs."""
        found: dict[Wire, list[tuple[Layer, int]]] = {}
        for layer in self.layers:
            for index, wire in enumerate(layer.inputs):
                found.setdefault(wire, []).append((layer, index))
        return found


def build_network(meaning: Graph, name: str) -> Network:
    """The layers of an integer graph.

    Raises:
        UnsupportedError: with every node that cannot stream.
    """
    from dnncc.passes.pipeline import Pipeline

    graph = meaning.clone()
    perms = absorb_transposes(graph)
    inputs = list(graph.inputs)
    Pipeline.parse(PIPELINE).run(graph)
    builder = _Builder(graph, name)
    builder.build()
    if builder.culprits:
        raise UnsupportedError(
            f"{len(builder.culprits)} operators of '{graph.name}' cannot stream through an FPGA",
            builder.culprits,
            help=f"{ELSEWHERE}; cut the model with --inputs and --outputs, or see docs/targets/hls.md for what streams",
        )
    network = builder.network
    for old, new in zip(meaning.inputs, inputs, strict=True):
        perm = perms.get(new.name, tuple(range(old.type.rank)))
        network.inputs.append(Port(old.name, old.type, builder.wires[new], perm))
    for old, new in zip(meaning.outputs, graph.outputs, strict=True):
        perm = perms.get(new.name, tuple(range(old.type.rank)))
        order = tuple(perm.index(axis) for axis in range(len(perm)))
        network.outputs.append(Port(old.name, old.type, builder.wires[new], order))
    return network


@dataclass(eq=False)
class _Builder:
    graph: Graph
    name: str
    network: Network = field(init=False)
    culprits: list[Culprit] = field(default_factory=list)
    ranges: dict[Value, Interval] = field(default_factory=dict)
    wires: dict[Value, Wire] = field(default_factory=dict)
    padded: dict[Value, Node] = field(default_factory=dict)

    def build(self) -> None:
        self.network = Network(self.name)
        for value in self.graph.inputs:
            interval = Interval.of_dtype(value.type.dtype)
            self.ranges[value] = interval
            self._add(
                BorderLayer(
                    self._name(value.name),
                    value.name,
                    (),
                    self._wire(value, interval),
                    value.type.dtype,
                    True,
                )
            )
        for node in self.graph.nodes:
            if not all(v.type.dtype.is_integer for v in (*node.inputs, *node.outputs)):
                self._refuse(node, "works on floats: the target computes with integers only")
            else:
                self._node(node)
            for value in node.outputs:
                if value not in self.wires:
                    self._go_on(node, value)
        for value in self.graph.outputs:
            self._output(value)
        read = self.network.readers()
        for value in self.graph.inputs:
            if self.wires[value] not in read:
                self.culprits.append(Culprit(value.name, reason="is an input that nothing reads"))

    def _output(self, value: Value) -> None:
        if isinstance(value, Const):
            self.culprits.append(Culprit(value.name, reason="is a constant: nothing computes it"))
            return
        wire = self.wires[value]
        axis = Wire(f"{value.name} (AXI)", wire.number, wire.elements, wire.channels)
        self._add(BorderLayer(self._name(value.name), value.name, (wire,), axis, value.type.dtype, False))

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        if node.op.is_view:
            self._alias(node.output, node.inputs[0])
        elif isinstance(node.op, Fused):
            for inner, outer in zip(node.op.graph.inputs, node.inputs, strict=True):
                self._alias(inner, outer)
            self._group(node.op.graph.nodes, node)
            for inner, outer in zip(node.op.graph.outputs, node.outputs, strict=True):
                self._alias(outer, inner)
        else:
            self._group([node], node)

    def _alias(self, new: Value, old: Value) -> None:
        """``new`` is the same stream as ``old``."""
        if isinstance(old, Const) or old not in self.wires:
            return
        interval = self.ranges[old]
        by_channel = bool(interval.low.ndim) and new.type.shape[-1:] != old.type.shape[-1:]
        self.ranges[new] = interval.collapsed() if by_channel else interval
        self.wires[new] = self.wires[old]

    def _group(self, body: Sequence[Node], outer: Node) -> None:
        """A kernel: what is not elementwise by itself, then all the elementwise nodes together."""
        elementwise: list[Node] = []
        reasons: list[tuple[Node, str]] = []
        for node in body:
            if not isinstance(node.op, Pad) and node.op.elementwise:
                reason = refusal(node)
                if reason is None:
                    elementwise.append(node)
            else:
                reason = self._anchor(node, body, outer)
            if reason is not None:
                reasons.append((node, reason))
            elif not self._know_range(node):
                reasons.append((node, "has a sum that is not proven to fit 32 bits"))
            if node.output not in self.ranges:
                self.ranges[node.output] = Interval.of_dtype(node.output.type.dtype)
        for node, reason in reasons:
            self._refuse(node, reason)
        if reasons or not elementwise:
            return
        inside = {n.output for n in elementwise}
        inputs = [v for n in elementwise for v in n.inputs if not isinstance(v, Const) and v not in inside]
        if any(n.output in v.inputs for n in elementwise for v in body if v not in elementwise):
            self._refuse(outer, "is an elementwise operator before another one in the same kernel")
            return
        unique = tuple(dict.fromkeys(inputs))
        result = elementwise[-1].output
        formula = Formula(tuple(elementwise), unique, self.ranges, result.type.shape)
        wires = tuple(self.wires[v] for v in unique)
        layer = ElementwiseLayer(
            self._name(outer.name), outer.name, wires, self._wire(result, self.ranges[result]), formula
        )
        self._add(layer)

    def _anchor(self, node: Node, body: Sequence[Node], outer: Node) -> str | None:
        """Add the layer of a node that is not elementwise; why not, if that is impossible."""
        op = node.op
        if isinstance(op, Pad):
            return self._pad(node, op, body)
        if any(
            v not in self.wires and v not in self.padded and not isinstance(v, Const) for v in node.inputs
        ):
            return "reads something that does not stream"
        if isinstance(op, Conv2d):
            return self._conv(node, op)
        if isinstance(op, Linear):
            return self._linear(node)
        if isinstance(op, MaxPool2d | SumPool2d):
            return self._pool(node, op)
        if isinstance(op, SoftmaxInt):
            return self._softmax(node, op)
        if isinstance(op, Concat):
            return self._concat(node, op)
        if isinstance(op, Transpose) and _moves_nothing(op.perm, node.inputs[0].type.shape):
            self._alias(node.output, node.inputs[0])
            return None
        return "has no streaming stage"

    def _pad(self, node: Node, op: Pad, body: Sequence[Node]) -> str | None:
        """Padding of an image right before the window that reads it: the window fills in the value."""
        (x,) = node.inputs
        readers = [n for n in body if node.output in n.inputs]
        windows = all(isinstance(n.op, Conv2d | Pool2d) and not any(n.op.pads) for n in readers)
        if not (readers and windows and len(op.pads) == 4 and op.pads[0] == op.pads[3] == (0, 0)):
            return (
                "streams only as the padding of an image right before a convolution or pool without its own"
            )
        number = self.wires[x].number
        if Number.of(union([self.ranges[x], Interval.of(int(op.value), int(op.value))])) != number:
            return f"fills in {int(op.value)}, which the operand's {number.c_type} does not hold"
        self.padded[node.output] = node
        return None

    def _sliding(
        self, value: Value, kernel: tuple[int, int], geometry: Geometry, filler: int
    ) -> tuple[Value, Sliding]:
        """What a window reads, and how; padding before it is its own."""
        if value in self.padded:
            node = self.padded[value]
            assert isinstance(node.op, Pad)
            (top, bottom), (left, right) = node.op.pads[1:3]
            geometry = replace(geometry, pads=(top, left, bottom, right))
            value, filler = node.inputs[0], int(node.op.value)
        _, h, w, c = value.type.shape
        return value, Sliding(h, w, c, kernel, geometry, filler)

    def _conv(self, node: Node, op: Conv2d) -> str | None:
        x, w, b = node.inputs
        if not (isinstance(w, Const) and isinstance(b, Const)):
            return "has weights that are not constant"
        n, _, _, c = x.type.shape
        o, kh, kw, cg = w.type.shape
        if n != 1:
            return f"has a batch of {n}"
        interval = whole(self.ranges[x]) if any(op.pads) else self.ranges[x].collapsed()
        x, sliding = self._sliding(x, (kh, kw), op.window, 0)
        accumulator = self._accumulator(node)
        if accumulator is None:
            return "has a sum that is not proven to fit 32 bits"
        data = w.data.reshape(o, kh * kw, cg)
        weights = Weights(data, b.data, interval, accumulator)
        wire = self._out(node)
        if op.groups == 1:
            self._add(
                MatrixLayer(
                    self._name(node.name),
                    node.name,
                    (self.wires[x],),
                    wire,
                    sliding,
                    math.prod(sliding.output),
                    weights,
                )
            )
        elif op.groups == c == o:
            self._add(
                ChannelLayer(
                    self._name(node.name), node.name, (self.wires[x],), wire, "multiply", sliding, weights
                )
            )
        else:
            return f"has {op.groups} groups: 1, or as many as channels, stream"
        return None

    def _linear(self, node: Node) -> str | None:
        x, w, b = node.inputs
        if not (isinstance(w, Const) and isinstance(b, Const)):
            return "has weights that are not constant"
        accumulator = self._accumulator(node)
        if accumulator is None:
            return "has a sum that is not proven to fit 32 bits"
        rows, columns = w.type.shape
        weights = Weights(w.data.reshape(rows, 1, columns), b.data, self.ranges[x].collapsed(), accumulator)
        vectors = x.type.size // columns
        wire = self._out(node)
        self._add(
            MatrixLayer(self._name(node.name), node.name, (self.wires[x],), wire, None, vectors, weights)
        )
        return None

    def _pool(self, node: Node, op: Pool2d) -> str | None:
        (x,) = node.inputs
        if x.type.shape[0] != 1:
            return f"has a batch of {x.type.shape[0]}"
        largest = isinstance(op, MaxPool2d)
        x, sliding = self._sliding(x, op.kernel, op.window, self.ranges[x].min if largest else 0)
        wire = self._out(node)
        self._add(
            ChannelLayer(
                self._name(node.name),
                node.name,
                (self.wires[x],),
                wire,
                "max" if largest else "add",
                sliding,
            )
        )
        return None

    def _softmax(self, node: Node, op: SoftmaxInt) -> str | None:
        x, table = node.inputs
        if not isinstance(table, Const):
            return "has a table that is not constant"
        if any(d != 1 for d in x.type.shape[op.axis + 1 :]):
            return "is not along the last axis"
        length = x.type.shape[op.axis]
        wire = self._out(node, length)
        self._add(SoftmaxLayer(self._name(node.name), node.name, (self.wires[x],), wire, op, table.data))
        return None

    def _concat(self, node: Node, op: Concat) -> str | None:
        if any(isinstance(v, Const) for v in node.inputs):
            return "has a constant operand"
        if len(set(node.inputs)) != len(node.inputs):
            return "has an operand twice"
        inner = node.output.type.shape[op.axis + 1 :]
        if any(d != 1 for d in inner):
            return "is not along the last axis"
        parts = tuple(v.type.shape[op.axis] for v in node.inputs)
        wires = tuple(self.wires[v] for v in node.inputs)
        self._add(ConcatLayer(self._name(node.name), node.name, wires, self._out(node, sum(parts)), parts))
        return None

    # -- helpers -----------------------------------------------------------------------------------------------------

    def _accumulator(self, node: Node) -> Interval | None:
        try:
            found = node_ranges(node, self.ranges).whole
        except LookupError:
            return None
        return found if found.bits <= 32 else None

    def _know_range(self, node: Node) -> bool:
        try:
            self.ranges[node.output] = node_ranges(node, self.ranges).output
        except LookupError:
            return False
        return self.ranges[node.output].fits(node.output.type.dtype)

    def _out(self, node: Node, channels: int | None = None) -> Wire:
        """The wire of a node's result."""
        try:
            interval = node_ranges(node, self.ranges).output
        except LookupError:
            interval = Interval.of_dtype(node.output.type.dtype)
        return self._wire(node.output, interval, channels)

    def _wire(self, value: Value, interval: Interval, channels: int | None = None) -> Wire:
        wire = Wire(value.name, Number.of(interval), value.type.size, channels or _channels(value.type))
        self.wires[value] = wire
        return wire

    def _add(self, layer: Layer) -> None:
        self.network.layers.append(layer)

    def _go_on(self, node: Node, value: Value) -> None:
        """Behind a node that is refused: assume what its type says, so that the others are checked as well."""
        interval = Interval.of_dtype(value.type.dtype) if value.type.dtype.is_integer else Interval.of(0, 1)
        self.ranges[value] = interval
        self._wire(value, interval)
        if not self.culprits:
            self._refuse(node, "has no streaming stage")

    def _refuse(self, node: Node, reason: str) -> None:
        self.culprits.append(Culprit(node.name, node.op.name, reason))

    def _name(self, name: str) -> str:
        """A C++ name for a layer of this node: short, unique by its number."""
        words = re.findall(r"[A-Za-z0-9]+", name.split(";")[-1].split("/")[-1])
        short = "_".join(words)[:24].lower() or "layer"
        return f"{self.name}_{len(self.network.layers)}_{short}"


def _channels(type: TensorType) -> int:
    return type.shape[-1] if type.shape else 1


def absorb_transposes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Take out transpositions that alone read an input or give an output: the new borders are what they lead to or
    come from. Returns the permutations by the new borders' names: of an input, axis i of the new one is axis perm[i]
    of the old one; of an output, axis i of the old one is axis perm[i] of the new one.
    """
    users, outputs, producers, found = graph.uses(), set(graph.outputs), graph.producers(), {}
    for index, value in enumerate(graph.inputs):
        readers = users.get(value, [])
        if len(readers) == 1 and isinstance(readers[0].op, Transpose) and value not in outputs:
            graph.nodes.remove(readers[0])
            graph.inputs[index] = readers[0].output
            found[readers[0].output.name] = readers[0].op.perm
    for index, value in enumerate(graph.outputs):
        producer = producers.get(value)
        if producer in graph.nodes and isinstance(producer.op, Transpose) and not users.get(value):
            graph.nodes.remove(producer)
            graph.outputs[index] = producer.inputs[0]
            found[producer.inputs[0].name] = producer.op.perm
    return found


def _moves_nothing(perm: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether only axes of length 1 change places."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)
