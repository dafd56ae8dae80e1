"""Every graph output gets memory that a kernel writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph, Value
from dnncc.ops.copy import Copy
from dnncc.passes.base import Pass
from dnncc.plan import root


@dataclass(frozen=True)
class SeparateOutputs(Pass):
    """An output that is an input, a constant, a view of either, or shares bytes with another output becomes a copy."""

    name: ClassVar[str] = "separate-outputs"

    def run(self, graph: Graph) -> bool:
        producers = graph.producers()
        changed = False
        seen: set[Value] = set()
        for i, value in enumerate(graph.outputs):
            base = root(value, producers)
            if base in producers and base not in seen and base.type.size == value.type.size:
                seen.add(base)
                continue
            graph.outputs[i] = graph.append(Copy(), [value], f"{value.name}_copy")
            changed = True
        return changed
