"""Plain instances of the memory planner's problems: buffers to place, graphs to order or to run within a budget.

What ``dnncc schedule --buffers`` and ``dnncc schedule --graph`` do, as functions. The fields of what they return are
the keys of the command's JSON document, beside ``failure``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.errors import BudgetError, Culprit, DnnccError, UsageError
from dnncc.instances import BufferInstance, GraphInstance, Id, read_buffers, read_graph
from dnncc.passes.planning.problem import PlaceProblem, PlaceSolution, Progress

if TYPE_CHECKING:
    from dnncc.passes.planning.recompute.problem import RematSolution


@dataclass(frozen=True)
class BufferSchedule:
    """Where buffers lie.

    Attributes:
        placed: whether every buffer lies within the capacity.
        height: bytes of the arena; above the capacity if not placed.
        bound: no placement has a smaller height.
        status: "optimal" (height equals bound), "feasible", "infeasible" (the bound exceeds the capacity), "unknown".
        offsets: bytes from the arena's start, by the file's ids.
        capacity: what was asked for, or None.
        interrupted: Ctrl-C or the time limit ended the search.
        seconds: wall time.
        failure: why it is not placed, or None.
    """

    placed: bool
    height: int
    bound: int
    status: str
    offsets: Mapping[str, int]
    capacity: int | None
    interrupted: bool
    seconds: float
    failure: DnnccError | None = None


@dataclass(frozen=True)
class RecomputeSchedule:
    """A sequence of executions within a memory budget.

    Attributes:
        sequence: the file's ids as they run, with repeats. Without a plan ("infeasible", "unknown") the sequence of
            the lowest peak found.
        peak: bytes at its worst step.
        budget: bytes that no step may exceed.
        duration: the sum of the durations of all executions.
        tdi_percent: total duration increase: how much more than each operator once, in percent.
        bound_percent: no sequence within the budget has a smaller one; None if there is none.
        status: "optimal", "feasible", "infeasible" (there is provably no plan), "unknown" (none was found).
        given_peak: the peak of the given order.
        peak_bound: no sequence at all has a lower peak.
        fixed_order: whether first executions keep the given order.
        interrupted: Ctrl-C or the time limit ended the search.
        seconds: wall time.
        failure: why there is no plan, or None.
    """

    sequence: tuple[Id, ...]
    peak: int
    budget: int
    duration: int
    tdi_percent: float
    bound_percent: float | None
    status: str
    given_peak: int
    peak_bound: int
    fixed_order: bool
    interrupted: bool
    seconds: float
    failure: DnnccError | None = None


@dataclass(frozen=True)
class OrderSchedule:
    """An order of least peak memory.

    Attributes:
        order: the file's ids as they run.
        peak: bytes at the worst step.
        bound: no order has a smaller peak.
        status: "optimal" (peak equals bound) or "feasible".
        given_peak: the peak of the given order.
        interrupted: Ctrl-C or the time limit ended the search.
        seconds: wall time.
    """

    order: tuple[Id, ...]
    peak: int
    bound: int
    status: str
    given_peak: int
    interrupted: bool
    seconds: float


def schedule_buffers(
    source: str | Path,
    capacity: int | None = None,
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> BufferSchedule:
    """Place the buffers of a CSV file (columns id, lower, upper, size; lifetimes half-open).

    Args:
        source: the file.
        capacity: bytes that are available: the first placement within them will do. None asks for the least height.
        time_limit: seconds; without one a deterministic limit ends the search.
        threads: that the search may use.
        progress: called with (height so far, bound).

    Raises:
        UsageError: the file is no such file, with every fault.
    """
    from dnncc.passes.planning import place

    start = time.perf_counter()
    instance = read_buffers(source)
    _check_limits(time_limit, threads)
    if capacity is not None and capacity < 0:
        raise UsageError(f"the capacity {capacity} is negative")
    problem = PlaceProblem(instance.buffers, capacity=capacity)
    found = place.solve(problem, time_limit=time_limit, threads=threads, progress=progress)
    placed = capacity is None or found.height <= capacity
    failure = None if placed else _no_room(instance, found, capacity or 0)
    unplaced = "infeasible" if found.bound > (capacity or 0) else "unknown"
    return BufferSchedule(
        placed,
        found.height,
        found.bound,
        found.status if placed else unplaced,
        dict(zip(instance.names, found.offsets, strict=True)),
        capacity,
        found.interrupted,
        round(time.perf_counter() - start, 3),
        failure,
    )


def schedule_graph(
    source: str | Path | Mapping[str, Any],
    *,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> OrderSchedule:
    """The order of least peak memory of a plain graph.

    Args:
        source: a JSON file, or what `json.load` makes of one:
            ``{"order": [ids], "nodes": [[id, output bytes, duration], ...], "edges": [[producer, consumer], ...]}``.
        time_limit: seconds; without one a deterministic limit ends the search.
        threads: that the search may use.
        progress: called with (peak so far, bound).

    Raises:
        UsageError: the source is no such graph, with every fault.
    """
    from dnncc.passes.planning import order

    start = time.perf_counter()
    graph = read_graph(source)
    _check_limits(time_limit, threads)
    problem = graph.order_problem()
    found = order.solve(problem, time_limit=time_limit, threads=threads, progress=progress)
    return OrderSchedule(
        tuple(graph.ids[v] for v in found.order),
        found.peak,
        found.bound,
        found.status,
        max(order.loads(problem, range(len(graph.ids)))),
        found.interrupted,
        round(time.perf_counter() - start, 3),
    )


def recompute_graph(
    source: str | Path | Mapping[str, Any],
    budget: float,
    *,
    fixed_order: bool = False,
    time_limit: float | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> RecomputeSchedule:
    """The sequence of least work that runs a plain graph within a memory budget, computing outputs again.

    Args:
        source: as for `schedule_graph`; for training, the graph of forward and backward operators.
        budget: up to 1 a fraction of the peak of the given order (rounded up), above 1 bytes.
        fixed_order: whether the operators must run for the first time in the given order.
        time_limit: seconds; without one a deterministic limit ends the search.
        threads: that the search may use.
        progress: called with (added duration so far, bound).

    Raises:
        UsageError: the source is no such graph, with every fault, or the budget is no positive number.
    """
    from dnncc.passes.planning import order
    from dnncc.passes.planning.recompute.problem import RematProblem
    from dnncc.passes.planning.recompute.solve import solve

    start = time.perf_counter()
    graph = read_graph(source)
    _check_limits(time_limit, threads)
    ordering = graph.order_problem()
    given_peak = max(order.loads(ordering, range(len(graph.ids))))
    problem = RematProblem(ordering, graph.durations, budget_bytes(budget, given_peak), fixed_order)
    found = solve(problem, time_limit=time_limit, threads=threads, progress=progress)
    total = sum(graph.durations)

    def percent(added: int) -> float:
        return 100 * added / total if total else 0.0

    return RecomputeSchedule(
        tuple(graph.ids[v] for v in found.sequence),
        found.peak,
        problem.budget,
        total + found.added,
        percent(found.added),
        None if found.status == "infeasible" else percent(found.bound),
        found.status,
        given_peak,
        found.least_budget,
        fixed_order,
        found.interrupted,
        round(time.perf_counter() - start, 3),
        _out_of_budget(graph, problem.budget, given_peak, found),
    )


def budget_bytes(budget: float, given_peak: int) -> int:
    """A budget in bytes: up to 1 it is a fraction of the given order's peak (rounded up), above 1 it is bytes.

    Raises:
        UsageError: it is no positive number.
    """
    if not 0 < budget < math.inf:
        raise UsageError(f"the budget {budget:g} is no positive number", help=_BUDGET_FORM)
    if budget <= 1:
        # A fraction is meant as it is written: 0.8 of 10 is 8, whatever its nearest binary number is.
        from fractions import Fraction

        return math.ceil(Fraction(repr(float(budget))) * given_peak)
    return math.floor(budget)


_BUDGET_FORM = "up to 1 a budget is a fraction of the peak of the given order, above 1 it is bytes"


def _out_of_budget(
    graph: GraphInstance, budget: int, given_peak: int, found: RematSolution
) -> BudgetError | None:
    """Why there is no sequence within the budget."""
    if found.status in ("optimal", "feasible"):
        return None
    reached = f"the lowest peak that was found has {found.peak:,}"
    setter = found.least_operator
    if found.least_budget > budget and setter is not None:
        read = sorted(graph.inputs[setter], key=lambda u: -graph.sizes[u])
        culprits = [
            Culprit(f"node {graph.ids[setter]}", reason=f"writes {graph.sizes[setter]:,} bytes"),
            *(Culprit(f"node {graph.ids[u]}", reason=f"its {graph.sizes[u]:,} bytes are read") for u in read),
        ]
        return BudgetError(
            f"no order and no recomputation keeps within {budget:,} bytes: at least {found.least_budget:,} "
            f"({found.least_budget / given_peak:.3f} of the given order's peak) are needed, because node "
            f"{graph.ids[setter]} needs what it reads and what it writes at once",
            culprits,
            help=f"a budget of at least {found.least_budget:,} bytes; only smaller tensors lower the bound: compute "
            f"node {graph.ids[setter]} in parts, or let it write over what it reads",
        )
    if found.status == "infeasible":
        return BudgetError(
            f"it is proven that no sequence keeps within {budget:,} bytes; {reached}, and no sequence needs less "
            f"than {found.least_budget:,}",
            help=f"a budget of more than {budget:,} bytes",
        )
    return BudgetError(
        f"no sequence within {budget:,} bytes was found; {reached}, and no sequence needs less than "
        f"{found.least_budget:,}",
        help="it is not proven that there is none: give more time with --time-limit, or a larger budget",
    )


def _check_limits(time_limit: float | None, threads: int) -> None:
    if time_limit is not None and not 0 < time_limit < math.inf:
        raise UsageError(f"the time limit {time_limit:g} is no positive number of seconds")
    if threads < 1:
        raise UsageError(f"{threads} threads are too few", help="at least 1")


def _no_room(instance: BufferInstance, found: PlaceSolution, capacity: int) -> BudgetError:
    """Why the buffers are not placed."""
    if found.bound <= capacity:
        return BudgetError(
            f"no placement within {capacity:,} bytes was found; the lowest has {found.height:,}, and at least "
            f"{found.bound:,} are needed",
            help="it is not proven that there is none: give more time with --time-limit",
        )
    load = {b.lower: 0 for b in instance.buffers}
    for step in load:
        load[step] = sum(b.size for b in instance.buffers if b.lower <= step < b.upper)
    step = max(load, key=lambda s: (load[s], -s))
    living = sorted(
        (b for b in instance.buffers if b.lower <= step < b.upper and b.size), key=lambda b: (-b.size, b.id)
    )
    culprits = [
        Culprit(
            f"buffer {instance.names[b.id]}", reason=f"{b.size:,} bytes, lives from {b.lower} to {b.upper}"
        )
        for b in living[:10]
    ]
    rest = living[10:]
    if rest:
        culprits.append(
            Culprit(f"{len(rest)} smaller buffers", reason=f"{sum(b.size for b in rest):,} bytes together")
        )
    return BudgetError(
        f"the buffers do not fit {capacity:,} bytes: at least {found.bound:,} are needed, because those that live at "
        f"step {step} have {load[step]:,} bytes together",
        culprits,
        help=f"a capacity of at least {found.bound:,} bytes, or shorter lives or smaller buffers at step {step}",
    )
