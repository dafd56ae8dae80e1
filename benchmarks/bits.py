"""``python -m benchmarks.bits [--enumerate] [--markdown FILE]``: bits per layer, beside what was published.

HAWQ-V3's eighteen instances; and the keyword network's mixed precision, ranked among all its 1024 selections of 8 and 4
bits (with ``--enumerate``: every selection is quantized and measured, most of an hour).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.calibration import load_samples
from dnncc.frontends.onnx import load_onnx
from dnncc.ir.graph import Graph
from dnncc.passes.bits.problem import BitsProblem
from dnncc.passes.bits.solve import solve
from dnncc.passes.pipeline import run_passes
from dnncc.passes.quantize import QuantizeOptions, quantize
from dnncc.passes.quantize.calibrate import Samples
from dnncc.passes.quantize.mixed import Mixed, choose_bits, distance, float_outputs

from benchmarks.networks import data_folder
from benchmarks.tables import Table, as_markdown, as_text

FRACTIONS = (0.75, 0.5, 0.25)


def instance(network: Mapping[str, Any], kind: str, fraction: float) -> tuple[BitsProblem, list[list[int]]]:
    """A published instance, tied layers as one; and which of the network's layers each of its layers stands for."""
    tables = {
        "modelsize": ([p / 2 for p in network["parameters"]], network["parameters"]),
        "bops": ([b / 64 for b in network["bops"]], [b / 16 for b in network["bops"]]),
        "latency": (network["latency_int4"], network["latency_int8"]),
    }
    low, high = tables[kind]
    tied = {b: a for a, b in network["tied"]}
    groups: dict[int, list[int]] = {}
    for layer in range(len(low)):
        groups.setdefault(tied.get(layer, layer), []).append(layer)
    members = list(groups.values())
    traces = network["Hutchinson_trace"]
    loss = [
        [t * d for t, d in zip(traces, network[f"delta_weights_{bits}bit_square"], strict=True)]
        for bits in (4, 8)
    ]
    costs = [[sum(table[i] for i in group) for table in loss] for group in members]
    usage = [[sum(low[i] for i in group), sum(high[i] for i in group)] for group in members]
    return BitsProblem(costs, [usage], [sum(low) + fraction * (sum(high) - sum(low))]), members


def published_cost(problem: BitsProblem, members: list[list[int]], bits: list[int]) -> float:
    """The objective of a published selection."""
    return math.fsum(problem.costs[g][int(bits[group[0]] == 8)] for g, group in enumerate(members))


def hawq(folder: Path) -> Table:
    """The eighteen instances."""
    rows = []
    solve(BitsProblem([[0.0]], [[[0.0]]], [1.0]))  # loads the solver
    for name in ("resnet18", "resnet50"):
        network = json.loads((folder / "hawq-v3" / f"{name}.json").read_text())
        for setting, bits in network["published"].items():
            kind, fraction = setting.split()
            problem, members = instance(network, kind, float(fraction))
            start = time.perf_counter()
            found = solve(problem)
            took = 1e3 * (time.perf_counter() - start)
            theirs = published_cost(problem, members, bits)
            verdict = "less" if found.cost < theirs * (1 - 1e-9) else "the same"
            numbers = (
                f"{found.cost:.6f}",
                f"{theirs:.6f}",
                verdict,
                f"{found.used[0]:.3f}",
                f"{problem.limits[0]:.3f}",
            )
            rows.append((name, setting, *numbers, f"{took:.1f}"))
    head = ("network", "budget", "objective", "published", "", "used", "limit", "ms")
    return Table("HAWQ-V3: bits per layer", head, tuple(rows), ("Every objective is proven optimal.",))


def keywords(folder: Path) -> tuple[Graph, Samples]:
    """The simplified float network and its first hundred samples."""
    graph = load_onnx(folder / "mlperf-tiny" / "kws.onnx")
    run_passes("simplify", graph)
    archive = np.load(folder / "mlperf-tiny" / "kws01.npz")
    x = (archive["x"][:100].astype(np.float32) - 83) * np.float32(0.5847029089927673)
    return graph, load_samples({graph.inputs[0].name: x.reshape(-1, 1, 49, 10)}, graph)


def mixed(folder: Path, enumerate_all: bool) -> Table:
    """The choices for the keyword network, ranked among all that keep within their budget."""
    graph, samples = keywords(folder)
    chosen: dict[float, Mixed] = {}
    seconds = {}
    for fraction in FRACTIONS:
        start = time.perf_counter()
        options = QuantizeOptions(bits="mixed", budget=f"size={fraction}", among=(8, 4))
        chosen[fraction] = choose_bits(graph, samples, options, quantize)
        seconds[fraction] = time.perf_counter() - start
    expected = float_outputs(graph, samples)
    everything: dict[tuple[int, ...], float] = {}
    if enumerate_all:
        for bits in itertools.product((8, 4), repeat=len(chosen[0.5].layers)):
            integer = quantize(graph, samples, QuantizeOptions(bits=bits))
            everything[bits] = distance(expected, integer, samples)
    rows = []
    sizes = [n.inputs[1].type.size for n in graph.find("conv2d", "linear")]
    for fraction, found in chosen.items():
        fitting = [
            d
            for bits, d in everything.items()
            if sum(-(-s * b // 8) for s, b in zip(sizes, bits, strict=True)) <= found.limit
        ]
        rank = 1 + sum(d < found.best.divergence for d in fitting)
        rows.append(
            (
                str(fraction),
                " ".join(map(str, found.best.bits)),
                f"{found.best.used:.0f}",
                f"{found.limit:.0f}",
                f"{found.best.divergence:.6f}",
                str(len(found.tried)),
                f"{rank} of {len(fitting)}" if fitting else "-",
                f"{seconds[fraction]:.0f}",
            )
        )
    head = ("size", "bits", "bytes", "limit", "KL", "tried", "rank", "s")
    notes = ("KL: divergence from the float network on the 100 calibration samples, in nats.",)
    return Table("Keyword network: 8 and 4 bits mixed", head, tuple(rows), notes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--enumerate", action="store_true", help="rank the choices among all selections")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    folder = data_folder().parent
    if not (folder / "hawq-v3").is_dir():
        print(f"no {folder / 'hawq-v3'}: name the folder of the data in DNNCC_DATA")
        return 0
    tables = [hawq(folder), mixed(folder, arguments.enumerate)]
    print("\n".join(map(as_text, tables)))
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(map(as_markdown, tables)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
