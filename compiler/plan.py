"""The memory plan of a graph: in which order its kernels run and where every tensor lies.

The optimizers (``dnncc.passes.planning``) know nothing of graphs; this file states a graph's problem to them and reads
their answers back.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.spill import Spill
from dnncc.ops.transfer import Transfer
from dnncc.passes.planning import order, place
from dnncc.passes.planning.lifetimes import place_problem
from dnncc.passes.planning.problem import (
    Buffer,
    Operator,
    OrderProblem,
    Overlap,
    PlaceProblem,
    PlaceSolution,
    Pool,
    Progress,
    Tensor,
)
from dnncc.plan_check import check_plan

ALIGNMENT = 4  # words are loaded and stored as such


@dataclass(frozen=True)
class KernelNeeds:
    """What the planner must know of a node's kernel.

    Attributes:
        scratch: bytes that the kernel needs while it runs.
        overlaps: (output index, input index) -> distance, see ``dnncc.passes.planning.problem.Overlap``.
        alignment: of the scratch memory, in bytes, where the plan's would not do.
    """

    scratch: int
    overlaps: Mapping[tuple[int, int], int]
    alignment: int = 1


@dataclass(frozen=True)
class PoolUse:
    """How much of one memory pool the plan uses; bytes of capacity, None for no limit."""

    name: str
    bytes: int
    capacity: int | None


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    Attributes:
        steps: the nodes that run, in order (views are no steps).
        offsets: offset in its pool's arena of every value that lies there, views included.
        scratch: offset of each step's scratch, None where it needs none.
        pools: the pools that were offered, the default one first, and the external one if anything is spilled; each
            has an arena of its own.
        pool_of: index of the pool of every value in `offsets`.
        scratch_pools: index of the pool of each step's scratch, 0 where it needs none.
        alignment: of the arenas and of everything in them, in bytes.
        lifetimes: per value in the arena the half-open interval of steps in which its storage lives.
        arena_bytes: the arena's size, all pools but the external one together.
        bound_bytes: no order and placement of these kernels needs a smaller arena.
        status: "optimal" if the arena equals the bound, else "feasible".
        peak_step: the first step at which most bytes of the arena are in use.
        order_peak_bytes: the peak without fragmentation, as the order search counts it.
        effort: states that the order search expanded and placements that were tried; no measure of time, but the same
            on every machine.
    """

    steps: tuple[Node, ...]
    offsets: dict[Value, int]
    scratch: tuple[int | None, ...]
    lifetimes: dict[Value, tuple[int, int]]
    arena_bytes: int
    bound_bytes: int
    status: str
    peak_step: int
    order_peak_bytes: int
    pools: tuple[PoolUse, ...]
    pool_of: dict[Value, int]
    scratch_pools: tuple[int, ...]
    alignment: int = ALIGNMENT
    effort: int = 0

    @property
    def copied_bytes(self) -> int:
        """Bytes that one inference spills and retrieves."""
        return sum(s.output.type.bytes for s in self.steps if isinstance(s.op, Transfer))

    @property
    def fits(self) -> bool:
        """Whether no pool is used beyond its capacity."""
        return all(p.capacity is None or p.bytes <= p.capacity for p in self.pools)


DEFAULT_POOLS = (Pool("ram"),)
EXTERNAL = Pool("external")


def root(value: Value, producers: Mapping[Value, Node]) -> Value:
    """The value whose bytes ``value`` shows: itself, or what it is a view of."""
    node = producers.get(value)
    while node is not None and node.op.is_view:
        value = node.inputs[0]
        node = producers.get(value)
    return value


@dataclass(frozen=True)
class StatedGraph:
    """A graph as the optimizers see it.

    Attributes:
        problem: operator i is ``steps[i]``.
        steps: the nodes that run, in the graph's order (views are no steps).
        index: of every value that is no constant the tensor.
    """

    problem: OrderProblem
    steps: tuple[Node, ...]
    index: Mapping[Value, int]


def state(graph: Graph, needs: Mapping[Node, KernelNeeds]) -> StatedGraph:
    """The planner's problem of a graph whose order is the given one.

    The graph's inputs and outputs belong to the caller and take no arena; what is spilled lies in external memory.
    Every output must be written by a step, and no two outputs may share bytes.
    """
    producers = graph.producers()
    outside = {*graph.inputs, *(root(v, producers) for v in graph.outputs)}
    outside.update(v for n in graph.nodes if isinstance(n.op, Spill) for v in n.outputs)
    values = [v for v in graph.values() if not isinstance(v, Const)]
    index = {v: i for i, v in enumerate(values)}
    tensors = []
    for value in values:
        base = root(value, producers)
        size = 0 if base in outside else value.type.bytes
        tensors.append(Tensor(size, None if base is value else index[base]))
    steps = [n for n in graph.nodes if not n.op.is_view]
    operators = []
    for node in steps:
        rules = tuple(
            Overlap(index[node.outputs[o]], index[node.inputs[i]], d)
            for (o, i), d in needs[node].overlaps.items()
            if tensors[index[node.outputs[o]]].size and tensors[index[node.inputs[i]]].size
        )
        reads = dict.fromkeys(index[v] for v in node.inputs if not isinstance(v, Const))
        operators.append(
            Operator(tuple(reads), tuple(index[v] for v in node.outputs), needs[node].scratch, rules)
        )
    views = [index[v] for v in graph.outputs if not isinstance(v, Const)]
    problem = OrderProblem(tuple(tensors), tuple(operators), tuple(views))
    return StatedGraph(problem, tuple(steps), index)


