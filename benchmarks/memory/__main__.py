"""``python -m benchmarks.memory``: every table of the memory planner, and whether the bars are met."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.memory.suite import Options, Outcome
from benchmarks.tables import Table, as_markdown, as_text

SUITES = {
    "order": "operator order for the least peak: real, randomly wired and searched networks",
    "allocate": "static allocation: the public minimalloc instances",
    "packings": "static allocation: random instances that fill their capacity without a gap",
    "spill": "bytes copied off-chip for scratchpads of given size, beside Belady replacement and COSMA",
    "patch": "stages in parts of the image: MobileNetV2, and MLPerf Tiny networks on an emulated core",
    "remat": "recomputation under a memory budget: random layered graphs, fixed and free order",
}
"""Name of the module -> what it measures."""

_INTRODUCTION = """\
# Memory planning

Written by `python -m benchmarks.memory --markdown docs/memory-benchmarks.md`. Suites whose data are not part of the
repository are measured where `DNNCC_DATA` names a folder that holds them, else skipped.
"""


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every bar is met, 1 if not, 2 if nothing could be measured."""
    options = _parser().parse_args(words)
    shared = Options(options.threads, tuple(options.only))
    outcomes: dict[str, Outcome] = {}
    for name in options.suites or SUITES:
        _say(f"{name}: {SUITES[name]}")
        module = importlib.import_module(f"benchmarks.memory.{name}")
        outcomes[name] = module.run(shared, _say)
    tables = [table for outcome in outcomes.values() for table in outcome.tables]
    tables.append(_judged(outcomes))
    if options.json:
        json.dump(_document(outcomes), sys.stdout, indent=1)
        print()
    else:
        print("\n".join(as_text(table) for table in tables))
    if options.markdown is not None:
        text = "\n".join([_INTRODUCTION, *(as_markdown(table) for table in tables)])
        options.markdown.write_text(text, encoding="utf-8")
    bars = [bar for outcome in outcomes.values() for bar in outcome.bars]
    if not bars:
        return 2
    return 0 if all(bar.passed for bar in bars) else 1


def _judged(outcomes: dict[str, Outcome]) -> Table:
    rows = tuple(
        (name, bar.network, bar.what, bar.measured, bar.limit, "met" if bar.passed else "NOT MET")
        for name, outcome in outcomes.items()
        for bar in outcome.bars
    )
    skipped = tuple(sentence for outcome in outcomes.values() for sentence in outcome.skipped)
    return Table("Bars", ("suite", "instance", "what", "measured", "bar", ""), rows, skipped)


def _document(outcomes: dict[str, Outcome]) -> dict[str, object]:
    return {
        "schema": 1,
        "suites": {name: list(outcome.records) for name, outcome in outcomes.items()},
        "bars": [
            {"suite": name, **asdict(bar)} for name, outcome in outcomes.items() for bar in outcome.bars
        ],
        "skipped": [sentence for outcome in outcomes.values() for sentence in outcome.skipped],
    }


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:10} {text}" for name, text in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=f"{__doc__}\n\nsuites:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", type=_suite, metavar="SUITE", help="which (default: all)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="instances with WORD in the name"
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="for the solvers (default: 2)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser


def _suite(name: str) -> str:
    if name not in SUITES:
        raise argparse.ArgumentTypeError(f"unknown suite '{name}' (known: {', '.join(SUITES)})")
    return name


def _say(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
