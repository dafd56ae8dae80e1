"""Common subexpression elimination."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.printer import digest
from dnncc.ops.transfer import Transfer
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter


@dataclass(frozen=True)
class EliminateCommonSubexpressions(Pass):
    """Equal operators on the same operands are computed once; constants of equal content become one.

    Two outputs of the graph stay two values.
    """

    name: ClassVar[str] = "cse"

    def run(self, graph: Graph) -> None:
        constants: dict[Hashable, Const] = {}
        for const in graph.constants():
            first = constants.setdefault((digest(const.data), const.type), const)
            if first is not const and const not in graph.outputs:
                graph.replace_uses(const, first)
        rewriter = Rewriter(graph)
        known: dict[Hashable, list[Value]] = {}
        for node in list(graph.nodes):
            if isinstance(node.op, Transfer):
                continue  # what was retrieved may have left since
            key = (node.op, *node.inputs, *(v.type for v in node.outputs))
            first_outputs = known.setdefault(key, node.outputs)
            if first_outputs is not node.outputs:
                for value, first_value in zip(node.outputs, first_outputs, strict=True):
                    if rewriter.replace(value, first_value):
                        rewriter.refresh()
