"""What no order can avoid: the bytes that one node needs at once, for what it reads and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dnncc.errors import Culprit
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ops.fused import operator_name
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.spill.problem import SpillProblem
from dnncc.plan import KernelNeeds, StatedGraph, state


@dataclass(frozen=True)
class WorkingSet:
    """The largest working set of a graph: a bound that holds for every order, recomputation and spilling.

    Attributes:
        bytes: of the arena.
        node: the node that sets it; None in a graph without nodes.
        culprits: that node, and what it reads.
    """

    bytes: int
    node: Node | None
    culprits: tuple[Culprit, ...]


def largest_working_set(graph: Graph, needs: Mapping[Node, KernelNeeds]) -> WorkingSet:
    """The largest working set of a fused graph; ``needs`` are those of every node that is no view."""
    stated = state(graph, needs)
    least, at = SpillModel(SpillProblem(stated.problem, 0)).largest_working_set()
    if at is None:
        return WorkingSet(0, None, ())
    return WorkingSet(least, stated.steps[at], tuple(culprits_of(stated, at)))


def culprits_of(stated: StatedGraph, operator: int) -> list[Culprit]:
    """An operator and what it reads, with their bytes."""
    node = stated.steps[operator]
    scratch = stated.problem.operators[operator].workspace
    beside = f", with {scratch:,} bytes of scratch memory" if scratch else ""
    return [
        Culprit(
            node.name,
            operator_name(node),
            f"writes {sum(v.type.bytes for v in node.outputs):,} bytes{beside}",
        ),
        *(
            Culprit(v.name, reason=f"its {v.type.bytes:,} bytes are read")
            for v in node.inputs
            if not isinstance(v, Const) and stated.problem.tensors[stated.index[v]].size
        ),
    ]


LOWER = "computing '{node}' in patches, smaller inputs, or writing over what it reads can lower the bound"
"""What could lower the bound that a node sets."""
