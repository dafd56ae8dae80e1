"""A recurrent layer whose last step alone is read gives only that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dnncc.ir.graph import Graph, Node, Value
from dnncc.ops.recurrent import OverTime
from dnncc.ops.reshape import Reshape
from dnncc.ops.slice import Slice
from dnncc.passes.base import Pass


@dataclass(frozen=True)
class LastStep(Pass):
    """slice(recurrent(x)), if it takes the last step (the first, in reverse) and nothing else reads the layer's result,
    is a reshape of the layer with ``last``: the other steps need no memory.
    """

    name: ClassVar[str] = "last-step"

    def run(self, graph: Graph) -> bool:
        users, changed = graph.uses(), False
        for node in graph.nodes:
            y = node.outputs[0]
            readers = users.get(y, [])
            if y in graph.outputs or not readers or not all(_takes_last(node, reader) for reader in readers):
                continue
            assert isinstance(node.op, OverTime)
            node.op = replace(node.op, last=True)
            end = Value(y.name, y.type.with_shape(y.type.shape[1:]))
            node.outputs[0] = end
            for reader in readers:
                reader.op, reader.inputs = Reshape(reader.output.type.shape), [end]
            changed = True
        return changed


def _takes_last(node: Node, reader: Node) -> bool:
    op = node.op
    if not isinstance(op, OverTime) or op.last or not isinstance(reader.op, Slice):
        return False
    if op.lengths and not op.reverse:
        return False
    shape = node.outputs[0].type.shape
    at = 0 if op.reverse else shape[0] - 1
    return reader.op.starts == (at, 0, 0) and reader.op.stops == (at + 1, *shape[1:])
