"""Recomputation in graphs: the optimizer's sequence becomes cloned nodes, which everything can execute.

A node that runs again is a copy of it, with values of its own; readers read the latest copy before them. The graph
means the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnncc.errors import BudgetError
from dnncc.ir.graph import Graph, Node, Value
from dnncc.passes.planning.problem import Progress
from dnncc.passes.planning.recompute.problem import RematProblem, RematSolution
from dnncc.passes.planning.recompute.solve import solve
from dnncc.plan import KernelNeeds, StatedGraph, root, state
from dnncc.working_set import LOWER, culprits_of


@dataclass(frozen=True)
class Rematerialized:
    """A graph whose order keeps within a budget.

    Attributes:
        graph: the graph with clones, in the order of the solution's sequence.
        needs: of every node of it that is no view.
        clones: the nodes that run again, each with the node of the given graph that it repeats.
        origin: node of the graph -> the node of the given graph that it is or repeats.
        solution: peak, budget's bound, added work and its bound; all in the planner's terms.
        given_peak: of the order that was given.
    """

    graph: Graph
    needs: Mapping[Node, KernelNeeds]
    clones: Mapping[Node, Node]
    origin: Mapping[Node, Node]
    solution: RematSolution
    given_peak: int


def rematerialize(
    graph: Graph,
    needs: Mapping[Node, KernelNeeds],
    budget: int,
    *,
    fixed_order: bool = False,
    work: Mapping[Node, int] | None = None,
    effort: float = 1.0,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Rematerialized:
    """Let a fused graph keep within a budget, by its order and by nodes that run again.

    Args:
        graph: of fused nodes and views; it stays as it is. See `dnncc.plan.state` for what it must be like.
        needs: of every node that is no view.
        budget: bytes of the arena, without what placement may lose.
        fixed_order: whether the nodes must run for the first time in the graph's order.
        work: of one execution of every node; by default `node_work`.
        effort, time_limit, threads, progress: see `dnncc.passes.planning.recompute.solve.solve`.

    Raises:
        BudgetError: no sequence within the budget was found; names the bound and the node that sets it.
    """
    clone = graph.clone()
    pairs = dict(zip(graph.nodes, clone.nodes, strict=True))
    stated = state(clone, {pairs[n]: need for n, need in needs.items() if n in pairs})
    originals = {copy: node for node, copy in pairs.items()}
    cost = tuple((node_work(n) if work is None else work[originals[n]]) for n in stated.steps)
    problem = remat_problem(clone, stated, cost, budget, fixed_order)
    found = solve(problem, effort, time_limit=time_limit, threads=threads, progress=progress)
    if found.peak > budget:
        raise out_of_budget(stated, problem, found)
    given_peak = peak_of(stated)
    blocks = [(stated.steps[v],) for v in found.sequence]
    clones = repeat(clone, blocks)
    repeated = {again: originals[node] for again, node in clones.items() if not node.op.is_view}
    kept = {pairs[n]: need for n, need in needs.items() if n in pairs}
    known = {n: kept[clones.get(n, n)] for n in clone.nodes if not n.op.is_view}
    origin = {n: originals[clones.get(n, n)] for n in clone.nodes}
    return Rematerialized(clone, known, repeated, origin, found, given_peak)


def node_work(node: Node) -> int:
    """What running a node again costs: its multiply-accumulates, and the elements that it writes."""
    return node.macs + sum(v.type.size for v in node.outputs)


def remat_problem(
    graph: Graph, stated: StatedGraph, work: Sequence[int], budget: int, fixed_order: bool
) -> RematProblem:
    """The problem of a stated graph; what writes the graph's outputs runs once."""
    producers = graph.producers()
    outputs = {root(v, producers) for v in graph.outputs}
    once = frozenset(i for i, n in enumerate(stated.steps) if outputs.intersection(n.outputs))
    return RematProblem(stated.problem, tuple(work), budget, fixed_order, once)


def peak_of(stated: StatedGraph) -> int:
    """The peak of the order that was given."""
    from dnncc.passes.planning import order

    return max(order.loads(stated.problem, range(len(stated.steps))), default=0)


def repeat(graph: Graph, blocks: Sequence[Sequence[Node]]) -> dict[Node, Node]:
    """Let a graph run blocks of its nodes in this order (in place); a block that comes again is cloned.

    Views are no part of blocks: they follow what they show. What nobody reads goes.

    Returns:
        Every clone, with the node that it repeats.
    """
    views: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        if node.op.is_view:
            views.setdefault(node.inputs[0], []).append(node)
    latest: dict[Value, Value] = {}
    clones: dict[Node, Node] = {}
    nodes: list[Node] = []
    runs: dict[Node, int] = {}

    def emit(node: Node) -> None:
        count = runs[node] = runs.get(node, 0) + 1
        inputs = [latest.get(v, v) for v in node.inputs]
        if count == 1:
            nodes.append(node)
            node.inputs = inputs
        else:
            again = f"_again{'' if count == 2 else count - 1}"
            outputs = [Value(graph.fresh(f"{v.name}{again}"), v.type) for v in node.outputs]
            nodes.append(Node(node.op, inputs, outputs, f"{node.name}{again}"))
            clones[nodes[-1]] = node
            latest.update(zip(node.outputs, outputs, strict=True))
        for value in node.outputs:
            for view in views.get(value, ()):
                emit(view)

    for value in [*graph.inputs, *graph.constants()]:
        for view in views.get(value, ()):
            emit(view)
    for block in blocks:
        for node in block:
            emit(node)
    graph.nodes = nodes
    graph.prune()
    left = set(graph.nodes)
    return {again: node for again, node in clones.items() if again in left}


def out_of_budget(stated: StatedGraph, problem: RematProblem, found: RematSolution) -> BudgetError:
    """Why there is no sequence within the budget."""
    least = found.least_budget
    reached = f"the lowest peak that was found has {found.peak:,}, and none has less than {least:,}"
    if least <= problem.budget or found.least_operator is None:
        proven = found.status == "infeasible"
        what = "it is proven that no sequence keeps" if proven else "no sequence was found that keeps"
        return BudgetError(f"{what} within {problem.budget:,} bytes; {reached}", help="a larger budget")
    node = stated.steps[found.least_operator]
    return BudgetError(
        f"no order and no recomputation keeps within {problem.budget:,} bytes: at least {least:,} are "
        f"needed, because node '{node.name}' needs what it reads and what it writes at once",
        culprits_of(stated, found.least_operator),
        help=f"a budget of at least {least:,} bytes; {LOWER.format(node=node.name)}",
    )
