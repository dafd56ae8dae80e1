"""Grouping: every node that does work ends in a ``fused`` node, which becomes one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.fused import Fused
from dnncc.passes.base import Pass

_PROLOGUES = ("pad", "transpose")
_WINDOWED = ("conv2d", "max_pool2d", "average_pool2d", "sum_pool2d")


@dataclass(frozen=True)
class Fuse(Pass):
    """Nodes that pass a value to one another, and to nobody else, become one kernel:

    - an anchor (any operator that is not elementwise) with the elementwise operators after it;
    - of two anchors whose results meet, the one executed later takes the meeting point and what follows; also
      the operators of the other behind its smallest value, which is what has to be stored;
    - elementwise operators without an anchor with each other, and with the group that they lead to;
    - pads and transposes with each other and with the conv2d or pool after them.

    An operator that says itself how it loops stays alone.

    Constants move into the bodies. Views stay as they are. A group is executed where its last node was.
    """

    name: ClassVar[str] = "fuse"

    def run(self, graph: Graph) -> None:
        grouped = groups(graph)
        nodes: list[Node] = []
        for node in graph.nodes:
            group = grouped.get(node)
            if group is None:
                nodes.append(node)
            elif node is group.nodes[-1]:
                nodes.append(_fused(group))
        graph.nodes = nodes


@dataclass(eq=False)
class Group:
    """Nodes in execution order. Each but the last gives its only output to one other: they form a tree."""

    nodes: list[Node]
    anchor: Node | None

    @property
    def main(self) -> Node:
        """What the group is named after."""
        return self.anchor or self.nodes[-1]


def groups(graph: Graph) -> dict[Node, Group]:
    """The group of every node that is neither a view nor fused already."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    producers, users, outputs = graph.producers(), graph.uses(), set(graph.outputs)
    found: dict[Node, Group] = {}

    def feeders(node: Node) -> list[Group]:
        """The groups whose result only ``node`` reads, so that it may join them; the latest first."""
        joining: dict[Group, None] = {}
        for value in node.inputs:
            producer = producers.get(value)
            if producer is None or producer.op.is_loops() or node.op.is_loops():
                continue
            if producer in found and value not in outputs and all(user is node for user in users[value]):
                if node.op.elementwise:
                    # A smaller operand would be computed again for each element that it broadcasts to.
                    joins = len(producer.outputs) == 1 and value.type.shape == node.output.type.shape
                else:
                    prologue = producer.op.name in _PROLOGUES and value is node.inputs[0]
                    joins = prologue and node.op.name in (*_WINDOWED, *_PROLOGUES)
                if joins:
                    joining[found[producer]] = None
        return sorted(joining, key=lambda group: position[group.main], reverse=True)

    for node in graph.nodes:
        if node.op.is_view or isinstance(node.op, Fused):
            continue
        group = Group([node], None if node.op.elementwise else node)
        for feeder in feeders(node):
            if node.op.elementwise and group.anchor is not None and feeder.anchor is not None:
                group.nodes += _cut(feeder, feeder.anchor, producers, users)
                continue
            group.nodes += feeder.nodes
            group.anchor = group.anchor or feeder.anchor
        group.nodes.sort(key=position.__getitem__)
        found.update(dict.fromkeys(group.nodes, group))
    return found


def _cut(
    group: Group, anchor: Node, producers: dict[Value, Node], users: dict[Value, list[Node]]
) -> list[Node]:
    """Let ``group`` end with its smallest value, which is to be stored, and return the nodes behind it."""
    path = [anchor]
    while path[-1] is not group.nodes[-1]:
        path.append(users[path[-1].output][0])
    smallest = min(reversed(path), key=lambda node: node.output.type.bytes)
    kept = {smallest}
    for node in reversed(group.nodes):
        if node in kept:
            kept.update(p for v in node.inputs if (p := producers.get(v)) in group.nodes)
    behind = [node for node in group.nodes if node not in kept]
    group.nodes = [node for node in group.nodes if node in kept]
    return behind


def _fused(group: Group) -> Node:
    """The node that stands for the group; it defines the very values that the last node defined."""
    body = Graph(group.main.name)
    copies: dict[Value, Value] = {}
    operands: list[Value] = []

    def inside(value: Value) -> Value:
        if value not in copies:
            if isinstance(value, Const):
                copies[value] = Const(value.name, value.type, value.data)
            else:
                copies[value] = Value(value.name, value.type)
                body.inputs.append(copies[value])
                operands.append(value)
        return copies[value]

    for node in group.nodes:
        inputs = [inside(v) for v in node.inputs]
        for value in node.outputs:
            copies[value] = Value(value.name, value.type)
        body.nodes.append(Node(node.op, inputs, [copies[v] for v in node.outputs], node.name))
    last = group.nodes[-1]
    body.outputs = [copies[v] for v in last.outputs]
    return Node(Fused(body), operands, last.outputs, group.main.name)
