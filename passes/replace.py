"""Tensor replacement: values leave the scratchpad for external memory while nobody uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass
from dnncc.passes.fuse import Fuse, groups
from dnncc.passes.separate_outputs import SeparateOutputs
from dnncc.plan import KernelNeeds, state


@dataclass(frozen=True)
class Replace(Pass):
    """Lets the activations live in `scratchpad` bytes, by the order of the nodes and by `spill` and `retrieve` nodes,
    copying as few bytes as possible.

    - memory is what `fuse` will leave in memory, without the kernels' scratch memory; inputs and outputs belong to the
      caller and do not count;
    - a value that is retrieved may leave again: it is not written again.
    """

    name: ClassVar[str] = "replace"
    scratchpad: int = 65536

    def __post_init__(self) -> None:
        if self.scratchpad < 0:
            raise ValueError(f"a scratchpad of {self.scratchpad} bytes")

    def run(self, graph: Graph) -> bool:
        from dnncc.replacement import copies_of, insert_copies, plan_copies

        fused = graph.clone()
        nodes = dict(zip(fused.nodes, graph.nodes, strict=True))
        values = {a: b for n, m in nodes.items() for a, b in zip(n.outputs, m.outputs, strict=True)}
        values |= dict(zip(fused.inputs, graph.inputs, strict=True))
        SeparateOutputs().run(fused)
        members = {g.nodes[-1].outputs[0]: g.nodes for g in groups(fused).values()}
        Fuse().run(fused)
        stated = state(fused, {n: KernelNeeds(0, {}) for n in fused.nodes if not n.op.is_view})
        found = plan_copies(stated, self.scratchpad)
        if found.order == tuple(range(len(stated.steps))) and not found.events:
            return False
        blocks = []
        for v in found.order:
            step = stated.steps[v]
            # Copies that only `separate-outputs` makes have no counterpart here.
            blocks.append([nodes[n] for n in members.get(step.outputs[0], [step]) if n in nodes])
        copies = [[(kind, values[v]) for kind, v in before] for before in copies_of(stated, found)]
        insert_copies(graph, blocks, copies)
        return True
