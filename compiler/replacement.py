"""Tensor replacement in graphs: the spill planner's events become ``spill`` and ``retrieve`` nodes.

Everything can execute them, and the graph means the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnncc.errors import BudgetError
from dnncc.ir.graph import Graph, Node, Value
from dnncc.ops.retrieve import Retrieve
from dnncc.ops.spill import Spill
from dnncc.passes.planning.problem import Progress
from dnncc.passes.planning.spill.problem import Kind, SpillProblem, SpillSolution
from dnncc.passes.planning.spill.solve import solve
from dnncc.plan import ALIGNMENT, KernelNeeds, StatedGraph, state
from dnncc.working_set import LOWER, culprits_of

Copies = Sequence[tuple[Kind, Value]]
"""What is copied before a step: values of the graph that are no views."""


@dataclass(frozen=True)
class Replaced:
    """A graph that runs in a scratchpad.

    Attributes:
        graph: with ``spill`` and ``retrieve`` nodes, in the order of the plan.
        needs: of every node of it that is no view.
        origin: node of it -> the same node of the given graph; copies have none.
        solution: bytes copied, their bound, addresses; in the planner's terms.
    """

    graph: Graph
    needs: Mapping[Node, KernelNeeds]
    origin: Mapping[Node, Node]
    solution: SpillSolution


def replace_tensors(
    graph: Graph,
    needs: Mapping[Node, KernelNeeds],
    scratchpad: int,
    *,
    alignment: int = ALIGNMENT,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Replaced:
    """Let a fused graph run in a scratchpad, by its order and by copies to external memory and back.

    Args:
        graph: of fused nodes and views; it stays as it is. See `dnncc.plan.state` for what it must be like.
        needs: of every node that is no view.
        scratchpad: bytes.
        alignment: of everything in it, in bytes.
        time_limit, threads, progress: see `dnncc.passes.planning.spill.solve.solve`; progress gets bytes copied.

    Raises:
        BudgetError: the scratchpad is smaller than what some node needs at once, which is named, or no plan was found.
    """
    clone = graph.clone()
    origin = dict(zip(graph.nodes, clone.nodes, strict=True))
    kept = {origin[n]: need for n, need in needs.items() if n in origin}
    stated = state(clone, kept)
    found = plan_copies(
        stated, scratchpad, alignment=alignment, time_limit=time_limit, threads=threads, progress=progress
    )
    insert_copies(clone, [[stated.steps[v]] for v in found.order], copies_of(stated, found))
    known = {n: kept.get(n, KernelNeeds(0, {})) for n in clone.nodes if not n.op.is_view}
    left = set(clone.nodes)
    return Replaced(clone, known, {here: n for n, here in origin.items() if here in left}, found)


def plan_copies(
    stated: StatedGraph,
    scratchpad: int,
    *,
    alignment: int = ALIGNMENT,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> SpillSolution:
    """The plan of least traffic.

    Raises:
        BudgetError: there is none, or none was found.
    """
    problem = SpillProblem(stated.problem, scratchpad, alignment)
    found = solve(problem, time_limit=time_limit, threads=threads, progress=progress)
    if found.status in ("infeasible", "unknown"):
        raise _no_plan(stated, scratchpad, found)
    return found


def copies_of(stated: StatedGraph, found: SpillSolution) -> list[Copies]:
    """What is copied before each step of the plan."""
    value = {i: v for v, i in stated.index.items()}
    before: list[list[tuple[Kind, Value]]] = [[] for _ in found.order]
    for event in found.events:
        before[event.step].append((event.kind, value[event.storage]))
    return list(before)


def insert_copies(graph: Graph, blocks: Sequence[Sequence[Node]], copies: Sequence[Copies]) -> None:
    """Let a graph run blocks of its nodes in this order (in place), with these copies before each.

    Views are no part of blocks: they follow what they show, and are made again of what is retrieved.
    """
    views: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        if node.op.is_view:
            views.setdefault(node.inputs[0], []).append(node)
    here: dict[Value, Value] = {}
    away: dict[Value, Value] = {}
    nodes: list[Node] = []

    def emit(node: Node) -> None:
        node.inputs = [here.get(v, v) for v in node.inputs]
        nodes.append(node)
        for value in node.outputs:
            follow(value)

    def follow(value: Value) -> None:
        for view in views.get(value, ()):
            emit(view)

    def show_again(value: Value) -> None:
        for view in views.get(value, ()):
            outputs = [Value(graph.fresh(f"{v.name}_back"), v.type) for v in view.outputs]
            nodes.append(Node(view.op, [here.get(v, v) for v in view.inputs], outputs, f"{view.name}_back"))
            for old, new in zip(view.outputs, outputs, strict=True):
                here[old] = new
                show_again(old)

    def copy(kind: Kind, value: Value) -> None:
        if kind == "spill":
            away[value] = Value(graph.fresh(f"{value.name}_away"), value.type)
            nodes.append(Node(Spill(), [here.get(value, value)], [away[value]], away[value].name))
        else:
            back = Value(graph.fresh(f"{value.name}_back"), value.type)
            nodes.append(Node(Retrieve(), [away[value]], [back], back.name))
            here[value] = back
            show_again(value)

    for value in [*graph.inputs, *graph.constants()]:
        follow(value)
    for block, before in zip(blocks, copies, strict=True):
        for kind, value in before:
            copy(kind, value)
        for node in block:
            emit(node)
    graph.nodes = nodes
    graph.prune()


def _no_plan(stated: StatedGraph, scratchpad: int, found: SpillSolution) -> BudgetError:
    if found.status == "unknown" or found.least_operator is None:
        return BudgetError(
            f"no plan for a scratchpad of {scratchpad:,} bytes was found",
            help=f"it is not proven that there is none; {found.least_capacity:,} bytes are needed at least",
        )
    node = stated.steps[found.least_operator]
    return BudgetError(
        f"a scratchpad of {scratchpad:,} bytes is too small: at least {found.least_capacity:,} are needed, because "
        f"node '{node.name}' needs what it reads and what it writes at once",
        culprits_of(stated, found.least_operator),
        help=f"a scratchpad of at least {found.least_capacity:,} bytes; {LOWER.format(node=node.name)}",
    )
