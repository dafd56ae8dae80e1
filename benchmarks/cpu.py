"""``python -m benchmarks.cpu``: the CPU target beside ONNX Runtime, on the same machine in the same run.

Both run one inference at a time, by turns, so that whatever else the machine does hits both; the figure is the least of
many, that is what the code takes when nothing disturbs it. With one thread it is processor time, which other processes
do not lengthen. int8: ONNX Runtime's own static quantization (QDQ, per
channel); float32: as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import dnncc
import numpy as np
from dnncc.runtime.library import LibraryModel

from benchmarks import cpu_networks, cpu_peers
from benchmarks.networks import REPOSITORY
from benchmarks.tables import Table, as_markdown, as_text

DTYPES = ("int8", "float32")
BARS = {"int8": (1.0, 1.2), "float32": (0.9, 1.0)}
"""Per type the least ratio of each network, and of the geometric mean."""
_SAMPLES = 4
_SECONDS = 2.0
_WARM_UP = 3


@dataclass(frozen=True)
class Row:
    """One network in one type, on one thread; milliseconds are the least of many inferences at batch 1."""

    network: str
    dtype: str
    target: str
    macs: int
    compile_seconds: float
    compile_cpu_seconds: float
    ours: float
    peer: float

    @property
    def ratio(self) -> float:
        """How many times faster than ONNX Runtime."""
        return self.peer / self.ours


def measure(name: str, model: Path, dtype: str, target: str, folder: Path, threads: int, reuse: bool) -> Row:
    """Compile, and time both."""
    plain = cpu_peers.Session(model, threads)
    samples = cpu_peers.samples_of(plain.shapes, _SAMPLES)
    output = folder / f"{name}-{dtype}-{target}"
    begin, used = time.perf_counter(), _processor_seconds()
    if not (reuse and output.is_dir()):
        dnncc.compile(model, target=target, dtype=dtype, calibrate=samples, output=output)
    seconds, used = time.perf_counter() - begin, _processor_seconds() - used
    network = LibraryModel(output, threads)
    one = {key: array[:1] for key, array in samples.items()}
    peer = (
        plain
        if dtype == "float32"
        else cpu_peers.Session(cpu_peers.quantized(model, samples, folder), threads)
    )
    arguments = list(one.values()) if dtype == "float32" else _integers(output, samples)
    ours, theirs = by_turns(lambda: network(*arguments), lambda: peer(one), threads)
    macs = sum(node.macs for node in network.bundle.nodes)
    return Row(name, dtype, network.bundle.core, macs, seconds, used, 1e3 * ours, 1e3 * theirs)


def _integers(artifact: Path, samples: dict[str, cpu_peers.Array]) -> list[cpu_peers.Array]:
    from dnncc.artifact import load_graph
    from dnncc.passes.quantize import integer_arguments

    return list(integer_arguments(load_graph(artifact), samples, 0))


def _processor_seconds() -> float:
    """Of this process and those that it waited for."""
    return sum(os.times()[:4])


def by_turns(first: Callable[[], object], second: Callable[[], object], threads: int) -> tuple[float, float]:
    """The least seconds of both."""
    clock = time.process_time if threads == 1 else time.perf_counter
    for _ in range(_WARM_UP):
        first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times[0]) < 30:
        for run, found in zip((first, second), times, strict=True):
            begin = clock()
            run()
            found.append(clock() - begin)
    return min(times[0]), min(times[1])


def geometric_mean(rows: Sequence[Row]) -> float:
    return math.exp(float(np.mean([math.log(row.ratio) for row in rows])))


def table(rows: Sequence[Row], threads: int, skipped: Sequence[str]) -> Table:
    """All rows, the means, and whether the bars are met."""
    cells = [
        (
            row.network,
            row.dtype,
            f"{row.macs / 1e6:,.1f}",
            f"{row.ours:.3f}",
            f"{row.peer:.3f}",
            f"{row.ratio:.2f}",
            f"{row.compile_seconds:.0f}",
            f"{row.compile_cpu_seconds:.0f}",
        )
        for row in rows
    ]
    notes = [f"{name}: skipped, its model is not here" for name in skipped]
    for dtype in DTYPES:
        mine = [row for row in rows if row.dtype == dtype]
        if mine:
            each, mean = BARS[dtype]
            worst = min(mine, key=lambda row: row.ratio)
            notes.append(
                f"{dtype}: geometric mean {geometric_mean(mine):.2f} (bar {mean}), least {worst.ratio:.2f} on "
                f"{worst.network} (bar {each})."
            )
    head = (
        "network",
        "type",
        "million MACs",
        "dnncc ms",
        "ONNX Runtime ms",
        "times faster",
        "compile s",
        "compile CPU s",
    )
    target = rows[0].target if rows else ""
    return Table(f"CPU target {target}, batch 1, {threads} thread(s)", head, tuple(cells), tuple(notes))


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every bar is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__)
    parser.add_argument("--networks", default=",".join(cpu_networks.NAMES), metavar="A,B")
    parser.add_argument("--dtypes", default=",".join(DTYPES), metavar="A,B")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--build", type=Path, default=REPOSITORY / "build" / "benchmarks" / "cpu", metavar="DIR"
    )
    parser.add_argument("--reuse", action="store_true", help="artifacts that were compiled before")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(words)
    rows, skipped = [], []
    for name in options.networks.split(","):
        model = cpu_networks.find(name, options.build)
        if model is None:
            skipped.append(name)
            continue
        for dtype in options.dtypes.split(","):
            row = measure(name, model, dtype, options.target, options.build, options.threads, options.reuse)
            rows.append(row)
            print(
                f"-- {name} {dtype}: {row.ours:.3f} ms, {row.ratio:.2f} times faster",
                file=sys.stderr,
                flush=True,
            )
    found = table(rows, options.threads, skipped)
    print(as_text(found))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=1))
    if options.markdown:
        options.markdown.write_text(as_markdown(found), encoding="utf-8")
    met = [
        min(row.ratio for row in mine) >= BARS[dtype][0] and geometric_mean(mine) >= BARS[dtype][1]
        for dtype in DTYPES
        if (mine := [row for row in rows if row.dtype == dtype])
    ]
    return 0 if met and all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
