"""``dnncc schedule``: the memory planner's choices for a model, and its optimizers on plain instances."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli import schedule_model
from dnncc.cli.command import Command, Outcome
from dnncc.cli.output import note, table
from dnncc.cli.parser import Parser
from dnncc.errors import Culprit, UsageError

if TYPE_CHECKING:
    from dnncc.scheduling import BufferSchedule, OrderSchedule, RecomputeSchedule
    from dnncc.spilling import SpillSchedule


@dataclass(frozen=True)
class _Source:
    """One kind of thing that can be scheduled.

    Attributes:
        argument: what names it on the command line.
        options: the options that go with it, beside those that go with all.
        run: does the work.
    """

    argument: str
    options: tuple[str, ...]
    run: Callable[[Namespace], Outcome]


def add_arguments(parser: Parser) -> None:
    schedule_model.add_arguments(parser)
    parser.add_argument(
        "--buffers", type=Path, metavar="FILE.csv", help="place buffers: columns id,lower,upper,size"
    )
    parser.add_argument("--capacity", type=_bytes, metavar="N", help="bytes that the buffers may take")
    parser.add_argument(
        "--graph", type=Path, metavar="FILE.json", help="order operators for the least peak memory"
    )
    parser.add_argument(
        "--budget",
        metavar="B",
        help="of a graph: run it within B, computing outputs again: up to 1 of the given order's peak, above 1 bytes; "
        "of a model: what it may take, such as ram=64K",
    )
    parser.add_argument(
        "--fixed-order", action="store_true", help="first executions keep the given order (with --budget)"
    )
    parser.add_argument(
        "--scratchpad",
        type=_bytes,
        metavar="BYTES",
        help="run the graph in so many bytes on chip, copying the fewest bytes off chip and back",
    )
    parser.add_argument("--time-limit", type=_seconds, metavar="S", help="seconds for the search")
    parser.add_argument("--threads", type=_threads, metavar="N", help="threads of the search (default: 1)")


def run(arguments: Namespace) -> Outcome:
    given = {s for s in _SOURCES if _is_given(arguments, s.argument)}
    if len(given) != 1:
        choices = " or ".join(s.argument for s in _SOURCES)
        what = "nothing to schedule was given" if not given else "only one thing can be scheduled at a time"
        raise UsageError(f"{what}: {choices}", help="`dnncc schedule --help` shows how it is used")
    (source,) = given
    stray = {o for s in _SOURCES for o in s.options if o not in source.options and _is_given(arguments, o)}
    if stray:
        culprits = [
            Culprit(o, reason=f"goes with {' and '.join(s.argument for s in _SOURCES if o in s.options)}")
            for o in sorted(stray)
        ]
        raise UsageError(f"options that do not go with {source.argument}", culprits)
    return source.run(arguments)


def _is_given(arguments: Namespace, option: str) -> bool:
    value = getattr(arguments, option.lstrip("-").replace("-", "_").lower())
    return value is not None and value is not False and value not in ((), [])


def _buffers(arguments: Namespace) -> Outcome:
    from dnncc.scheduling import schedule_buffers

    with _incumbent("bytes") as say:
        found = schedule_buffers(
            arguments.buffers,
            arguments.capacity,
            time_limit=arguments.time_limit,
            threads=arguments.threads or 1,
            progress=say,
        )
    _note_interruption(found.interrupted, found.status)
    return Outcome(_document(found), _buffers_text(found) if found.placed else "", found.failure)


def _graph(arguments: Namespace) -> Outcome:
    # What is wanted of a graph is told apart here: one function for each.
    if arguments.budget is not None and arguments.scratchpad is not None:
        raise UsageError("--budget recomputes, --scratchpad copies: choose one of them")
    if arguments.budget is not None:
        return _recompute(arguments)
    if arguments.fixed_order:
        raise UsageError("--fixed-order needs --budget", help="the given order's peak needs no search")
    if arguments.scratchpad is not None:
        return _spill(arguments)
    return _order(arguments)


def _spill(arguments: Namespace) -> Outcome:
    from dnncc.spilling import schedule_spills

    with _incumbent("bytes copied") as say:
        found = schedule_spills(
            arguments.graph,
            arguments.scratchpad,
            time_limit=arguments.time_limit,
            threads=arguments.threads or 1,
            progress=say,
        )
    _note_interruption(found.interrupted, found.status)
    return Outcome(_document(found), "" if found.failure else _spill_text(found), found.failure)


def _order(arguments: Namespace) -> Outcome:
    from dnncc.scheduling import schedule_graph

    with _incumbent("bytes") as say:
        found = schedule_graph(
            arguments.graph, time_limit=arguments.time_limit, threads=arguments.threads or 1, progress=say
        )
    _note_interruption(found.interrupted, found.status)
    return Outcome(_document(found), _order_text(found))


def _recompute(arguments: Namespace) -> Outcome:
    from dnncc.scheduling import recompute_graph

    with _incumbent("added") as say:
        found = recompute_graph(
            arguments.graph,
            _budget(arguments.budget),
            fixed_order=arguments.fixed_order,
            time_limit=arguments.time_limit,
            threads=arguments.threads or 1,
            progress=say,
        )
    _note_interruption(found.interrupted, found.status)
    return Outcome(_document(found), "" if found.failure else _recompute_text(found), found.failure)


def _document(found: Any) -> dict[str, Any]:
    """A schedule's fields, without the failure."""
    return {f.name: getattr(found, f.name) for f in fields(found) if f.name != "failure"}


