"""A group of operators that becomes one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import Op, TypeMismatchError


@dataclass(frozen=True)
class Fused(Op):
    """The operators of ``body``, executed as one kernel: only the body's outputs reach memory.

    Operands: the body's inputs, in order. Constants live inside the body.
    """

    name: ClassVar[str] = "fused"
    body: Graph | None = None

    @property
    def graph(self) -> Graph:
        """The body; TypeMismatchError if there is none."""
        if self.body is None:
            raise TypeMismatchError("fused needs a body")
        return self.body

    @property
    def anchor(self) -> Node:
        """The node that gives the kernel its shape: the one with the most work; the last one that is neither
        elementwise nor a change of layout where none multiplies; else the last one."""
        nodes = self.graph.nodes

        def weight(i: int) -> tuple[int, bool, int]:
            op = nodes[i].op
            return nodes[i].macs, not op.elementwise and op.name not in ("transpose", "pad"), i

        return nodes[max(range(len(nodes)), key=weight)]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if tuple(inputs) != tuple(v.type for v in self.graph.inputs):
            raise TypeMismatchError(
                f"fused body takes {[str(v.type) for v in self.graph.inputs]}, not {[str(t) for t in inputs]}"
            )
        return [v.type for v in self.graph.outputs]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        from dnncc.interpreter import interpret

        return interpret(self.graph, list(inputs))

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return self.graph.macs()


def operator_name(node: Node) -> str:
    """The operator that a node is known for: a fused group by its anchor."""
    # A subclass of ``fused`` is an operator of its own kind.
    return node.op.anchor.op.name if type(node.op) is Fused else str(node.op.name)
