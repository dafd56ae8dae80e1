"""``dnncc list``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from dnncc.cli.command import Command, Outcome
from dnncc.cli.output import table
from dnncc.cli.parser import Parser

if TYPE_CHECKING:
    from dnncc.targets.boards import Board


def add_arguments(parser: Parser) -> None:
    parser.choice("what", values=tuple(_LISTS), metavar="WHAT", help=", ".join(_LISTS))
    parser.add_argument("--target", metavar="T", help="only what concerns this board")


def run(arguments: Namespace) -> Outcome:
    from dnncc.errors import UsageError
    from dnncc.targets.hls.parts import is_hls

    board = None
    if arguments.target is not None and is_hls(arguments.target):
        raise UsageError(
            "an FPGA has no list of its own", help="dnncc inspect MODEL --target hls:... says what streams"
        )
    if arguments.target is not None:
        from dnncc.targets.boards import load_board

        board = load_board(arguments.target)
    return _LISTS[arguments.what](board)


def _boards_of(board: Board | None) -> list[Board]:
    from dnncc.targets.boards import boards

    return boards() if board is None else [board]


def _targets(board: Board | None) -> Outcome:
    from dnncc.runtime.cpus import NATIVE, runnable

    found = _boards_of(board)
    best = runnable()[-1].name if runnable() else None
    aliases = {b.name: [*b.aliases, *([NATIVE] if b.core == best else [])] for b in found}
    entries: list[dict[str, Any]] = [
        {"name": b.name, "aliases": aliases[b.name], "core": b.core, "description": b.description}
        for b in found
    ]
    rows = [(b.name, ", ".join(aliases[b.name]), b.core, b.description) for b in found]
    if board is None:
        from dnncc.targets.hls.parts import parts

        for part in parts():
            entries.append(
                {"name": part.target, "aliases": [], "core": "fpga", "description": part.description}
            )
            rows.append((part.target, "", "fpga", part.description))
    return Outcome({"targets": entries}, table(["target", "aliases", "core", ""], rows))


def _boards(board: Board | None) -> Outcome:
    found = _boards_of(board)
    rows = [
        (b.name, b.core, None if b.clock_hz is None else b.clock_hz // 1_000_000, p.name, p.kind, p.bytes)
        for b in found
        for p in b.pools
    ]
    text = table(["board", "core", "MHz", "pool", "kind", "bytes"], rows)
    return Outcome({"boards": [asdict(b) for b in found]}, text)


def _passes(board: Board | None) -> Outcome:
    from dnncc.passes.base import load_all

    entries = [
        {
            "name": name,
            "summary": _summary(cls),
            "options": [{"name": f.name, "type": str(f.type), "default": f.default} for f in fields(cls)],
        }
        for name, cls in sorted(load_all().items())
    ]
    text = "\n".join(line for e in entries for line in (_signature(e), *_wrapped(str(e["summary"]), "    ")))
    document: dict[str, Any] = {"passes": entries}
    if board is not None:
        from dnncc.options import Options, default_pipeline

        document["pipeline"] = default_pipeline(Options(target=board.name))
        text = f"`dnncc compile --target {board.name}` runs {document['pipeline']}\n\n{text}"
    return Outcome(document, text)


def _signature(entry: dict[str, Any]) -> str:
    options = ",".join(f"{o['name']}={o['default']}" for o in entry["options"])
    return f"{entry['name']}{{{options}}}" if options else str(entry["name"])


def _ops(board: Board | None) -> Outcome:
    from dnncc.frontends.onnx import supported_op_types
    from dnncc.frontends.onnx_registry import ONNX_OPS
    from dnncc.ops.base import Op, load_all

    entries = [
        {
            "name": name,
            "summary": _summary(op),
            "quantizes": op.to_integer is not Op.to_integer,
            "code": op.has_code(),
        }
        for name, op in sorted(load_all().items())
        if name != "fused"
    ]
    if board is not None:
        entries = [e for e in entries if e["quantizes"] or e["code"]]
    onnx = [{"op_type": t, "imported_by": ONNX_OPS[t].__module__} for t in supported_op_types()]
    rows = [
        (e["name"], *("yes" if e[k] else "-" for k in ("quantizes", "code")), e["summary"]) for e in entries
    ]
    text = "\n".join(
        [
            "ONNX operators, opset 7 and up:",
            *_wrapped(", ".join(str(o["op_type"]) for o in onnx), "  "),
            "",
            table(["operator of the IR", "quantizes", "code", ""], rows),
        ]
    )
    return Outcome({"ops": entries, "onnx": onnx}, text)


def _summary(cls: type[Any]) -> str:
    """What a docstring says before it comes to the fields, in one line."""
    return " ".join((cls.__doc__ or "").partition("\n\n    Attributes:")[0].split())


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent)


_LISTS: dict[str, Callable[[Board | None], Outcome]] = {
    "targets": _targets,
    "boards": _boards,
    "passes": _passes,
    "ops": _ops,
}
COMMAND = Command("list", "targets, boards, passes or operators", add_arguments, run)
