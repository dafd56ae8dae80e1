"""A network's first stage in parts of the image: where a stage may begin and end, and what it would cost.

The optimizers (``dnncc.passes.planning.patch``) know nothing of graphs; this file states a graph's problem to them and
makes graphs of their answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dnncc.errors import UsageError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.patched import Patched
from dnncc.passes.fuse import Fuse, groups
from dnncc.passes.planning import order
from dnncc.passes.planning.patch.problem import (
    Ending,
    Form,
    Layer,
    PatchProblem,
    PatchSolution,
    Stage,
    StagePlan,
)
from dnncc.passes.planning.patch.solve import front, solve
from dnncc.passes.planning.problem import Operator, OrderProblem
from dnncc.passes.separate_outputs import SeparateOutputs
from dnncc.plan import KernelNeeds, StatedGraph, root, state
from dnncc.rows import NotInRowsError, RowStage, row_stage

MOST_ADDED = 0.25
"""Of the network's multiply-accumulates, what patches may add unless told otherwise."""
FORMS: tuple[Form, ...] = ("rows", "patches")


@dataclass(frozen=True)
class PatchOffer:
    """A network with a stage in parts.

    Attributes:
        graph: with a `patched` node, before fusion; it means the same, bit for bit.
        peak: bytes of the arena as the optimizer counts them: no fragmentation, kernels' workspaces as given.
        added_macs: multiply-accumulates that are computed again.
        description: what was chosen, for people.
        plan: of the stage.
    """

    graph: Graph
    peak: int
    added_macs: int
    description: str
    plan: StagePlan


def patch_offers(
    meaning: Graph,
    needs: Mapping[str, KernelNeeds] | None = None,
    *,
    most_added: float = MOST_ADDED,
    forms: Sequence[Form] = FORMS,
    grids: tuple[int, int] = (8, 8),
) -> list[PatchOffer]:
    """The ways to run a stage of a network in parts that lower its peak: none is beaten in both peak and added work.

    Args:
        meaning: the integer (or float) graph before fusion; it stays as it is.
        needs: scratch and overlaps of the kernels as ``build_program`` finds them, by the name of the first value that
            a kernel writes; what is missing counts as without. With them the peaks are close to the arena's size.
        most_added: multiply-accumulates that may be added, as a fraction of the network's.
        forms, grids: see `dnncc.passes.planning.patch.problem.PatchProblem`.

    Returns:
        By ascending peak; empty where no stage can run in parts or none lowers the peak.
    """
    stated = state_patches(meaning, needs or {}, most_added, forms, grids)
    return [_offer(meaning, stated, found) for found in front(stated.problem)]


def patch_graph(
    meaning: Graph,
    needs: Mapping[str, KernelNeeds] | None = None,
    *,
    budget: int | None = None,
    most_added: float = MOST_ADDED,
    forms: Sequence[Form] = FORMS,
    grids: tuple[int, int] = (8, 8),
) -> PatchOffer | None:
    """The best of `patch_offers`: within a budget (bytes) the one that adds the least work, else that of least peak."""
    stated = state_patches(meaning, needs or {}, most_added, forms, grids)
    found = solve(replace(stated.problem, budget=budget))
    return None if found.ending is None else _offer(meaning, stated, found)


@dataclass(frozen=True)
class Candidate:
    """A part of a graph that can run in parts.

    Attributes:
        nodes: of the graph, in execution order.
        sources: what they read and do not compute.
        sink: the only value of theirs that others read.
    """

    nodes: tuple[Node, ...]
    sources: tuple[Value, ...]
    sink: Value


@dataclass(frozen=True)
class StatedPatches:
    """A graph as the optimizer sees it; ending i of the problem is candidate i."""

    problem: PatchProblem
    candidates: tuple[Candidate, ...]


