"""What can be done to make a network fit, from the cheapest measure to the dearest.

A measure takes what was found before it and offers candidates: the network with another graph or other kernels, and
planned; or it says why there is none. ``dnncc.planner`` chooses among them. A new measure is a function here and an
entry in ``MEASURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dnncc.errors import BudgetError
from dnncc.ir.graph import Graph, Node
from dnncc.ops.transfer import Transfer
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.planning import order
from dnncc.passes.planning.problem import Pool, Progress
from dnncc.plan import EXTERNAL, KernelNeeds, Plan, PoolUse, alignment_of, make_plan, state
from dnncc.targets.program import GroupCode, Kernels, needs_of
from dnncc.working_set import WorkingSet, largest_working_set

if TYPE_CHECKING:
    from dnncc.patching import PatchOffer

_ATTEMPTS = 4
_HALVINGS = 5
_OFFERS = 3
_SMALL_SCRATCH = 0.1
"""Part of its multiply-accumulates that a kernel of less scratch memory takes longer, at most: tiles of two pixels in
place of three, 14.5 / 2 against 19.75 / 3 instructions a word."""


@dataclass(frozen=True)
class Candidate:
    """The network, ready to be written down.

    Attributes:
        measures: what was done, in the order in which it was.
        detail: how, in words.
        graph: of fused nodes, views and copies, in the order of the plan.
        code: of every group.
        plan: order and addresses; its pools have the board's capacities.
        bound: no plan by the same measures has a smaller arena.
        fits: whether it keeps within the board's memories and the budget.
        excess: bytes by which it does not.
        work: of one inference: multiply-accumulates, elements written, and words copied times what each access waits.
    """

    measures: tuple[str, ...]
    detail: str
    graph: Graph
    code: Mapping[Node, GroupCode]
    plan: Plan
    bound: int
    fits: bool
    excess: int
    work: float


@dataclass(frozen=True)
class Refusal:
    """A measure that leads nowhere.

    Attributes:
        measures: as of a candidate.
        reason: why, in words.
        bound: no plan by these measures has a smaller arena; None if nothing is known.
    """

    measures: tuple[str, ...]
    reason: str
    bound: int | None = None


@dataclass(frozen=True)
class Goal:
    """What is wanted of a measure.

    Attributes:
        capacity: bytes of the arenas that would do; None asks for as few as possible.
        work: most work of one inference; None for any.
    """

    capacity: int | None = None
    work: float | None = None


class Setting:
    """What all measures work with.

    Args:
        meaning: the network before fusion; it stays as it is.
        kernels: of the target.
        pools: the board's RAM, the default pool first.
        external: where values may be copied to; None if there is no such memory.
        budget: bytes of all arenas in RAM together; None for no limit but the pools'.
        alignment: of everything in the arenas, in bytes.
        effort: of every placement.
        progress: called with incumbent and bound of whatever is searched.
    """

    def __init__(
        self,
        meaning: Graph,
        kernels: Kernels,
        pools: Sequence[Pool],
        external: Pool | None,
        budget: int | None,
        alignment: int,
        effort: float,
        progress: Progress | None = None,
    ) -> None:
        self.meaning, self.kernels, self.budget = meaning, kernels, budget
        self.board, self.external = tuple(pools), external
        self.alignment, self.effort, self.progress = alignment, effort, progress
        self.pools = _within(pools, budget)
        self._patch_offers: Sequence[PatchOffer] | None = None

    @property
    def capacity(self) -> int | None:
        """Bytes of RAM that there are, all pools together; None without limit."""
        sizes = [p.bytes for p in self.pools if p.bytes is not None]
        return sum(sizes) if len(sizes) == len(self.pools) else None

    def fused(self, meaning: Graph) -> Graph:
        """A network's groups."""
        graph = meaning.clone()
        Pipeline.parse("last-step,separate-outputs,fuse").run(graph)
        return graph

    def candidate(
        self,
        measures: tuple[str, ...],
        detail: str,
        graph: Graph,
        code: Mapping[Node, GroupCode],
        *,
        bound: int | None = None,
        slower: float = 0.0,
        effort: float | None = None,
    ) -> Candidate:
        """Plan a graph (its nodes get the plan's order).

        Args:
            bound: of every plan by these measures; by default the plan's own.
            slower: work on top of what the nodes say.
            effort: of the placement; by default the setting's.
        """
        plan = make_plan(
            graph,
            needs_of(graph, code),
            self.effort if effort is None else effort,
            self.progress,
            self.pools,
            self.external or EXTERNAL,
            self.alignment,
        )
        limits = {p.name: p.bytes for p in self.board}
        shown = [PoolUse(p.name, p.bytes, limits.get(p.name, p.capacity)) for p in plan.pools]
        return Candidate(
            measures,
            detail,
            graph,
            code,
            replace(plan, pools=tuple(shown)),
            plan.bound_bytes if bound is None else min(bound, plan.arena_bytes),
            plan.fits,
            sum(max(0, p.bytes - p.capacity) for p in plan.pools if p.capacity is not None),
            sum(self.work_of(n) for n in plan.steps) + slower,
        )

    def patch_offers(self, plain: Candidate) -> Sequence[PatchOffer]:
        """The ways to run a stage in parts, with the needs of the plain network's kernels; searched once."""
        from dnncc.patching import patch_offers

        if self._patch_offers is None:
            needs = {n.outputs[0].name: c.needs for n, c in plain.code.items()}
            self._patch_offers = patch_offers(self.meaning, needs)
        return self._patch_offers

    def work_of(self, node: Node) -> float:
        """Of one execution, in multiply-accumulates."""
        elements = sum(v.type.size for v in node.outputs)
        if isinstance(node.op, Transfer):
            waits = self.external.cost if self.external is not None else 1
            return sum(v.type.bytes for v in node.outputs) / 4 * (1 + waits)
        return node.macs + elements


