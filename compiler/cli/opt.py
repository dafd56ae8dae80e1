"""``dnncc opt``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dnncc.cli.command import Command, Outcome
from dnncc.cli.parser import Parser

if TYPE_CHECKING:
    from dnncc.ir.graph import Graph


def add_arguments(parser: Parser) -> None:
    parser.add_argument("graph", metavar="G.ir", help="a graph as text; - reads it from stdin")
    parser.add_argument("--passes", default="", metavar="P,...", help='such as "simplify,fuse" or "a,b{x=1}"')
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write it there, and its large constants to FILE.npz",
    )
    parser.add_argument(
        "--calibrate", type=Path, metavar="X.npz", help="samples for the passes that learn from data"
    )
    parser.add_argument("--dump-ir", type=Path, metavar="DIR", help="write the graph after each pass")
    parser.add_argument(
        "--elide",
        action="store_true",
        help="on stdout, only name large constants: for reading, not for parsing",
    )


def run(arguments: Namespace) -> Outcome:
    from dnncc.calibration import load_others, load_samples
    from dnncc.ir.text import INLINE, print_graph, write_ir
    from dnncc.ir.verify import verify
    from dnncc.npz import check_file_writable
    from dnncc.passes.base import Surroundings
    from dnncc.passes.pipeline import Pipeline

    if arguments.output is not None:
        check_file_writable(arguments.output)
    pipeline = Pipeline.parse(arguments.passes)
    graph = _read(arguments.graph)
    verify(graph)
    if arguments.calibrate is not None:
        samples = load_samples(arguments.calibrate, graph)
        pipeline = pipeline.bind(Surroundings(samples, load_others(arguments.calibrate, samples)))
    statistics = pipeline.run(graph, arguments.dump_ir)
    text = print_graph(graph, INLINE if arguments.elide else None)
    if arguments.output is not None:
        write_ir(graph, arguments.output)
    document = {
        "passes": str(pipeline.resolved()),
        "choices": [{"pass": p.name, **p.record()} for p in pipeline.passes if p.record()],
        "changed": any(s.changed for s in statistics),
        "statistics": [asdict(s) for s in statistics],
        "output": None if arguments.output is None else str(arguments.output),
        "graph": text if arguments.output is None else None,
    }
    return Outcome(document, text if arguments.output is None else "")


def _read(source: str) -> Graph:
    import sys

    from dnncc.errors import UnreadableModelError
    from dnncc.ir.text import parse_graph, read_ir

    if source != "-":
        return read_ir(source)
    try:
        return parse_graph(sys.stdin.read(), source="stdin")
    except UnicodeDecodeError as error:
        raise UnreadableModelError(f"stdin is no text: {error}") from error


COMMAND = Command("opt", "run passes on a graph: text in, text out", add_arguments, run)
