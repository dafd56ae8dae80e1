"""Dead code elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """A node of whose outputs none is ever read disappears."""

    name: ClassVar[str] = "dce"

    def run(self, graph: Graph) -> bool:
        return graph.prune()
