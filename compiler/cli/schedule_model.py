"""``dnncc schedule MODEL --target T``: what each measure of the planner makes of a network, as a table and pictures."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli.budgets import budget
from dnncc.cli.command import Outcome
from dnncc.cli.cuts import add_cuts
from dnncc.cli.dims import add_dims
from dnncc.cli.output import table
from dnncc.cli.parser import Parser
from dnncc.errors import OutputError, UsageError

if TYPE_CHECKING:
    from dnncc.comparison import Comparison, Point
    from dnncc.planner import Tried

OPTIONS = (
    "--target",
    "--calibrate",
    "--optimize",
    "--dtype",
    "--passes",
    "--dim",
    "--inputs",
    "--outputs",
    "--picture",
)
"""Those that go with a model only."""
_WIDTH, _HEIGHT = 56, 12


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="compare what can be done to make it fit a board"
    )
    parser.add_argument("--target", metavar="T", help="with a model: a board (`dnncc list boards`)")
    parser.add_argument("--calibrate", type=Path, metavar="X.npz", help="real inputs, as for `dnncc compile`")
    parser.choice(
        "--optimize", values=("balanced", "ram", "time"), help="what matters most (default: balanced)"
    )
    parser.choice(
        "--dtype", values=("int8", "float32"), help="what the network computes with (default: int8)"
    )
    parser.add_argument("--passes", metavar="P,...", help="the pass pipeline, instead of the usual one")
    add_dims(parser)
    add_cuts(parser)
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw the choices and the trade-off")


def run(arguments: Namespace) -> Outcome:
    from dnncc.cli.progress import progress
    from dnncc.comparison import schedule_model

    if arguments.target is None:
        raise UsageError(
            "a model needs a board", help="give one with --target; `dnncc list boards` shows all"
        )
    if arguments.picture is not None and arguments.picture.suffix != ".svg":
        raise UsageError(
            f"--picture: '{arguments.picture}' has no name of an SVG file", help="end it in .svg"
        )
    given = {n: getattr(arguments, n) for n in ("optimize", "dtype", "passes", "time_limit")}
    with progress() as say:
        found = schedule_model(
            arguments.model,
            target=arguments.target,
            calibrate=arguments.calibrate,
            progress=say,
            budget=dict(_budgets(arguments.budget)),
            dims=dict(arguments.dim),
            inputs=arguments.inputs,
            outputs=arguments.outputs,
            **{name: value for name, value in given.items() if value is not None},
        )
    if arguments.picture is not None:
        _draw(found, arguments.picture)
    return Outcome(document(found), _text(found), found.failure)


def document(found: Comparison) -> dict[str, Any]:
    """A comparison's fields, without the failure."""
    plain = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "failure"}
    return plain | {
        "measures": [asdict(t) | {"seconds": round(t.seconds, 3)} for t in found.measures],
        "curve": [asdict(p) for p in found.curve],
    }


def _budgets(text: str | None) -> list[tuple[str, str]]:
    import argparse

    try:
        return [] if text is None else [budget(text)]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"--budget: {error}") from error


def _draw(found: Comparison, path: Path) -> None:
    from dnncc.report.trade_off import picture

    try:
        path.write_text(picture(found), encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _text(found: Comparison) -> str:
    head = ["measure", "verdict", "RAM", "at least", "MACs added", "work added", "copied", "seconds", "why"]
    limit = "without limit" if found.capacity_bytes is None else f"{found.capacity_bytes:,} bytes"
    asked = "" if found.budget_bytes is None else ", the budget"
    taken = "nothing fits" if found.chosen is None else f"`dnncc compile` takes: {found.chosen}"
    lines = [
        table(head, [_row(t) for t in found.measures]),
        "",
        *_bars(found),
        "",
        *_curve(found.curve),
        "",
        f"{found.target}: RAM {limit}{asked}; {taken}; in {found.seconds:.1f} s",
    ]
    return "\n".join(lines)


def _row(tried: Tried) -> list[object]:
    work = None if tried.added_percent is None else f"{tried.added_percent:+.2f} %"
    why = (
        f"{tried.reason} ({tried.detail})" if tried.detail and tried.arena_bytes is not None else tried.reason
    )
    return [
        tried.measure,
        tried.verdict,
        tried.arena_bytes,
        tried.bound_bytes,
        tried.added_macs,
        work,
        tried.copied_bytes,
        round(tried.seconds, 2) if tried.seconds else None,
        why,
    ]


def _bars(found: Comparison) -> list[str]:
    """A bar of RAM per plan, with `|` where it is proven to be needed; `:` is the RAM that there is."""
    plans = [t for t in found.measures if t.arena_bytes is not None]
    top = max((t.arena_bytes or 0 for t in plans), default=0) or 1
    width = max((len(t.measure) for t in plans), default=0)
    limit = found.capacity_bytes if found.capacity_bytes is not None and found.capacity_bytes <= top else None
    lines = []
    for tried in plans:
        cells = ["#"] * round(_WIDTH * (tried.arena_bytes or 0) / top)
        cells += [" "] * (_WIDTH - len(cells))
        for size, mark in ((limit, ":"), (tried.bound_bytes, "|")):
            if size is not None:
                cells[min(round(_WIDTH * size / top), _WIDTH - 1)] = mark
        chosen = "*" if tried.verdict == "chosen" else " "
        lines.append(f"{chosen} {tried.measure:{width}}  {''.join(cells)} {tried.arena_bytes:,}")
    key = "bytes of RAM; |: at least needed" + ("" if limit is None else f"; : the {limit:,} that there are")
    return [*lines, f"  {'':{width}}  {key}"]


def _curve(points: tuple[Point, ...]) -> list[str]:
    """RAM from left to right, added work upwards; `o` is a plan that no other beats in both."""
    right = max((p.arena_bytes for p in points), default=0) or 1
    high = max((p.added_percent for p in points), default=0.0) or 1.0
    grid = [[" "] * (_WIDTH + 1) for _ in range(_HEIGHT + 1)]
    for point in sorted(points, key=lambda p: p.best):
        column = round(_WIDTH * point.arena_bytes / right)
        row = _HEIGHT - round(_HEIGHT * max(point.added_percent, 0.0) / high)
        grid[row][column] = "o" if point.best else "."
    lines = []
    for i, cells in enumerate(grid):
        label = f"{high:.1f} %" if i == 0 else "0.0 %" if i == _HEIGHT else ""
        lines.append(f"{label:>9} |{''.join(cells)}".rstrip())
    lines.append(f"{'':9} +{'-' * (_WIDTH + 1)}")
    lines.append(f"{'':9}  0{f'{right:,} bytes':>{_WIDTH}}")
    rows = [[p.measure, p.arena_bytes, f"{p.added_percent:+.2f} %", p.copied_bytes] for p in points if p.best]
    return ["added work against RAM", *lines, "", table(["best plans", "RAM", "work added", "copied"], rows)]
