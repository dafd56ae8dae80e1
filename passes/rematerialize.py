"""Recomputation under a memory budget: nodes run again instead of keeping what they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass
from dnncc.passes.fuse import Fuse, groups
from dnncc.passes.separate_outputs import SeparateOutputs
from dnncc.plan import KernelNeeds, state


@dataclass(frozen=True)
class Rematerialize(Pass):
    """Keeps the activations within `budget` by the order of the nodes and by clones of nodes that run again, adding as
    little work as possible. Up to 1 the budget is a fraction of the peak of the graph's own order, above 1 it is bytes.

    - `order=free` searches order and recomputation together, `order=fixed` keeps the order of first executions;
    - memory is what `fuse` will leave in memory; inputs and outputs belong to the caller and do not count;
    - work is multiply-accumulates plus elements written;
    - `effort` is a deterministic limit of the search.
    """

    name: ClassVar[str] = "rematerialize"
    budget: float = 1.0
    order: Literal["free", "fixed"] = "free"
    effort: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.budget < float("inf"):
            raise ValueError(f"the budget {self.budget} is no positive number")
        if not 0 < self.effort < float("inf"):
            raise ValueError(f"the effort {self.effort} is no positive number")

    def run(self, graph: Graph) -> bool:
        from dnncc.passes.planning.recompute.solve import solve
        from dnncc.rematerialization import node_work, out_of_budget, peak_of, remat_problem, repeat
        from dnncc.scheduling import budget_bytes

        fused = graph.clone()
        originals = dict(zip(fused.nodes, graph.nodes, strict=True))
        SeparateOutputs().run(fused)
        members = {g.nodes[-1].outputs[0]: g.nodes for g in groups(fused).values()}
        Fuse().run(fused)
        stated = state(fused, {n: KernelNeeds(0, {}) for n in fused.nodes})
        budget = budget_bytes(self.budget, peak_of(stated))
        work = [node_work(n) for n in stated.steps]
        problem = remat_problem(fused, stated, work, budget, self.order == "fixed")
        found = solve(problem, self.effort)
        if found.peak > budget:
            raise out_of_budget(stated, problem, found)
        if found.sequence == tuple(range(len(stated.steps))):
            return False
        blocks = []
        for v in found.sequence:
            step = stated.steps[v]
            # Copies that only `separate-outputs` makes have no counterpart here.
            nodes = members.get(step.outputs[0], [step])
            blocks.append([originals[n] for n in nodes if n in originals])
        repeat(graph, blocks)
        return True
