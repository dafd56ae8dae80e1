"""The rows of convolutions of a float graph in which depth merging chooses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.passes.depth.kernel import Kernel, compose, parallel
from dnncc.passes.match import Rewriter, non_negative

_REGION = 8
"""An activation has at most so many nodes (x * sigmoid(x) has two)."""


@dataclass(frozen=True)
class Layer:
    """A convolution with what follows it up to the next one.

    Attributes:
        conv: the convolution, with constant weights and bias.
        starts: whether it reads something else than the layer before it gives: nothing merges across.
        add: the sum behind it, and ``skip`` the position of the other operand in the same row, None for a value
            from elsewhere.
        activation: the elementwise nodes behind that; empty for none.
        output: the value at the layer's end.
        held: whether ``output`` is read by others than the next convolution and the skips of the row.
        unsigned: whether ``input`` is certain to have no negative element.
    """

    conv: Node
    starts: bool
    add: Node | None
    skip: int | None
    activation: tuple[Node, ...]
    output: Value
    held: bool
    unsigned: bool

    @property
    def input(self) -> Value:
        return self.conv.inputs[0]

    @property
    def linear(self) -> Value:
        """The value before the activation."""
        return self.conv.output if self.add is None else self.add.output


@dataclass(frozen=True)
class Layers:
    """All rows of a graph, one behind the other; layer p leads from position p - 1 to position p."""

    layers: tuple[Layer, ...]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Layer:
        """The layer that ends at a position, from 1."""
        return self.layers[position - 1]

    def begin(self, position: int) -> Value:
        """The value that the layers behind a position read."""
        return self[position + 1].input

    def segments(self, longest: int) -> Iterator[tuple[int, int]]:
        """The segments of several layers, at most ``longest``, that can be merged into one."""
        for i in range(len(self)):
            for j in range(i + 2, min(i + longest, len(self)) + 1):
                if self[j].starts:
                    break
                if self.can_merge(i, j):
                    yield i, j

    def can_merge(self, i: int, j: int) -> bool:
        """Whether the layers ``i + 1 .. j`` become one convolution once the activations between them are gone."""
        for p in range(i + 1, j):
            layer = self[p]
            if self[p + 1].starts or layer.held:
                return False
            # A sum inside needs both operands inside; what a skip from inside feeds must be inside too.
            if layer.add is not None and (layer.skip is None or layer.skip < i):
                return False
        outer = [p for p in range(j + 1, len(self) + 1) if self[p].skip is not None]
        return all(not i < (self[p].skip or 0) < j for p in outer)

    def absorbs(self, i: int, j: int) -> bool:
        """Whether the sum at the end of the segment becomes part of the merged convolution; a single layer stays."""
        skip = self[j].skip
        return j > i + 1 and skip is not None and skip >= i

    def can_drop(self, position: int) -> bool:
        """Whether the layer's convolution may be replaced by the identity."""
        conv = self[position].conv
        return getattr(conv.op, "strides", None) == (1, 1) and conv.output.type == conv.inputs[0].type

    def kernel(self, i: int, j: int, dropped: Collection[int] = ()) -> Kernel:
        """The layers ``i + 1 .. j`` without the activations between them, and with the sums that they absorb.

        Args:
            dropped: positions of layers that are left out.
        """
        known = {i: Kernel.identity(self.begin(i).type.shape[-1])}
        for p in range(i + 1, j + 1):
            if p in dropped:
                known[p] = known[p - 1]
            else:
                own = Kernel.of(self[p].conv)
                assert own is not None
                known[p] = own if p == i + 1 else compose(known[p - 1], own)
            skip = self[p].skip
            if skip is not None and skip >= i and j > i + 1:
                known[p] = parallel(known[p], known[skip])
        return known[j]


def find_layers(graph: Graph) -> Layers:
    """The rows of a simplified float graph, each as long as it gets."""
    return Layers(tuple(_Finder(graph).layers()))


@dataclass
class _Finder:
    graph: Graph
    taken: set[Node] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.uses: Mapping[Value, list[Node]] = self.graph.uses()
        self.outputs = set(self.graph.outputs)
        self.rewriter = Rewriter(self.graph)

    def layers(self) -> list[Layer]:
        found: list[Layer] = []
        for node in self.graph.nodes:
            if node not in self.taken and Kernel.of(node) is not None:
                found += self.row(node, len(found))
        return found

    def row(self, conv: Node | None, start: int) -> list[Layer]:
        """The row that begins with a convolution at the position ``start``."""
        assert conv is not None
        positions = {conv.inputs[0]: start}
        own: set[Node] = set()
        drafts: list[tuple[Node, Node | None, int | None, tuple[Node, ...], Value]] = []
        while conv is not None:
            own.add(conv)
            add, skip = self.sum_behind(conv.output, positions)
            linear = conv.output if add is None else add.output
            activation, end = self.activation(linear)
            own.update(n for n in (add, *activation) if n is not None and (n is not add or skip is not None))
            self.taken.update(n for n in (conv, add) if n is not None)
            drafts.append((conv, add, skip, activation, end))
            positions[end] = start + len(drafts)
            conv = self.next(end)
        return [
            Layer(
                conv,
                not i,
                add,
                skip,
                activation,
                end,
                self.held(end, own),
                non_negative(self.rewriter, conv.inputs[0]),
            )
            for i, (conv, add, skip, activation, end) in enumerate(drafts)
        ]

    def held(self, value: Value, own: set[Node]) -> bool:
        return value in self.outputs or not own.issuperset(self.uses.get(value, ()))

    def next(self, value: Value) -> Node | None:
        """The convolution that goes on from a value."""
        for node in self.uses.get(value, ()):
            if node not in self.taken and node.inputs[0] is value and Kernel.of(node) is not None:
                return node
        return None

    def sum_behind(self, value: Value, positions: Mapping[Value, int]) -> tuple[Node | None, int | None]:
        """The sum that alone reads a convolution's result, and the position of its other operand."""
        users = self.uses.get(value, [])
        if len(users) != 1 or value in self.outputs or users[0].op.name != "add" or users[0] in self.taken:
            return None, None
        (add,) = users
        other = add.inputs[1] if add.inputs[0] is value else add.inputs[0]
        if isinstance(other, Const) or other.type.shape != value.type.shape:
            return None, None
        return add, positions.get(other)

    def activation(self, value: Value) -> tuple[tuple[Node, ...], Value]:
        """The smallest group of elementwise nodes that reads nothing but a value, and its only result."""
        inside, nodes = [value], list[Node]()
        while len(nodes) < _REGION and value not in self.outputs:
            users = [n for v in inside for n in self.uses.get(v, ()) if n not in nodes]
            node = next((n for n in users if _is_elementwise(n, inside)), None)
            if node is None:
                break
            nodes.append(node)
            inside.append(node.output)
            if all(n in nodes for v in inside[:-1] for n in self.uses.get(v, ())):
                return tuple(nodes), node.output
        return (), value


def _is_elementwise(node: Node, inside: list[Value]) -> bool:
    """Whether a node reads nothing but these values and constants, and gives something of their shape."""
    if not node.op.elementwise or len(node.outputs) != 1:
        return False
    reads_inside = all(isinstance(v, Const) or v in inside for v in node.inputs)
    return reads_inside and node.output.type.shape == inside[0].type.shape
