"""The graph IR: values, constants, nodes in execution order, and the edits that passes make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from dnncc.ir.types import Array, DType, Quantization, TensorType

if TYPE_CHECKING:
    from dnncc.ops.base import Op


@dataclass(eq=False)
class Value:
    """One SSA value. Identity is what matters: two values are equal only if they are the same object."""

    name: str
    type: TensorType

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(eq=False, repr=False)
class Const(Value):
    """A value known at compile time; ``data`` has the type's dtype and shape and is never written."""

    data: Array = field(default_factory=lambda: np.zeros(()))

    @staticmethod
    def of(name: str, data: Array, quantization: Quantization | None = None) -> Const:
        """A constant whose type is read off ``data``."""
        data = np.ascontiguousarray(data).reshape(np.shape(data))
        data.setflags(write=False)
        return Const(name, TensorType(DType.of(data), data.shape, quantization), data)


@dataclass(eq=False)
class Node:
    """One application of an operator.

    Attributes:
        op: the operator with its attributes.
        inputs: the values that it reads.
        outputs: the values that it defines.
        name: what the user calls it (the model's node name); reports and errors use it.
    """

    op: Op
    inputs: list[Value]
    outputs: list[Value]
    name: str

    @property
    def output(self) -> Value:
        """The only output; ValueError if there are several."""
        (value,) = self.outputs
        return value

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one execution."""
        return self.op.macs([v.type for v in self.inputs], [v.type for v in self.outputs])

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.name}>"


class Graph:
    """A network in SSA form; **the order of ``nodes`` is the execution order**.

    Attributes:
        name: the network's name.
        inputs: the values that the caller gives.
        outputs: the values that the caller gets; an input or a constant may be one.
        nodes: the operators, in execution order.
    """

    def __init__(self, name: str, inputs: Sequence[Value] = (), outputs: Sequence[Value] = ()) -> None:
        self.name = name
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.nodes: list[Node] = []
        self._counter = 0
        self._names: set[str] = {v.name for v in self.inputs}

    # -- reading -----------------------------------------------------------------------------------------------------

    def values(self) -> Iterator[Value]:
        """Every value once: inputs, then each node's constants and outputs in order, then constant outputs."""
        seen: set[Value] = set()
        for group in [self.inputs, *([*n.inputs, *n.outputs] for n in self.nodes), self.outputs]:
            for value in group:
                if value not in seen:
                    seen.add(value)
                    yield value

    def constants(self) -> list[Const]:
        """Every constant that a node reads or the graph returns, once, in order of first use."""
        return [v for v in self.values() if isinstance(v, Const)]

    def find(self, *ops: str) -> list[Node]:
        """The nodes with one of these operator names, in order (a snapshot: the graph may be edited meanwhile)."""
        return [n for n in self.nodes if n.op.name in ops]

    def producers(self) -> dict[Value, Node]:
        """The node that defines each value (inputs and constants have none)."""
        return {v: n for n in self.nodes for v in n.outputs}

    def uses(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, in order, one entry per operand."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(value, []).append(node)
        return found

    def tables(self) -> set[Value]:
        """The operands that nodes read as a whole, see ``Op.tables``."""
        return {n.inputs[i] for n in self.nodes for i in n.op.tables}

    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(n.macs for n in self.nodes)

    # -- editing -----------------------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A value name that the graph does not use yet."""
        if not self._names or self._counter == 0:
            self._names.update(v.name for v in self.values())
        name = hint
        while name in self._names:
            self._counter += 1
            name = f"{hint}_{self._counter}"
        self._counter += 1
        self._names.add(name)
        return name

    def const(self, hint: str, data: Array, quantization: Quantization | None = None) -> Const:
        """A new constant under a fresh name."""
        return Const.of(self.fresh(hint), data, quantization)

    def make(
        self, op: Op, inputs: Sequence[Value], name: str, types: Sequence[TensorType] | None = None
    ) -> Node:
        """A node that is not in the graph yet; its output types are inferred unless given."""
        inferred = list(types) if types is not None else op.infer(*(v.type for v in inputs))
        hints = [name] if len(inferred) == 1 else [f"{name}_{i}" for i in range(len(inferred))]
        outputs = [Value(self.fresh(hint), t) for hint, t in zip(hints, inferred, strict=True)]
        return Node(op, list(inputs), outputs, name)

    def append(
        self, op: Op, inputs: Sequence[Value], name: str, types: Sequence[TensorType] | None = None
    ) -> Value:
        """Add a node at the end; returns its first output."""
        node = self.make(op, inputs, name, types)
        self.nodes.append(node)
        return node.outputs[0]

    def insert_before(
        self,
        anchor: Node,
        op: Op,
        inputs: Sequence[Value],
        name: str,
        types: Sequence[TensorType] | None = None,
    ) -> Value:
        """Add a node right before ``anchor``; returns its first output."""
        node = self.make(op, inputs, name, types)
        self.nodes.insert(self.nodes.index(anchor), node)
        return node.outputs[0]

    def replace_uses(self, old: Value, new: Value, where: Callable[[Node], bool] | None = None) -> None:
        """Let every reader of ``old`` (and the graph's outputs, unless ``where`` is given) read ``new``."""
        for node in self.nodes:
            if where is None or where(node):
                node.inputs = [new if v is old else v for v in node.inputs]
        if where is None:
            self.outputs = [new if v is old else v for v in self.outputs]

    def remove(self, node: Node) -> None:
        """Take a node out; nothing may read its outputs any more."""
        self.nodes.remove(node)

    def replace(self, node: Node, value: Value) -> None:
        """Let readers of the node's only output read ``value`` instead, and take the node out."""
        self.replace_uses(node.output, value)
        self.remove(node)

    def prune(self) -> bool:
        """Remove nodes whose outputs nobody reads; true if any was removed."""
        live = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(v in live for v in node.outputs):
                live.update(node.inputs)
                kept.append(node)
        changed = len(kept) != len(self.nodes)
        self.nodes = kept[::-1]
        return changed

    def sort(self) -> None:
        """Put the nodes into a topological order, keeping the present order where it is one already."""
        known = set(self.inputs) | {v for n in self.nodes for v in n.inputs if isinstance(v, Const)}
        pending, ordered = list(self.nodes), []
        while pending:
            rest = []
            for node in pending:
                if all(v in known for v in node.inputs):
                    ordered.append(node)
                    known.update(node.outputs)
                else:
                    rest.append(node)
            if len(rest) == len(pending):
                raise ValueError(
                    "the graph has a cycle or a dangling input: " + ", ".join(n.name for n in rest)
                )
            pending = rest
        self.nodes = ordered

    def clone(self) -> Graph:
        """A deep copy of values and nodes; operators and constant data are shared, they are immutable."""
        copies: dict[Value, Value] = {}

        def copy(value: Value) -> Value:
            if value not in copies:
                if isinstance(value, Const):
                    copies[value] = Const(value.name, value.type, value.data)
                else:
                    copies[value] = Value(value.name, value.type)
            return copies[value]

        other = Graph(self.name, [copy(v) for v in self.inputs])
        other.nodes = [
            Node(n.op, [copy(v) for v in n.inputs], [copy(v) for v in n.outputs], n.name) for n in self.nodes
        ]
        other.outputs = [copy(v) for v in self.outputs]
        other._counter = self._counter
        other._names = set(self._names)
        return other

    def __repr__(self) -> str:
        return f"<graph {self.name}, {len(self.nodes)} nodes>"

    def __str__(self) -> str:
        from dnncc.ir.text import print_graph

        return print_graph(self)