def _within(pools: Sequence[Pool], budget: int | None) -> tuple[Pool, ...]:
    """The pools, of which the fastest get the budget; the order stays. Those that get nothing are left out."""
    if budget is None:
        return tuple(pools)
    left, share = budget, {}
    for pool in sorted(pools, key=lambda p: p.cost):
        share[pool.name] = left if pool.bytes is None else min(left, pool.bytes)
        left -= share[pool.name]
    return tuple(replace(p, bytes=share[p.name]) for p in pools if share[p.name]) or (
        replace(pools[0], bytes=0),
    )


Offers = Iterator[Candidate | Refusal]


@dataclass(frozen=True)
class Measure:
    """One kind of measure.

    Attributes:
        name: what it is called.
        summary: what it does, in words.
        aims: whether what it offers depends on the goal.
        offer: from the setting, the candidates so far (the plain one first) and the goal to candidates or refusals.
    """

    name: str
    summary: str
    aims: bool
    offer: Callable[[Setting, Sequence[Candidate], Goal], Offers]


def peaks(setting: Setting) -> tuple[int, int]:
    """Peaks of the model's own order, without fragmentation: with every value in a place of its own, and with outputs
    that may be written over inputs."""
    graph = setting.fused(setting.meaning)
    needs = needs_of(graph, setting.kernels.of(graph))
    apart = {n: KernelNeeds(need.scratch, {}) for n, need in needs.items()}
    both = []
    for each in (apart, needs):
        stated = state(graph, each)
        both.append(max(order.loads(stated.problem, range(len(stated.steps))), default=0))
    return both[0], both[1]


def reorder(setting: Setting, found: Sequence[Candidate], goal: Goal) -> Offers:
    """The order of least peak, and addresses; outputs over inputs that nobody reads again."""
    graph = setting.fused(setting.meaning)
    yield setting.candidate(("reorder",), "order and addresses", graph, setting.kernels.of(graph))


def small_scratch(setting: Setting, found: Sequence[Candidate], goal: Goal) -> Offers:
    """Kernels of less scratch memory, where that memory counts."""
    plain = found[0]
    yield _slimmed(setting, plain) or Refusal(
        ("scratch",), "less scratch memory of the kernels does not make the arena smaller", plain.bound
    )


def patch(setting: Setting, found: Sequence[Candidate], goal: Goal) -> Offers:
    """A stage of the network in parts of the image: row by row, or a patch after the other."""
    plain = found[0]
    if plain.graph.find("patched"):
        yield Refusal(("patch",), "a stage runs in parts already")
        return
    offers = setting.patch_offers(plain)
    if goal.work is not None:
        offers = [o for o in offers if plain.work + o.added_macs <= goal.work]
    if goal.capacity is not None:
        # The least added work that seems to suffice, and in case it does not, the next ones.
        enough = [o for o in offers if o.peak <= goal.capacity]
        offers = enough[::-1] + [o for o in offers if o.peak > goal.capacity]
    if not offers:
        yield Refusal(("patch",), "no stage in parts lowers the peak within the limit of work")
    for offer in offers[:_OFFERS]:
        graph = setting.fused(offer.graph)
        patched = setting.candidate(("patch",), offer.description, graph, setting.kernels.of(graph))
        yield patched
        if goal.capacity is not None and patched.plan.arena_bytes <= goal.capacity:
            return
        if slim := _slimmed(setting, patched):
            yield slim


