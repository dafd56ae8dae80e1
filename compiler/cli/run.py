"""``dnncc run``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from dnncc.cli.command import Command, Outcome
from dnncc.cli.parser import Parser
from dnncc.cli.places import add_places, place_options
from dnncc.cli.progress import progress


def add_arguments(parser: Parser) -> None:
    add_places(parser, ("host", "emulator", "qemu", "interpreter"))
    parser.add_argument(
        "--input",
        type=Path,
        metavar="X.npz",
        required=True,
        help="one float32 array per input, first axis = samples",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="Y.npz", required=True, help="likewise per output"
    )
    parser.add_argument("--raw", action="store_true", help="the network's own integers instead of float32")


def run(arguments: Namespace) -> Outcome:
    from dnncc.execution import run as run_artifact
    from dnncc.npz import check_file_writable, write_npz

    check_file_writable(arguments.output)
    with progress() as say:
        say(f"running {arguments.artifact}")
        found = run_artifact(
            arguments.artifact, arguments.input, raw=arguments.raw, **place_options(arguments)
        )
    write_npz(arguments.output, found)
    outputs = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in found.items()]
    samples = next((len(array) for array in found.values()), 0)
    document = {"output": str(arguments.output), "samples": samples, "raw": arguments.raw, "outputs": outputs}
    lines = [f"{arguments.output}: {samples:,} samples"]
    lines += [f"  {o['name']}: {o['dtype']} {o['shape']}" for o in outputs]
    return Outcome(document, "\n".join(lines))


COMMAND = Command("run", "an artifact on samples of your own", add_arguments, run)
