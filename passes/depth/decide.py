"""Choosing merges for a graph: candidates, their measured latencies, and the dynamic programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from dnncc.errors import BudgetError
from dnncc.ir.graph import Graph
from dnncc.passes.depth.kernel import Kernel
from dnncc.passes.depth.latency import Meter
from dnncc.passes.depth.layers import Layers
from dnncc.passes.depth.options import Option, OptionsSolution, solve_options
from dnncc.passes.depth.problem import DepthProblem, DepthSolution, Merge, Part, Status
from dnncc.passes.depth.rewrite import merged
from dnncc.passes.depth.solve import merged_latency, solve

_ROUNDS = 10
"""A merged network may take longer than its layers add up to: the layers' budget is lowered at most so often."""


@dataclass(frozen=True)
class Table:
    """Measured costs, all in one unit.

    Attributes:
        latency: of every layer that may merge and of every candidate; 0 for the other layers.
        useful: the candidates that are faster than any way to cut them that drops nothing.
        whole: of the network as it is.
    """

    latency: Mapping[Merge, int]
    useful: tuple[Merge, ...]
    whole: int

    @property
    def layers(self) -> int:
        """All layers as they are, summed."""
        return sum(cost for (i, j, _), cost in self.latency.items() if j == i + 1)


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        merges: of two layers or more each.
        after: the merged network, measured.
        importance, bound, status, front: see `DepthSolution`.
    """

    merges: tuple[Merge, ...]
    after: int
    importance: float
    bound: float
    status: Status
    front: tuple[tuple[int, float], ...]


def candidates(
    layers: Layers, longest: int, growth: float, exact: bool = False, drop: bool = False
) -> list[Merge]:
    """The merges whose latency is worth measuring.

    Args:
        longest: at most so many layers.
        growth: at most so many times the layers' own multiplications.
        exact: only those that change nothing: no activation inside, and nothing at the border.
        drop: also with layers left out.
    """
    found = []
    for i, j in layers.segments(longest):
        own = sum(layers[p].conv.macs for p in range(i + 1, j + 1))
        linear = not any(layers[p].activation for p in range(i + 1, j))
        for dropped in _variants(layers, i, j) if drop else [()]:
            kernel = layers.kernel(i, j, dropped)
            work = kernel.weights[0].size * layers[j].conv.output.type.size
            if work <= growth * own and (not exact or (linear and kernel.exact)):
                found.append((i, j, dropped))
    return found


def _variants(layers: Layers, i: int, j: int) -> list[tuple[int, ...]]:
    """Which layers to leave out: for each size that the merged kernel can have, the choice that keeps the largest
    weights (LayerMerge, ICML 2024, section 3.3)."""
    free = [p for p in range(i + 1, j + 1) if layers.can_drop(p)]
    best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
    for count in range(len(free) + 1):
        for dropped in combinations(free, count):
            if len(dropped) == j - i:
                continue
            kernel = layers.kernel(i, j, dropped)
            kept = sum(_magnitude(layers, p) for p in range(i + 1, j + 1) if p not in dropped)
            key = (*kernel.size, kernel.op.groups)
            best[key] = max(best.get(key, (kept, dropped)), (kept, dropped), key=lambda item: item[0])
    return [dropped for _, dropped in best.values()]


def _magnitude(layers: Layers, position: int) -> float:
    kernel = Kernel.of(layers[position].conv)
    return 0.0 if kernel is None else float(np.abs(kernel.weights).sum())


def measure(graph: Graph, layers: Layers, merges: Sequence[Merge], meter: Meter) -> Table:
    """Measure the network, the layers that may merge, and what they may become."""
    concerned = {p for i, j, _ in merges for p in range(i, j)}
    latency: dict[Merge, int] = {}
    for p in range(len(layers)):
        single: Merge = (p, p + 1, ())
        latency[single] = meter.segment(layers, single) if p in concerned else 0
    latency |= {merge: meter.segment(layers, merge) for merge in merges}
    best, cuts = merged_latency({(i, j): cost for (i, j, dropped), cost in latency.items() if not dropped})
    useful = tuple(
        (i, j, dropped)
        for i, j, dropped in merges
        if (latency[i, j, dropped] < best[i, j] if dropped else (i, j) not in cuts)
    )
    return Table(latency, useful, meter.network(graph))


def choose(
    graph: Graph, layers: Layers, table: Table, importance: Mapping[Merge, float], budget: int, meter: Meter
) -> Choice:
    """The merges that lose least while the whole network keeps within a budget, measured.

    Args:
        importance: of every useful candidate.
        budget: for one inference of the whole network, in the meter's unit.

    Raises:
        BudgetError: no choice of merges is fast enough.
    """
    left = budget - (table.whole - table.layers)
    for _ in range(_ROUNDS):
        solution, merges = _solve(layers, table, importance, left)
        after = meter.network(merged(graph, merges))
        if after <= budget:
            return Choice(merges, after, solution.importance, solution.bound, solution.status, solution.front)
        if solution.status == "infeasible" or solution.latency == solution.least_latency:
            break
        # At least by as much as it was missed, and below this choice in any case.
        left = min(left - (after - budget), solution.latency - 1)
    raise BudgetError(
        f"no merges bring the network from {table.whole:,} {meter.unit} to {budget:,}: the fastest take {after:,}",
        help="a larger budget, longer segments (longest=N), layers left out (drop=True), or a smaller network",
    )


def _solve(
    layers: Layers, table: Table, importance: Mapping[Merge, float], budget: int
) -> tuple[DepthSolution | OptionsSolution, tuple[Merge, ...]]:
    """By the two programs of Kim et al., or LayerMerge's where layers may be left out."""
    count = len(layers)
    if not any(dropped for _, _, dropped in table.latency):
        latency = {(i, j): cost for (i, j, _), cost in table.latency.items()}
        worth: dict[Part, float] = {(p, p + 1, 1, 1): 0.0 for p in range(count)}
        worth |= {(i, j, 1, 1): importance[i, j, dropped] for i, j, dropped in table.useful}
        solution = solve(DepthProblem(count, latency, worth, budget))
        return solution, tuple((i, j, ()) for i, j in pairwise(solution.cuts) if j > i + 1)
    ways: list[Merge] = [*((p, p + 1, ()) for p in range(count)), *table.useful]
    options = [Option((m[0], m[1]), table.latency[m], importance.get(m, 0.0)) for m in ways]
    found = solve_options(count, options, budget)
    return found, tuple(ways[k] for k in found.chosen if k >= count)
