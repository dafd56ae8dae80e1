"""One dynamic program over segments that may be merged in several ways, as where layers may be dropped.

Kim, El Halabi, Park, Song, "LayerMerge: Neural Network Depth Compression through Layer Pruning and Merging", ICML 2024:
tables T[i,j,k] and I[i,j,k], of which one k is chosen per segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.errors import Culprit, InternalError, UsageError
from dnncc.passes.depth.labels import LABELS, Label, Step, fastest, within
from dnncc.passes.depth.problem import Segment, Status


@dataclass(frozen=True)
class Option:
    """One way to do a segment's layers: its latency, in any unit, and its importance; see `DepthProblem`."""

    segment: Segment
    latency: int
    importance: float


@dataclass(frozen=True)
class OptionsSolution:
    """A choice of options, one behind the other through all layers; the figures are as in `DepthSolution`.

    Attributes:
        chosen: indices of the options, in order.
    """

    chosen: tuple[int, ...]
    latency: int
    importance: float
    bound: float
    least_latency: int
    status: Status
    front: tuple[tuple[int, float], ...]


def solve_options(
    layers: int, options: Sequence[Option], budget: int, labels: int = LABELS
) -> OptionsSolution:
    """The options of the highest summed importance within the budget; of several, the fastest.

    Raises:
        UsageError: no options lead through all layers.
    """
    steps = [Step((*o.segment, 1, 1), o.latency, o.importance, k) for k, o in enumerate(options)]
    quickest = fastest(layers, steps)
    if quickest is None:
        raise UsageError("no known segments lead through all layers", help="complete the tables")
    found, bound = [quickest], quickest.importance
    if quickest.latency <= budget:
        found, bound = within(layers, steps, budget, labels, quickest)
    latencies = [sum(options[k].latency for k in _indices(label)) for label in found]
    chosen = found[-1].importance
    possible: Status = "optimal" if bound == chosen else "feasible"
    solution = OptionsSolution(
        _indices(found[-1]),
        latencies[-1],
        chosen,
        bound,
        quickest.latency,
        possible if quickest.latency <= budget else "infeasible",
        tuple((t, label.importance) for t, label in zip(latencies, found, strict=True)),
    )
    check_options(layers, options, budget, solution)
    return solution


def check_options(layers: int, options: Sequence[Option], budget: int, solution: OptionsSolution) -> None:
    """Independent: the options follow each other through all layers, and the sums are the ones claimed.

    Raises:
        InternalError: names what disagrees.
    """
    position, latency, importance = 0, 0, 0.0
    for k in solution.chosen:
        if options[k].segment[0] != position:
            raise _error(f"option {k}", f"does not follow position {position}")
        position = options[k].segment[1]
        latency += options[k].latency
        importance += options[k].importance
    if position != layers:
        raise _error("options", f"end at {position} of {layers}")
    if latency != solution.latency or abs(importance - solution.importance) > 1e-9 * max(
        1.0, abs(importance)
    ):
        raise _error("sums", f"{latency} and {importance} are not the ones claimed")
    if (latency <= budget) != (solution.status != "infeasible") or solution.importance > solution.bound:
        raise _error("status", f"{solution.status} with a latency of {latency} of {budget}")


def _indices(label: Label) -> tuple[int, ...]:
    return tuple(step.tag for step in label.path())


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the choice of options failed its check", [Culprit(name, reason=reason)])
