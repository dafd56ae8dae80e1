"""``python -m benchmarks.cpu_proof``: integer networks on every level of processors that this machine runs.

With one and with two threads, value by value against the interpreter; float networks against ONNX Runtime.
The number that has to come out is 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dnncc
import numpy as np
from dnncc.runtime.cpus import runnable
from dnncc.runtime.library import LibraryModel

from benchmarks import cpu_networks, cpu_peers
from benchmarks.networks import REPOSITORY
from benchmarks.tables import Table, as_markdown, as_text

TOLERANCE = 1e-4
"""Of floats, relative to the largest output."""


@dataclass(frozen=True)
class Cell:
    """One network on one level: how many output values were compared and how many differ."""

    network: str
    dtype: str
    level: str
    values: int
    mismatches: int


def prove(name: str, model: Path, dtype: str, level: str, folder: Path) -> Cell:
    """Compile for a level, and compare on calibration samples and on noise over the inputs' whole range."""
    session = cpu_peers.Session(model, 1)
    samples = cpu_peers.samples_of(session.shapes, 2)
    output = folder / f"proof-{name}-{dtype}-{level}"
    compilation = dnncc.compile(model, target=level, dtype=dtype, calibrate=samples, output=output)
    values = mismatches = 0
    for sample in compilation.samples[:1] + compilation.samples[-1:]:
        if dtype == "int8":
            expected = dnncc.interpret(compilation.graph, sample)
        else:
            expected = session(dict(zip(session.shapes, sample, strict=True)))
        for threads in (1, 2):
            found = LibraryModel(output, threads).run(list(sample))
            for ours, theirs in zip(found, expected, strict=True):
                limit = 0.0 if dtype == "int8" else TOLERANCE * float(np.abs(theirs).max())
                wrong = np.abs(ours.reshape(-1).astype(np.float64) - theirs.reshape(-1)) > limit
                values += wrong.size
                mismatches += int(wrong.sum())
    return Cell(name, dtype, level, values, mismatches)


def table(cells: Sequence[Cell]) -> Table:
    """One row per network, type and level."""
    rows = tuple((c.network, c.dtype, c.level, f"{c.values:,}", f"{c.mismatches:,}") for c in cells)
    total = sum(c.values for c in cells)
    wrong = sum(c.mismatches for c in cells)
    note = (
        f"{total:,} values, {wrong:,} mismatches; each with one and with two threads. int8: every bit, against the "
        f"interpreter; float32: within {TOLERANCE} of the largest, against ONNX Runtime."
    )
    head = ("network", "type", "level", "values", "mismatches")
    return Table("Processors: the same values everywhere", head, rows, (note,))


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if nothing differs, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu_proof", description=__doc__)
    names = (*cpu_networks.TINY, *cpu_networks.LIGHT)
    levels = tuple(cpu.name for cpu in runnable())
    parser.add_argument("--networks", default=",".join(names), metavar="A,B")
    parser.add_argument("--levels", default=",".join(levels), metavar="A,B")
    parser.add_argument("--dtypes", default="int8,float32", metavar="A,B")
    parser.add_argument(
        "--build", type=Path, default=REPOSITORY / "build" / "benchmarks" / "cpu", metavar="DIR"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(words)
    cells = []
    for name in options.networks.split(","):
        model = cpu_networks.find(name, options.build)
        if model is None:
            print(f"-- {name}: skipped, its model is not here", file=sys.stderr)
            continue
        for dtype in options.dtypes.split(","):
            for level in options.levels.split(","):
                cells.append(prove(name, model, dtype, level, options.build))
                print(f"-- {cells[-1]}", file=sys.stderr, flush=True)
    print(as_text(table(cells)))
    if options.markdown:
        options.markdown.write_text(as_markdown(table(cells)), encoding="utf-8")
    return 0 if cells and not any(cell.mismatches for cell in cells) else 1


if __name__ == "__main__":
    sys.exit(main())
