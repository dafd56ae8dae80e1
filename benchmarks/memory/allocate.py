"""Static allocation: minimalloc's public instances."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dnncc.passes.planning import place
from dnncc.passes.planning.problem import Buffer, PlaceProblem

from benchmarks.bars import Bar
from benchmarks.memory.suite import Options, Outcome, Say, Watch, data_folder
from benchmarks.tables import Table

NAMES = "ABCDEFGHIJK"
CAPACITY = 1 << 20
MAX_SECONDS = 10.0
MAX_SUM = 37.0

# Wall seconds of others on a two-core x86 machine, for A to K; None: not within a minute.
_MINIMALLOC_SUM = "0.6 to 7.4 s each, 37 s together (measured by others, C++)"
_CP_SAT = "4 of 11 in 60 s each with 2 workers (measured by others, OR-tools NoOverlap2D)"
_GREEDY = "1.2 to 1.4 times the capacity (measured by others, greedy by size)"


def read_buffers(path: Path) -> tuple[Buffer, ...]:
    """Buffers of a CSV file with the columns id, lower, upper, size."""
    with path.open(newline="") as file:
        rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return tuple(Buffer(r["id"], r["lower"], r["upper"], r["size"]) for r in rows)


def run(options: Options, say: Say) -> Outcome:
    """Places every instance at its capacity."""
    folder = data_folder("minimalloc")
    if folder is None:
        return Outcome(skipped=("allocate: no folder minimalloc in the data",))
    watch = Watch()
    rows, bars, records = [], [], []
    for name in NAMES:
        if not options.wants(name):
            continue
        buffers = read_buffers(folder / f"{name}.{CAPACITY}.csv")
        with watch.timed() as seconds:
            found = place.solve(PlaceProblem(buffers, capacity=CAPACITY), threads=options.threads)
        say(f"{name}: {found.height} bytes in {seconds.wall:.1f} s")
        rows.append(
            (
                name,
                f"{len(buffers)}",
                f"{CAPACITY}",
                f"{found.bound}",
                f"{found.height}",
                found.method,
                f"{seconds.wall:.2f}",
                f"{seconds.cpu:.2f}",
            )
        )
        records.append(_record(name, found.height, found.bound, found.fits, seconds.wall, seconds.cpu))
        bars.append(Bar(name, "placed in 1 MiB", f"{found.height}", f"{CAPACITY}", found.fits))
        fast = seconds.cpu <= MAX_SECONDS
        bars.append(Bar(name, "CPU seconds", f"{seconds.cpu:.1f} s", f"{MAX_SECONDS:.0f} s", fast))
    total = watch.total.cpu
    if len(records) == len(NAMES):
        bars.append(
            Bar("A-K", "CPU seconds together", f"{total:.1f} s", f"{MAX_SUM:.0f} s", total <= MAX_SUM)
        )
    head = ("instance", "buffers", "capacity", "bound", "height", "method", "seconds", "CPU seconds")
    notes = (
        f"minimalloc: {_MINIMALLOC_SUM}.",
        f"CP-SAT: {_CP_SAT}.",
        f"TFLite-like: {_GREEDY}.",
        f"Here: {watch.total.wall:.1f} s together, {watch.total.cpu:.1f} s of processor time (what the bars count).",
    )
    table = Table("Static allocation: minimalloc's instances", head, tuple(rows), notes)
    return Outcome((table,), tuple(bars), tuple(records))


def _record(name: str, height: int, bound: int, fits: bool, wall: float, cpu: float) -> dict[str, Any]:
    return {
        "instance": name,
        "height": height,
        "bound": bound,
        "fits": fits,
        "seconds": wall,
        "cpu_seconds": cpu,
    }
