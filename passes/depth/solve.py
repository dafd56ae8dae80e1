"""The two dynamic programs of depth merging: latency between positions, then importance within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from dnncc.errors import UsageError
from dnncc.passes.depth.check import check_depth
from dnncc.passes.depth.problem import DepthProblem, DepthSolution, Part, Segment, Status

LABELS = 20_000
"""So many choices are kept at one position; where there are more, latencies are rounded up to a coarser unit."""

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
    steps = [(part, best[part[:2]], worth[part]) for part in worth if part[:2] in best]
    fastest = _fastest(problem.layers, steps)
    if fastest is None:
        raise UsageError("no known segments lead through all layers", help="complete the tables")
    least = fastest.latency
    found, bound = [fastest], fastest.importance
    if least <= problem.budget:
        found, bound = _within(problem, steps, labels, fastest)
    paths = [label.path() for label in found]
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


@dataclass(frozen=True)
class _Label:
    """A choice up to a position: the part that ends there, and the choice before it."""

    latency: int
    importance: float
    part: Part | None = None
    before: _Label | None = None

    def path(self) -> list[Part]:
        found: list[Part] = []
        label: _Label | None = self
        while label is not None and label.part is not None:
            found.append(label.part)
            label = label.before
        return found[::-1]


_Step = tuple[Part, int, float]
"""A part, its latency and its importance."""


def _within(
    problem: DepthProblem, steps: list[_Step], labels: int, fastest: _Label
) -> tuple[list[_Label], float]:
    """The front within the budget, and what no choice within it exceeds."""
    unit = 1
    while True:
        coarse = [(part, -(-latency // unit), value) for part, latency, value in steps]
        front = _front(problem.layers, coarse, problem.budget // unit, labels)
        if front is not None:
            break
        unit *= 2
    if unit == 1:
        return front, front[-1].importance
    fine = [(part, latency // unit, value) for part, latency, value in steps]
    relaxed = _front(problem.layers, fine, problem.budget // unit, None)
    bound = max(label.importance for label in [*(relaxed or []), *front, fastest])
    # Rounding may leave nothing within the budget, but the fastest choice is.
    return front or [fastest], bound


def _front(layers: int, steps: list[_Step], budget: int, labels: int | None) -> list[_Label] | None:
    """Stage 2: the choices up to the last position that no other one beats, the fastest first; None: too many."""
    ending: dict[int, list[_Step]] = {}
    for step in steps:
        ending.setdefault(step[0][1], []).append(step)
    states = {(0, flag): [_Label(0, 0.0)] for flag in (0, 1)}
    for position in range(1, layers + 1):
        for flag in (0, 1):
            every = [
                _Label(label.latency + latency, label.importance + value, part, label)
                for part, latency, value in ending.get(position, ())
                if part[3] == flag
                for label in states[part[0], part[2]]
                if label.latency + latency <= budget
            ]
            states[position, flag] = _unbeaten(every)
            if labels is not None and len(states[position, flag]) > labels:
                return None
    return _unbeaten([*states[layers, 0], *states[layers, 1]])


def _fastest(layers: int, steps: list[_Step]) -> _Label | None:
    """The choice of the least latency; of several, the most important."""
    best: dict[tuple[int, int], _Label] = {(0, flag): _Label(0, 0.0) for flag in (0, 1)}
    for part, latency, value in sorted(steps, key=lambda step: step[0][1]):
        before = best.get((part[0], part[2]))
        if before is not None:
            label = _Label(before.latency + latency, before.importance + value, part, before)
            state = (part[1], part[3])
            best[state] = min(best.get(state, label), label, key=_speed)
    return min((best[layers, flag] for flag in (0, 1) if (layers, flag) in best), key=_speed, default=None)


def _speed(label: _Label) -> tuple[int, float]:
    return label.latency, -label.importance


def _unbeaten(labels: list[_Label]) -> list[_Label]:
    found: list[_Label] = []
    for label in sorted(labels, key=_speed):
        if not found or label.importance > found[-1].importance:
            found.append(label)
    return found


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