def _slimmed(setting: Setting, base: Candidate) -> Candidate | None:
    """A candidate with kernels of less scratch memory, as few as its smaller arena takes; None if it has none."""
    graph = base.graph.clone()
    fast = {here: base.code[n] for n, here in _pairs(base.graph, graph) if n in base.code}
    small = setting.kernels.of(graph, compact=True)
    code = {n: small[n] if small[n].needs.scratch < c.needs.scratch else c for n, c in fast.items()}
    changed = [n for n in code if code[n] is not fast[n]]
    if not changed:
        return None

    def offered(nodes: Sequence[Node], chosen: Mapping[Node, GroupCode]) -> Candidate:
        copy = graph.clone()
        copied = {here: chosen[n] for n, here in _pairs(graph, copy) if n in chosen}
        some = f"less scratch memory in {len(nodes)} of {len(code)} kernels"
        detail = some if base.measures == ("reorder",) else f"{base.detail}; {some}"
        slower = _SMALL_SCRATCH * sum(n.macs for n in nodes)
        return setting.candidate((*_beyond_order(base), "scratch"), detail, copy, copied, slower=slower)

    best = offered(changed, code)
    if best.plan.arena_bytes >= base.plan.arena_bytes:
        return None
    # The others may be fast again.
    stated = state(graph, needs_of(graph, code))
    loads = order.loads(stated.problem, range(len(stated.steps)))
    spare = {n: best.plan.arena_bytes - load for n, load in zip(stated.steps, loads, strict=True)}
    needed = [n for n in changed if fast[n].needs.scratch - code[n].needs.scratch > spare[n]]
    if needed and len(needed) < len(changed):
        fewer = offered(needed, {**fast, **{n: code[n] for n in needed}})
        if fewer.plan.arena_bytes <= best.plan.arena_bytes:
            best = fewer
    return best


def recompute(setting: Setting, found: Sequence[Candidate], goal: Goal) -> Offers:
    """Nodes run again instead of keeping what they wrote."""
    for base in _bases(found):
        taken = (*_beyond_order(base), "recompute")
        floor = largest_working_set(base.graph, needs_of(base.graph, base.code))
        wanted = floor.bytes if goal.capacity is None else goal.capacity
        if base.plan.copied_bytes:
            yield Refusal(taken, "the graph has copies to external memory already")
        elif refused := _below(taken, floor, goal, base):
            yield refused
        elif goal.capacity is None:
            yield _least_recomputed(setting, base, taken, floor, goal)
        else:
            yield _retried(setting, wanted, partial(_recomputed, setting, base, taken, floor))


def spill(setting: Setting, found: Sequence[Candidate], goal: Goal) -> Offers:
    """Values leave for external memory while nobody uses them."""
    if setting.external is None:
        yield Refusal(("spill",), "the board has no external memory")
        return
    for base in _bases(found):
        taken = (*_beyond_order(base), "spill")
        floor = largest_working_set(base.graph, needs_of(base.graph, base.code))
        wanted = floor.bytes if goal.capacity is None else goal.capacity
        if base.plan.copied_bytes:
            yield Refusal(taken, "the graph has copies to external memory already")
        elif refused := _below(taken, floor, goal, base):
            yield refused
        else:
            yield _retried(setting, wanted, partial(_spilled, setting, base, taken, floor))


def _pairs(graph: Graph, clone: Graph) -> Iterator[tuple[Node, Node]]:
    return zip(graph.nodes, clone.nodes, strict=True)


def _bases(found: Sequence[Candidate]) -> list[Candidate]:
    """What further measures start from: the plain network, and the smallest that was found."""
    whole = [c for c in found if not {"recompute", "spill"} & set(c.measures)]
    smallest = min(whole, key=lambda c: c.plan.arena_bytes)
    return [whole[0]] if smallest.plan.arena_bytes == whole[0].plan.arena_bytes else [whole[0], smallest]


def _beyond_order(base: Candidate) -> tuple[str, ...]:
    return tuple(m for m in base.measures if m != "reorder")


