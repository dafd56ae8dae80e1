"""``dnncc validate``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli.command import Command, Outcome
from dnncc.cli.parser import Parser
from dnncc.cli.places import add_places, place_options
from dnncc.cli.progress import progress

if TYPE_CHECKING:
    from dnncc.fpga_validation import Simulation


def add_arguments(parser: Parser) -> None:
    add_places(parser, ("host", "emulator", "qemu", "csim", "interpreter"))
    parser.add_argument(
        "--data", type=Path, metavar="X.npz", help="samples (default: made up, over the whole range)"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="how many (default: all of --data, or 20)")


def run(arguments: Namespace) -> Outcome:
    from dnncc.validation import mismatch, validate

    with progress() as say:
        say(f"validating {arguments.artifact}")
        found = validate(
            arguments.artifact, data=arguments.data, samples=arguments.samples, **place_options(arguments)
        )
    first = found.first
    document: dict[str, Any] = {
        "on": found.on,
        "samples": found.samples,
        "values": found.values,
        "mismatches": found.mismatches,
        "match": found.match,
        "data": found.data,
        "tolerance": found.tolerance,
        "first": None
        if first is None
        else {
            "sample": first.sample,
            "output": first.output,
            "index": list(first.index),
            "actual": _number(first.actual),
            "expected": _number(first.expected),
        },
    }
    if found.simulation is not None:
        document["simulation"] = _simulation(found.simulation)
    if not found.match:
        return Outcome(document, "", mismatch(arguments.artifact, found))
    how = "bit by bit" if found.tolerance == 0.0 else f"within {found.tolerance:g} of the largest"
    text = (
        f"{arguments.artifact} on {found.on}: {found.values:,} values of {found.samples:,} samples "
        f"({found.data}) match the interpreter {how}"
    )
    if found.simulation is not None:
        checked = found.simulation.streams
        text += (
            f"\n  layers   {sum(s.values for s in checked):,} values of {len(checked)} streams match"
            "\n  streams  no read from an empty one, no word left over"
            "\n  FIFOs    of the chosen depths: no deadlock, the same outputs, no word left over"
        )
    return Outcome(document, text)


def _simulation(found: Simulation) -> dict[str, Any]:
    return {
        "streams": [asdict(s) for s in found.streams],
        "warnings": list(found.warnings),
        "bounded": {
            "deadlock": found.deadlock,
            "mismatches": found.bounded_mismatches,
            "warnings": list(found.bounded_warnings),
        },
    }


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return value if abs(value) < float("inf") else str(value)


COMMAND = Command("validate", "an artifact against the reference interpreter, bit by bit", add_arguments, run)