def state_patches(
    meaning: Graph,
    needs: Mapping[str, KernelNeeds],
    most_added: float = MOST_ADDED,
    forms: Sequence[Form] = FORMS,
    grids: tuple[int, int] = (8, 8),
) -> StatedPatches:
    """The problem of a graph."""
    fused = meaning.clone()
    originals = dict(zip(fused.nodes, meaning.nodes, strict=True))
    values = {a: b for n, m in originals.items() for a, b in zip(n.outputs, m.outputs, strict=True)}
    values |= dict(zip(fused.inputs, meaning.inputs, strict=True))
    SeparateOutputs().run(fused)
    members = {g.nodes[-1].outputs[0]: g.nodes for g in groups(fused).values()}
    Fuse().run(fused)
    none = KernelNeeds(0, {})
    known = {n: needs.get(n.outputs[0].name, none) for n in fused.nodes if not n.op.is_view}
    stated = state(fused, known)
    candidates: list[Candidate] = []
    endings: list[Ending] = []
    for section in _sections(fused):
        for nodes, sources, sink in section:
            inside = [originals[m] for n in nodes for m in members.get(n.outputs[0], [n]) if m in originals]
            if sink not in values or any(v not in values for v in sources):
                break
            placed = set(inside)
            candidate = Candidate(
                tuple(n for n in meaning.nodes if n in placed),
                tuple(values[v] for v in sources),
                values[sink],
            )
            try:
                rows = row_stage(extract(candidate))
            except NotInRowsError:
                break
            endings.append(_ending(fused, stated, nodes, sources, sink, _with_needs(rows, needs)))
            candidates.append(candidate)
    peak = order.solve(stated.problem).peak
    macs = meaning.macs()
    problem = PatchProblem(
        tuple(endings), peak, macs, int(most_added * macs), forms=tuple(forms), grids=grids
    )
    return StatedPatches(problem, tuple(candidates))


_Cut = tuple[list[Node], list[Value], Value]


def _sections(fused: Graph) -> Iterator[Iterator[_Cut]]:
    """Where stages may be: from the graph's inputs, or from where a stage that begins before fails, to every value that
    separates what is before from what comes after. A consumer ends a section by not asking for more of it."""
    cuts = _separators(fused)
    start = 0
    before: list[Value] = list(fused.inputs)

    while start < len(fused.nodes):
        reached = start

        def section(begin: int = start, sources: Sequence[Value] = tuple(before)) -> Iterator[_Cut]:
            nonlocal reached
            for end, sink in cuts:
                if end > begin:
                    reached = end
                    nodes = fused.nodes[begin:end]
                    read = {v for n in nodes for v in n.inputs}
                    yield nodes, [v for v in sources if v in read], sink

        yield section()
        if reached == start:
            return
        start = reached
        before = [sink for end, sink in cuts if end == reached]


def _separators(fused: Graph) -> list[tuple[int, Value]]:
    """(number of nodes before, value) wherever one value is all that later nodes and the caller read of them."""
    last: dict[Value, int] = {}
    for position, node in enumerate(fused.nodes):
        last.update((v, position) for v in node.inputs if not isinstance(v, Const))
    last.update((v, len(fused.nodes)) for v in fused.outputs)
    alive = {v for v in fused.inputs if v in last}
    found = []
    for position, node in enumerate(fused.nodes):
        alive.update(v for v in node.outputs if v in last)
        alive = {v for v in alive if last[v] > position}
        if len(alive) == 1 and node.outputs[0] in alive:
            found.append((position + 1, node.outputs[0]))
    return found


def extract(candidate: Candidate) -> Graph:
    """A candidate as a graph of its own."""
    copies: dict[Value, Value] = {}

    def inside(value: Value) -> Value:
        if value not in copies:
            if isinstance(value, Const):
                copies[value] = Const(value.name, value.type, value.data)
            else:
                copies[value] = Value(value.name, value.type)
        return copies[value]

    body = Graph(candidate.sink.name, [inside(v) for v in candidate.sources])
    for node in candidate.nodes:
        inputs = [inside(v) for v in node.inputs]
        body.nodes.append(Node(node.op, inputs, [inside(v) for v in node.outputs], node.name))
    body.outputs = [copies[candidate.sink]]
    return body