def _below(taken: tuple[str, ...], floor: WorkingSet, goal: Goal, base: Candidate) -> Refusal | None:
    """Why nothing that keeps the nodes as they are can help."""
    name = "" if floor.node is None else f"node '{floor.node.name}' alone needs {floor.bytes:,} bytes at once"
    if goal.capacity is not None and goal.capacity < floor.bytes:
        return Refusal(taken, name, floor.bytes)
    if goal.capacity is None and floor.bytes >= base.plan.arena_bytes:
        return Refusal(taken, f"nothing to gain: {name}", floor.bytes)
    return None


def _retried(
    setting: Setting, capacity: int, attempt: Callable[[int], Candidate | Refusal]
) -> Candidate | Refusal:
    """Placing everything anew may lose some bytes: then it is tried with so many fewer."""
    names = {p.name for p in setting.board}

    def over(found: Candidate) -> int:
        if capacity != setting.capacity:
            return found.plan.arena_bytes - capacity
        beyond = [
            p.bytes - p.capacity for p in found.plan.pools if p.name in names and p.capacity is not None
        ]
        return max(found.plan.arena_bytes - capacity, sum(max(0, n) for n in beyond))

    room, best = capacity, attempt(capacity)
    for _ in range(_ATTEMPTS - 1):
        if isinstance(best, Refusal) or over(best) <= 0 or room <= over(best):
            break
        room -= over(best)
        found = attempt(room)
        if isinstance(found, Refusal):
            break
        best = min(best, found, key=over)
    return best


def _recomputed(
    setting: Setting, base: Candidate, taken: tuple[str, ...], floor: WorkingSet, room: int
) -> Candidate | Refusal:
    from dnncc.rematerialization import rematerialize

    try:
        again = rematerialize(base.graph, needs_of(base.graph, base.code), room, progress=setting.progress)
    except BudgetError as error:
        return Refusal(taken, error.message, floor.bytes)
    code = {n: base.code[o] for n, o in again.origin.items() if o in base.code}
    repeated = list(dict.fromkeys(n.name for n in again.clones.values()))
    detail = f"again: {_listed(repeated)}" if repeated else "another order"
    slower = base.work - sum(setting.work_of(n) for n in base.plan.steps)
    return setting.candidate(taken, detail, again.graph, code, bound=floor.bytes, slower=slower)


def _least_recomputed(
    setting: Setting, base: Candidate, taken: tuple[str, ...], floor: WorkingSet, goal: Goal
) -> Candidate | Refusal:
    """The smallest arena that the work allows: by halving the interval of budgets."""
    best: Candidate | None = None
    low, high = floor.bytes, base.plan.arena_bytes
    room = low
    for _ in range(_HALVINGS + 1):
        found = _recomputed(setting, base, taken, floor, room)
        within = isinstance(found, Candidate) and (goal.work is None or found.work <= goal.work)
        if within and isinstance(found, Candidate) and found.plan.arena_bytes < high:
            best, high = found, min(room, found.plan.arena_bytes)
        else:
            low = room + 1
        if low >= high:
            break
        room = (low + high) // 2
    return best or Refusal(taken, "no smaller arena within the limit of work was found", floor.bytes)


def _spilled(
    setting: Setting, base: Candidate, taken: tuple[str, ...], floor: WorkingSet, room: int
) -> Candidate | Refusal:
    from dnncc.replacement import replace_tensors

    needs = needs_of(base.graph, base.code)
    try:
        away = replace_tensors(
            base.graph,
            needs,
            room,
            alignment=alignment_of(base.graph, needs, setting.alignment),
            progress=setting.progress,
        )
    except BudgetError as error:
        return Refusal(taken, error.message, floor.bytes)
    code = {n: base.code[o] for n, o in away.origin.items() if o in base.code}
    left = list(dict.fromkeys(s.inputs[0].name for s in away.graph.find("spill")))
    detail = f"away: {_listed(left)}" if left else "another order"
    slower = base.work - sum(setting.work_of(n) for n in base.plan.steps)
    return setting.candidate(taken, detail, away.graph, code, bound=floor.bytes, slower=slower)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


MEASURES = (
    Measure("reorder", "order, addresses, and outputs written over inputs", False, reorder),
    Measure("scratch", "kernels of less scratch memory", False, small_scratch),
    Measure("patch", "a stage of the network in parts of the image", True, patch),
    Measure("recompute", "nodes that run again instead of keeping what they wrote", True, recompute),
    Measure("spill", "copies to external memory and back", True, spill),
)
