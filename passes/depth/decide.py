"""Choosing merges for a graph: candidates, their measured latencies, and the dynamic programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from dnncc.errors import BudgetError
from dnncc.ir.graph import Graph
from dnncc.passes.depth.latency import Meter
from dnncc.passes.depth.layers import Layers
from dnncc.passes.depth.problem import DepthProblem, DepthSolution, Part, Segment
from dnncc.passes.depth.rewrite import merged
from dnncc.passes.depth.solve import merged_latency, solve

_ROUNDS = 10
"""A merged network may take longer than its layers add up to: the layers' budget is lowered at most so often."""

Importance = Callable[[Segment], float]


@dataclass(frozen=True)
class Table:
    """Measured costs, all in one unit.

    Attributes:
        latency: of every layer that may merge and of every candidate; 0 for the other layers.
        useful: the candidates that are faster than any way to cut them.
        whole: of the network as it is.
    """

    latency: Mapping[Segment, int]
    useful: tuple[Segment, ...]
    whole: int

    @property
    def layers(self) -> int:
        """All layers as they are, summed."""
        return sum(cost for (i, j), cost in self.latency.items() if j == i + 1)

    @property
    def refused(self) -> tuple[Segment, ...]:
        """Candidates that are slower than the layers that they would replace, merged otherwise or not."""
        return tuple(s for s in self.latency if s[1] > s[0] + 1 and s not in self.useful)


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        segments: to be merged, of two layers or more each.
        after: the merged network, measured.
        solution: of the dynamic programs.
    """

    segments: tuple[Segment, ...]
    after: int
    solution: DepthSolution


def candidates(layers: Layers, longest: int, growth: float, exact: bool) -> list[Segment]:
    """The segments whose latency is worth measuring.

    Args:
        longest: at most so many layers.
        growth: at most so many times the layers' own multiplications.
        exact: only those that change nothing: no activation inside, and nothing at the border.
    """
    found = []
    for i, j in layers.segments(longest):
        kernel = layers.kernel(i, j)
        work = kernel.weights[0].size * layers[j].conv.output.type.size
        own = sum(layers[p].conv.macs for p in range(i + 1, j + 1))
        linear = not any(layers[p].activation for p in range(i + 1, j))
        if work <= growth * own and (not exact or (linear and kernel.exact)):
            found.append((i, j))
    return found


def measure(graph: Graph, layers: Layers, merges: list[Segment], meter: Meter) -> Table:
    """Measure the network, the layers that may merge, and what they may become."""
    concerned = {p for i, j in merges for p in range(i, j)}
    latency = {
        (p, p + 1): meter.segment(layers, p, p + 1) if p in concerned else 0 for p in range(len(layers))
    }
    latency |= {(i, j): meter.segment(layers, i, j) for i, j in merges}
    _, cuts = merged_latency(latency)
    return Table(latency, tuple(s for s in merges if s not in cuts), meter.network(graph))


def choose(
    graph: Graph, layers: Layers, table: Table, importance: Mapping[Segment, float], budget: int, meter: Meter
) -> Choice:
    """The merges that lose least while the whole network keeps within a budget, measured.

    Args:
        importance: of every useful candidate.
        budget: for one inference of the whole network, in the meter's unit.

    Raises:
        BudgetError: no choice of merges is fast enough.
    """
    worth: dict[Part, float] = {(p, p + 1, 1, 1): 0.0 for p in range(len(layers))}
    worth |= {(i, j, 1, 1): importance[i, j] for i, j in table.useful}
    left = budget - (table.whole - table.layers)
    for _ in range(_ROUNDS):
        solution = solve(DepthProblem(len(layers), table.latency, worth, left))
        segments = tuple((i, j) for i, j in pairwise(solution.cuts) if j > i + 1)
        after = meter.network(merged(graph, segments))
        if after <= budget:
            return Choice(segments, after, solution)
        if solution.status == "infeasible" or solution.latency == solution.least_latency:
            break
        # At least by as much as it was missed, and below this choice in any case.
        left = min(left - (after - budget), solution.latency - 1)
    raise BudgetError(
        f"no merges bring the network from {table.whole:,} {meter.unit} to {budget:,}: the fastest take {after:,}",
        help="a larger budget, longer segments (longest=N), or fewer layers",
    )