def _with_needs(rows: RowStage, needs: Mapping[str, KernelNeeds]) -> Stage:
    """The stage with the kernels' workspaces: that of a whole activation is what one row takes, for few exceptions."""

    def known(i: int, layer: Layer) -> Layer:
        own = needs.get(rows.layers[i].output.name)
        return replace(layer, workspace=own.scratch if own is not None and layer.reads else 0)

    return replace(rows.stage, layers=tuple(known(i, k) for i, k in enumerate(rows.stage.layers)))


def _ending(
    fused: Graph,
    stated: StatedGraph,
    nodes: Sequence[Node],
    sources: Sequence[Value],
    sink: Value,
    stage: Stage,
) -> Ending:
    problem, index = stated.problem, stated.index
    inside = set(nodes)
    producers = fused.producers()
    operators: list[Operator] = []
    done = False
    for node, operator in zip(stated.steps, problem.operators, strict=True):
        if node not in inside:
            operators.append(operator)
        elif not done:
            operators.append(Operator(tuple(index[v] for v in sources), (index[sink],)))
            done = True
    rest = order.solve(OrderProblem(problem.tensors, tuple(operators), problem.outputs)).peak
    beside = {index[root(v, producers)] for v in (*sources, sink)}
    return Ending(stage, sum(problem.tensors[t].size for t in beside), rest)


def _offer(meaning: Graph, stated: StatedPatches, found: PatchSolution) -> PatchOffer:
    assert found.ending is not None and found.plan is not None
    candidate, plan = stated.candidates[found.ending], found.plan
    graph = with_patches(meaning, candidate, plan.form, plan.grid)
    bands, strips = plan.grid
    shape = "x".join(map(str, candidate.sink.type.shape[1:]))
    if plan.form == "rows":
        how = "row by row" + (f" in {strips} strips" if strips > 1 else "")
    else:
        how = f"in {bands}x{strips} patches"
    more = 100 * found.added / stated.problem.macs if stated.problem.macs else 0.0
    kernels = len(plan.rows) - len(candidate.sources)
    text = f"the {kernels} kernels up to '{candidate.sink.name}' ({shape}) {how}, {more:.1f} % more work"
    return PatchOffer(graph, found.peak, found.added, text, plan)


def with_patches(meaning: Graph, candidate: Candidate, form: Form, grid: tuple[int, int]) -> Graph:
    """A copy of the graph in which the candidate is one `patched` node."""
    graph = meaning.clone()
    copies = dict(zip(meaning.nodes, graph.nodes, strict=True))
    pairs = {a: b for n, m in copies.items() for a, b in zip(n.outputs, m.outputs, strict=True)}
    pairs |= dict(zip(meaning.inputs, graph.inputs, strict=True))
    inside = {copies[n] for n in candidate.nodes}
    last = copies[candidate.nodes[-1]]
    op = Patched(extract(candidate), form, grid)
    sink = pairs[candidate.sink]
    stage = Node(op, [pairs[v] for v in candidate.sources], [sink], f"{sink.name}_patched")
    graph.nodes = [stage if n is last else n for n in graph.nodes if n is last or n not in inside]
    return graph


def patch_up_to(meaning: Graph, sink: str, form: Form, grid: tuple[int, int]) -> Graph:
    """A copy of the graph whose stage up to a named value runs in parts.

    Raises:
        UsageError: no stage can end there; it names where stages can.
    """
    candidates = state_patches(meaning, {}).candidates
    for candidate in candidates:
        if candidate.sink.name == sink:
            rows = form == "rows"
            return with_patches(meaning, candidate, form, (1 if rows else grid[0], grid[1]))
    known = ", ".join(f"%{c.sink.name}" for c in candidates) or "none"
    raise UsageError(f"no stage in parts can end at %{sink}", help=f"stages can end at: {known}")
