"""``dnncc bench``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from dnncc.cli.command import Command, Outcome
from dnncc.cli.output import shortened, table
from dnncc.cli.parser import Parser
from dnncc.cli.places import add_places, place_options
from dnncc.cli.progress import progress

if TYPE_CHECKING:
    from dnncc.benchmark import Benchmark


def add_arguments(parser: Parser) -> None:
    add_places(parser, ("host", "emulator", "qemu"))


def run(arguments: Namespace) -> Outcome:
    from dnncc.benchmark import bench

    with progress() as say:
        say(f"measuring {arguments.artifact}")
        found = bench(arguments.artifact, **place_options(arguments))
    document = {**asdict(found), "instructions_per_mac": found.instructions_per_mac}
    return Outcome(document, _text(str(arguments.artifact), found))


def _text(artifact: str, found: Benchmark) -> str:
    built = f"{found.compiler} {found.opt}" if found.compiler else found.opt
    lines = [f"{artifact} on {found.on}, {found.core}, built with {built}"]
    per_mac = f" ({found.instructions_per_mac:.2f} per MAC)" if found.instructions_per_mac is not None else ""
    library = f" and {found.library_bytes:,} of the C library" if found.library_bytes else ""
    figures = [
        ("time", found.milliseconds, " ms", ""),
        ("instructions", found.instructions, "", per_mac),
        ("cycles", found.cycles_estimated, "", " (estimated, with memory that answers at once)"),
        ("flash", found.flash_bytes, " bytes", library),
        ("RAM", found.ram_bytes, " bytes", ""),
        ("stack", found.stack_bytes, " bytes", ""),
        ("work", found.macs, " multiply-accumulates", ""),
    ]
    for name, value, unit, more in figures:
        if value is not None:
            number = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
            lines.append(f"  {name:12} {number}{unit}{more}")
    measured = [n for n in found.nodes if n.instructions is not None]
    if measured:
        head = ["node", "op", "MACs", "instructions", "cycles", "instr/MAC"]
        rows = [
            (
                shortened(n.name),
                n.op,
                n.macs,
                n.instructions,
                n.cycles_estimated,
                n.instructions / n.macs if n.macs else None,
            )
            for n in measured
            if n.instructions is not None
        ]
        lines += ["", table(head, rows)]
    timed = [n for n in found.nodes if n.nanoseconds is not None]
    if timed:
        head = ["node", "op", "MACs", "µs", "MAC/ns"]
        spent = [
            (
                shortened(n.name),
                n.op,
                n.macs,
                n.nanoseconds / 1e3,
                n.macs / max(n.nanoseconds, 1) if n.macs else None,
            )
            for n in timed
            if n.nanoseconds is not None
        ]
        lines += ["", table(head, spent)]
    return "\n".join(lines)


COMMAND = Command("bench", "an artifact's instructions, time and memory, per node", add_arguments, run)
