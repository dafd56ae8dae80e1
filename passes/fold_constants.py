"""Nodes whose operands are all known are computed at compile time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Const, Graph, Node
from dnncc.ops.moved import moved_quantization
from dnncc.passes.base import Pass
from dnncc.passes.match import ANY, Rewriter, rewrite


@dataclass(frozen=True)
class FoldConstants(Pass):
    """A node that reads constants only becomes the constants that the interpreter computes."""

    name: ClassVar[str] = "fold-constants"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {ANY: _fold})


def _fold(rewriter: Rewriter, node: Node) -> bool:
    operands = [v.data for v in node.inputs if isinstance(v, Const)]
    if not operands or len(operands) != len(node.inputs):
        return False
    rewriter.graph.remove(node)
    for value, array in zip(node.outputs, node.op.reference(*operands), strict=True):
        quantization = value.type.quantization
        if len(node.outputs) == 1 and quantization is None:
            quantization = moved_quantization(node.op, [v for v in node.inputs if isinstance(v, Const)])
        folded = Const.of(value.name, array, quantization)
        rewriter.graph.replace_uses(value, folded)
    return True