def _buffers_text(found: BufferSchedule) -> str:
    room = "" if found.capacity is None else f" of {found.capacity:,}"
    rows = [[name, offset] for name, offset in found.offsets.items()]
    summary = f"{len(rows)} buffers in {found.height:,}{room} bytes; {_proof(found.status, found.bound)}"
    return f"{table(['buffer', 'offset'], rows)}\n\n{summary}, in {found.seconds:.1f} s"


def _order_text(found: OrderSchedule) -> str:
    rows = [[step, name] for step, name in enumerate(found.order)]
    summary = (
        f"peak {found.peak:,} bytes, given order {found.given_peak:,}; {_proof(found.status, found.bound)}"
    )
    return f"{table(['step', 'operator'], rows)}\n\n{summary}, in {found.seconds:.1f} s"


def _recompute_text(found: RecomputeSchedule) -> str:
    times: dict[object, int] = {}
    rows = []
    for step, name in enumerate(found.sequence):
        times[name] = times.get(name, 0) + 1
        rows.append([step, name, "" if times[name] == 1 else f"execution {times[name]}"])
    least = f"at least {found.bound_percent or 0.0:.2f} % are needed"
    proof = "optimal" if found.status == "optimal" else least
    peak = f"peak {found.peak:,} of {found.budget:,} bytes, given order {found.given_peak:,}"
    work = f"duration {found.duration:,}, {found.tdi_percent:.2f} % more than once each; {proof}"
    rows_shown = table(["step", "operator", ""], rows)
    return f"{rows_shown}\n\n{peak}\n{work}, in {found.seconds:.1f} s"


def _spill_text(found: SpillSchedule) -> str:
    copies: dict[int, list[str]] = {}
    for step, kind, name in found.events:
        copies.setdefault(step, []).append(f"{kind} {name}")
    rows = [[step, ", ".join(copies.get(step, [])), name] for step, name in enumerate(found.order)]
    proof = "optimal" if found.status == "optimal" else f"at least {found.bound:,} must be"
    memory = f"{found.height:,} of {found.scratchpad:,} bytes on chip"
    summary = f"{memory}; {found.bytes:,} bytes are copied, {proof}, in {found.seconds:.1f} s"
    return f"{table(['step', 'before it', 'operator'], rows)}\n\n{summary}"


def _proof(status: str, bound: int) -> str:
    return "optimal" if status == "optimal" else f"at least {bound:,} are needed"


def _note_interruption(interrupted: bool, status: str) -> None:
    if interrupted and status == "feasible":
        note("note: the search was cut short; this is the best answer so far")


def _incumbent(unit: str) -> Any:
    """Shows the incumbent and the bound while it lasts."""
    from contextlib import contextmanager

    from dnncc.cli.progress import progress

    @contextmanager
    def shown() -> Any:
        with progress() as say:
            yield lambda best, bound: say(f"{best:,} {unit}, at least {bound:,}")

    return shown()


def _bytes(text: str) -> int:
    from dnncc.sizes import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _budget(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise UsageError(f"--budget: '{text}' is no positive number: a fraction, or bytes above 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number of seconds")
    return value


def _threads(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number of threads")
    return value


# A kind of source and what it needs is added here, and its options in `add_arguments`.
_SOURCES = (
    _Source("--buffers", ("--capacity", "--threads"), _buffers),
    _Source("--graph", ("--budget", "--fixed-order", "--scratchpad", "--threads"), _graph),
    _Source("MODEL", ("--budget", *schedule_model.OPTIONS), schedule_model.run),
)
COMMAND = Command(
    "schedule", "what each way to save memory makes of a model, or of plain instances", add_arguments, run
)
