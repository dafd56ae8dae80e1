"""Plain graphs for a scratchpad: what ``dnncc schedule --graph FILE --scratchpad BYTES`` does, as a function."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnncc.errors import BudgetError, Culprit, DnnccError, UsageError
from dnncc.instances import GraphInstance, Id, read_graph
from dnncc.passes.planning.problem import Progress
from dnncc.passes.planning.spill.problem import SpillSolution
from dnncc.scheduling import _check_limits


@dataclass(frozen=True)
class SpillSchedule:
    """An order of least off-chip traffic. The fields are the keys of the command's JSON document, beside ``failure``.

    Attributes:
        order: the file's ids as they run.
        events: (step, "spill" or "retrieve", id), sorted by step: a copy of that operator's output, made right before
            the operator of the step runs. A retrieved output that leaves again needs no second spill.
        bytes: that the events copy; None without a plan.
        bound: no plan in any order copies fewer; None where there is none.
        status: "optimal" (bytes equals bound), "feasible", "infeasible" (the scratchpad is below the largest working
            set), "unknown" (no plan was found).
        offsets: of every output in the scratchpad when it is created, in bytes, by the file's ids.
        residencies: (id, start, end, offset): the half-open intervals of steps in which an output is in the scratchpad,
            and where; a retrieved one may lie elsewhere than before.
        scratchpad: what was asked for.
        working_set: bytes of the largest working set: no scratchpad may be smaller.
        height: bytes of the scratchpad that are used.
        interrupted: Ctrl-C or the time limit ended the search.
        seconds: wall time.
        failure: why there is no plan, or None.
    """

    order: tuple[Id, ...]
    events: tuple[tuple[int, str, Id], ...]
    bytes: int | None
    bound: int | None
    status: str
    offsets: Mapping[str, int]
    residencies: tuple[tuple[Id, int, int, int], ...]
    scratchpad: int
    working_set: int
    height: int
    interrupted: bool
    seconds: float
    failure: DnnccError | None = None


def schedule_spills(
    source: str | Path | Mapping[str, Any],
    scratchpad: int,
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> SpillSchedule:
    """The order, spills and retrievals of least off-chip traffic of a plain graph.

    Args:
        source: a JSON file or its content, see `dnncc.schedule_graph`.
        scratchpad: bytes on chip.
        time_limit: seconds; without one deterministic limits end the search.
        threads: that the search may use.
        progress: called with (bytes so far, bound).

    Raises:
        UsageError: the source is no such graph, with every fault.
    """
    from dnncc.passes.planning.spill.problem import SpillProblem
    from dnncc.passes.planning.spill.solve import solve

    start = time.perf_counter()
    graph = read_graph(source)
    _check_limits(time_limit, threads)
    if scratchpad < 0:
        raise UsageError(f"the scratchpad of {scratchpad} bytes is negative")
    problem = SpillProblem(graph.order_problem(), scratchpad)
    found = solve(problem, time_limit=time_limit, threads=threads, progress=progress)
    ids = graph.ids
    planned = found.status in ("optimal", "feasible")
    # What is empty lies nowhere; the start is as good as any place.
    offsets = {str(name): 0 for name, size in zip(ids, graph.sizes, strict=True) if planned and not size}
    for r in found.residencies:
        offsets.setdefault(str(ids[r.storage]), r.offset)
    return SpillSchedule(
        order=tuple(ids[v] for v in found.order),
        events=tuple((e.step, e.kind, ids[e.storage]) for e in found.events),
        bytes=found.bytes if planned else None,
        bound=None if found.status == "infeasible" else found.bound,
        status=found.status,
        offsets=offsets,
        residencies=tuple((ids[r.storage], r.start, r.end, r.offset) for r in found.residencies),
        scratchpad=scratchpad,
        working_set=found.least_capacity,
        height=found.height,
        interrupted=found.interrupted,
        seconds=round(time.perf_counter() - start, 3),
        failure=_failure(graph, scratchpad, found),
    )


def _failure(graph: GraphInstance, scratchpad: int, found: SpillSolution) -> DnnccError | None:
    if found.status == "unknown":
        return BudgetError(
            f"no plan for a scratchpad of {scratchpad:,} bytes was found",
            help="it is not proven that there is none: give more time with --time-limit, or some more bytes",
        )
    if found.status != "infeasible" or found.least_operator is None:
        return None
    v = found.least_operator
    tensors = [v, *graph.inputs[v]]
    culprits = [
        Culprit(
            f"node {graph.ids[t]}",
            reason=f"{graph.sizes[t]:,} bytes, {'written' if t == v else 'read'} by node {graph.ids[v]}",
        )
        for t in tensors
        if graph.sizes[t]
    ]
    return BudgetError(
        f"a scratchpad of {scratchpad:,} bytes is too small: at least {found.least_capacity:,} are needed, for what "
        f"node {graph.ids[v]} reads and writes",
        culprits,
        help=f"a scratchpad of at least {found.least_capacity:,} bytes; only smaller tensors lower it: compute node "
        f"{graph.ids[v]} in parts, or let it write over what it reads",
    )
