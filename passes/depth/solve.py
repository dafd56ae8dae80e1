"""The two dynamic programs of depth merging: latency between positions, then importance within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

from dnncc.errors import UsageError
from dnncc.passes.depth.check import check_depth
from dnncc.passes.depth.labels import LABELS, Step, fastest, within
from dnncc.passes.depth.problem import DepthProblem, DepthSolution, Part, Segment, Status

Time = TypeVar("Time", int, float)


def solve(problem: DepthProblem, labels: int = LABELS) -> DepthSolution:
    """The choice of the highest importance within the budget; of several, the fastest.

    The second program keeps every choice that no other one beats in latency and importance (a label), so that it
    is exact without a table over time. Only where more than ``labels`` remain at one position, latencies are
    rounded up, which never breaks the budget; the bound then comes from latencies rounded down.

    Raises:
        UsageError: no chain of segments leads from the first to the last position.
    """
    best, cuts = merged_latency(problem.latency)
    worth, splits = extended_importance(problem.layers, problem.importance)
    steps = [Step(part, best[part[:2]], worth[part]) for part in worth if part[:2] in best]
    quickest = fastest(problem.layers, steps)
    if quickest is None:
        raise UsageError("no known segments lead through all layers", help="complete the tables")
    least = quickest.latency
    found, bound = [quickest], quickest.importance
    if least <= problem.budget:
        found, bound = within(problem.layers, steps, problem.budget, labels, quickest)
    paths = [[step.part for step in label.path()] for label in found]
    positions = [0, *(p for i, j, _, _ in paths[-1] for p in _inner_cuts((i, j), cuts))]
    chosen = found[-1].importance
    status: Status = "optimal" if bound == chosen else "feasible"
    solution = DepthSolution(
        tuple(positions),
        tuple(piece for part in paths[-1] for piece in _pieces(part, splits)),
        sum(problem.latency[s] for s in pairwise(positions)),
        chosen,
        bound,
        least,
        status if least <= problem.budget else "infeasible",
        tuple(
            (sum(best[part[:2]] for part in path), label.importance)
            for path, label in zip(paths, found, strict=True)
        ),
    )
    check_depth(problem, solution)
    return solution


def merged_latency(
    latency: Mapping[Segment, Time],
) -> tuple[dict[Segment, Time], dict[Segment, int]]:
    """Stage 1: ``T_opt[i,j] = min(T[i,j], min over k of T_opt[i,k] + T[k,j])``.

    Returns:
        The least latency of every pair of positions that segments connect; and the position of the last cut in
        between, for those pairs where cutting is faster than merging.
    """
    starts: dict[int, list[Segment]] = {}
    for segment in latency:
        starts.setdefault(segment[1], []).append(segment)
    best: dict[Segment, Time] = {}
    cuts: dict[Segment, int] = {}
    for j in sorted(starts):
        for i in range(j):
            options = [(latency[i, j], -1)] if (i, j) in latency else []
            options += [(best[i, k] + latency[k, j], k) for k, _ in starts[j] if (i, k) in best]
            if options:
                best[i, j], cut = min(options)
                if cut >= 0:
                    cuts[i, j] = cut
    return best, cuts


def extended_importance(
    layers: int, importance: Mapping[Part, float]
) -> tuple[dict[Part, float], dict[Part, int]]:
    """``I_ext(i,j,a,b) = max(I(i,j,a,b), max over k of I_ext(i,k,a,0) + I(k,j,0,b))``.

    Returns:
        The extended importances, and the last split of those that are better in two.
    """
    best: dict[Part, float] = {}
    splits: dict[Part, int] = {}
    for j in range(1, layers + 1):
        for i in reversed(range(j)):
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                options = [(importance[i, j, a, b], -1)] if (i, j, a, b) in importance else []
                options += [
                    (best[i, k, a, 0] + importance[k, j, 0, b], k)
                    for k in range(i + 1, j)
                    if (i, k, a, 0) in best and (k, j, 0, b) in importance
                ]
                if options:
                    value, split = max(options, key=lambda option: option[0])
                    best[i, j, a, b] = value
                    if split >= 0:
                        splits[i, j, a, b] = split
    return best, splits


def _pieces(part: Part, splits: Mapping[Part, int]) -> Iterator[Part]:
    """The parts of known importance that an extended one consists of."""
    i, j, a, b = part
    if part not in splits:
        yield part
        return
    yield from _pieces((i, splits[part], a, 0), splits)
    yield splits[part], j, 0, b


def _inner_cuts(segment: Segment, cuts: Mapping[Segment, int]) -> Iterator[int]:
    """The ends of the merged layers of which a segment consists, in order."""
    if segment in cuts:
        yield from _inner_cuts((segment[0], cuts[segment]), cuts)
    yield segment[1]
