"""``python -m benchmarks``: measure, prove, and hold both against the bars."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dnncc.errors import DnnccError

from benchmarks import matrix, mlperf_tiny
from benchmarks.bars import Bar, judge
from benchmarks.bitexact import Cell, missing_tools, prove
from benchmarks.measure import BenchmarkError, Result, StartUp, measure, measure_start_up
from benchmarks.networks import NAMES, REPOSITORY, find_networks
from benchmarks.tables import Table, as_markdown, as_text

_INTRODUCTION = """\
# Benchmarks

Written by `python -m benchmarks --markdown docs/benchmarks.md`; `make bench` measures again. The MLPerf Tiny models are
not part of the repository: they are measured where `DNNCC_DATA` names a folder that holds them, else skipped.
"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every bar is met and every byte agrees, 1 if not, 2 if nothing could be measured."""
    options = _parser().parse_args(words)
    try:
        networks, missing = find_networks(options.networks)
        for sentence in missing:
            _say(sentence)
        results: list[Result] = []
        start: StartUp | None = None
        cells: list[Cell] = []
        if options.what in ("all", "mlperf_tiny"):
            start = measure_start_up()
            results = [measure(network, options.build, _say) for network in networks]
        if options.what in ("all", "bitexact"):
            cells = prove(networks, options.build, _say)
    except (DnnccError, BenchmarkError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    bars = [*judge(results, start), *matrix.judge(cells)]
    if options.json:
        json.dump(_document(results, start, cells, bars, missing), sys.stdout, indent=1)
        print()
    else:
        print("\n".join(as_text(table) for table in _tables(results, cells, bars, missing)))
    if options.markdown is not None:
        shown = [as_markdown(table) for table in _tables(results, cells, bars, missing)]
        options.markdown.write_text("\n".join([_INTRODUCTION, *shown]), encoding="utf-8")
    return 0 if bars and all(bar.passed for bar in bars) else 1


def _tables(
    results: Sequence[Result],
    cells: Sequence[Cell],
    bars: Sequence[Bar],
    missing: Sequence[str],
) -> list[Table]:
    found = mlperf_tiny.tables(results) if results else []
    if cells:
        found.append(matrix.table(cells, missing_tools()))
    found.append(mlperf_tiny.passed(bars, missing))
    return found


def _document(
    results: Sequence[Result],
    start: StartUp | None,
    cells: Sequence[Cell],
    bars: Sequence[Bar],
    missing: Sequence[str],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "networks": [asdict(result) for result in results],
        "help": None if start is None else asdict(start),
        "bitexact": [asdict(cell) | {"place": cell.place.label} for cell in cells],
        "values": sum(cell.values for cell in cells),
        "mismatches": sum(cell.mismatches for cell in cells),
        "bars": [asdict(bar) for bar in bars],
        "skipped": list(missing),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("all", "mlperf_tiny", "bitexact"),
        default="all",
        help="mlperf_tiny: speed, memory, accuracy; bitexact: the proof matrix (default: all)",
    )
    parser.add_argument(
        "--networks", type=_names, default=NAMES, metavar="A,B", help=f"of {', '.join(NAMES)} (default: all)"
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=REPOSITORY / "build" / "benchmarks",
        metavar="DIR",
        help="where the artifacts go (default: build/benchmarks)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"unknown network '{name}' (known: {', '.join(NAMES)})")
    return names


def _say(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