def make_plan(
    graph: Graph,
    needs: Mapping[Node, KernelNeeds],
    effort: float = place.DEFAULT_EFFORT,
    progress: Progress | None = None,
    pools: Sequence[Pool] = DEFAULT_POOLS,
    external: Pool = EXTERNAL,
    alignment: int = ALIGNMENT,
) -> Plan:
    """Order the graph's nodes (in place) and place its values; those that ``spill`` writes go to the external pool.

    The first pool takes everything if it can and none is faster; else the pools share it, for the least cost of all
    accesses. Where nothing fits, the plan says so (`Plan.fits`). `state` says what the graph must be like. The plan has
    passed `dnncc.plan_check.check_plan`.
    """
    alignment = alignment_of(graph, needs, alignment)
    producers = graph.producers()
    stated = state(graph, needs)
    problem, steps, index = stated.problem, stated.steps, stated.index
    found = order.solve(problem, progress=progress)
    ordered = [steps[i] for i in found.order]
    graph.nodes = _reordered(graph, ordered)
    placement = place_problem(problem, found.order, alignment)
    placed = _place(placement, pools, effort, progress)
    pool = {b.id: p for b, p in zip(placement.buffers, placed.pools, strict=True)}
    used = (*placed.heights, *(0 for _ in pools[len(placed.heights) :]))
    at = {b.id: offset for b, offset in zip(placement.buffers, placed.offsets, strict=True)}
    buffers = {b.id: b for b in placement.buffers}
    bases = {v: index[root(v, producers)] for v in index}
    use = order.loads(problem, found.order) or [0]
    # A placement's bound holds for its order only; where there is no other order, it holds for all.
    bound = min(
        max(found.bound, placed.bound) if _only_order(ordered, producers) else found.bound, placed.height
    )
    away = _place_external(ordered, effort, alignment)
    external_pools = (PoolUse(external.name, away.height, external.bytes),) if away.offsets else ()
    plan = Plan(
        steps=tuple(ordered),
        offsets={v: at[b] for v, b in bases.items() if b in at} | away.offsets,
        scratch=tuple(at.get(len(problem.tensors) + i) for i in found.order),
        lifetimes={v: (buffers[b].lower, buffers[b].upper) for v, b in bases.items() if b in at}
        | away.lifetimes,
        arena_bytes=placed.height,
        bound_bytes=bound,
        status="optimal" if placed.height == bound else "feasible",
        peak_step=use.index(max(use)),
        order_peak_bytes=found.peak,
        pools=tuple(PoolUse(p.name, n, p.bytes) for p, n in zip(pools, used, strict=True)) + external_pools,
        pool_of={v: pool[b] for v, b in bases.items() if b in at} | dict.fromkeys(away.offsets, len(pools)),
        scratch_pools=tuple(pool.get(len(problem.tensors) + i, 0) for i in found.order),
        alignment=alignment,
        effort=found.nodes + placed.placements,
    )
    check_plan(graph, needs, plan)
    return plan


def alignment_of(graph: Graph, needs: Mapping[Node, KernelNeeds], least: int) -> int:
    """What everything in the arenas has to be aligned to: the widest element's size, if more than ``least`` bytes."""
    elements = (v.type.dtype.bytes for node in graph.nodes for v in node.outputs)
    return max(least, *elements, *(need.alignment for need in needs.values()), 1)


@dataclass(frozen=True)
class _Away:
    """Where spilled values lie in external memory, and when."""

    offsets: dict[Value, int]
    lifetimes: dict[Value, tuple[int, int]]
    height: int


def _place_external(steps: Sequence[Node], effort: float, alignment: int) -> _Away:
    """A spilled value lives from its spill to its last retrieval."""
    last = {v: now for now, step in enumerate(steps) for v in step.inputs}
    lives = {
        v: (now, max(last.get(v, now), now) + 1)
        for now, step in enumerate(steps)
        if isinstance(step.op, Spill)
        for v in step.outputs
    }
    buffers = [
        Buffer(n, lower, upper, v.type.bytes, alignment)
        for n, (v, (lower, upper)) in enumerate(lives.items())
    ]
    placed = place.solve(PlaceProblem(tuple(buffers)), effort)
    return _Away(dict(zip(lives, placed.offsets, strict=True)), lives, placed.height)


def _place(
    problem: PlaceProblem, pools: Sequence[Pool], effort: float, progress: Progress | None
) -> PlaceSolution:
    """In the first pool alone at the least height if that fits and no pool is faster; else in all."""
    first, *others = pools
    alone: PlaceSolution | None = None
    if not any(p.cost < first.cost for p in others):
        alone = place.solve(problem, effort, progress=progress)
        if not others or first.bytes is None or alone.height <= first.bytes:
            return alone
    shared = place.solve(replace(problem, pools=tuple(pools)), effort, progress=progress)
    # Where nothing fits, the least height in the first pool says most.
    return alone if alone is not None and not shared.fits else shared


def _only_order(steps: list[Node], producers: Mapping[Value, Node]) -> bool:
    """Whether every step reads what the step before it made, so that they cannot run in another order."""
    return all(
        any(root(v, producers) in before.outputs for v in step.inputs)
        for before, step in itertools.pairwise(steps)
    )


def _reordered(graph: Graph, steps: list[Node]) -> list[Node]:
    """The steps in their new order, each view right after what it shows."""
    views = [n for n in graph.nodes if n.op.is_view]
    known = {*graph.inputs, *graph.constants()}
    nodes: list[Node] = []

    def add_views() -> None:
        for view in list(views):
            if view.inputs[0] in known:
                views.remove(view)
                nodes.append(view)
                known.update(view.outputs)

    add_views()
    for step in steps:
        nodes.append(step)
        known.update(step.outputs)
        while any(v.inputs[0] in known for v in views):
            add_views()
    return nodes
