"""``python -m benchmarks.hls``: FPGA designs of several networks in several foldings, proven and simulated.

Every design is compiled, its C simulation compared with the interpreter stream by stream, run again with FIFOs of the
chosen depths, and its predicted cycles held against the token-cycle simulation. Nothing is synthesized.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from dnncc.driver import Prepared, prepare
from dnncc.fpga import Folded, FpgaCompilation, fold, write_design
from dnncc.options import resolve
from dnncc.targets.hls import folding
from dnncc.targets.hls.network import Network as Layers
from dnncc.targets.hls.network import build_network
from dnncc.targets.hls.parts import load_part
from dnncc.targets.hls.pipeline import folding_problem
from dnncc.validation import validate
from onnx import helper, numpy_helper

from benchmarks.networks import REPOSITORY, find_networks
from benchmarks.tables import Table, as_markdown, as_text

BUILD = REPOSITORY / "build" / "benchmarks" / "hls"
PART = "hls:zu3eg"
OTHERS = ("hls:pynq-z2", "hls:zcu104")
DESIGNS = 6
RUNGS = 12
SAMPLES = 3
IC_CYCLES = 36_864
SOLVE_SECONDS = 5.0


@dataclass(frozen=True)
class Design:
    """One folding of one network, and what the simulations found."""

    network: str
    part: str
    cycles: int
    optimal: bool
    solve_seconds: float
    interval: int
    latency: int
    lut: int
    ff: int
    bram18: int
    dsp: int
    fifo_bits: int
    tensor_bits: int
    values: int
    mismatches: int
    warnings: int
    deadlock: bool
    seconds: float

    @property
    def error(self) -> float:
        """Of the predicted cycles against the token-cycle simulation."""
        return abs(self.cycles - self.interval) / self.interval

    @property
    def clean(self) -> bool:
        return not (self.mismatches or self.warnings or self.deadlock)


def three_layers() -> onnx.ModelProto:
    """A fully connected network of three layers, 784-128-64-10, random weights."""
    rng, sizes = np.random.default_rng(0), (784, 128, 64, 10)
    nodes, constants, value = [], [], "x"
    for i in range(3):
        shape = sizes[i + 1], sizes[i]
        constants.append(
            numpy_helper.from_array((rng.normal(0, 1, shape) / np.sqrt(shape[1])).astype(np.float32), f"w{i}")
        )
        constants.append(numpy_helper.from_array(rng.normal(0, 0.1, shape[0]).astype(np.float32), f"b{i}"))
        last = i == 2
        nodes.append(
            helper.make_node(
                "Gemm", [value, f"w{i}", f"b{i}"], ["y" if last else f"s{i}"], f"fc{i}", transB=1
            )
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"s{i}"], [f"r{i}"], f"relu{i}"))
        value = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 784])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 10])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def models(names: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Name, model and calibration samples."""
    if "mlp" in names:
        yield "mlp", three_layers(), None
    found, missing = find_networks([n for n in names if n != "mlp"])
    for sentence in missing:
        print(sentence, file=sys.stderr)
    for network in found:
        yield network.name, network.model, network.calibration


def designs(layers: Layers, say: Any) -> Iterator[tuple[Folded, float]]:
    """The fastest folding for each part, then slower ones, with the CPU seconds that the folding took to solve."""
    seen: set[str] = set()
    fastest = 0
    for target, rung in [(PART, 0), *((t, 0) for t in OTHERS), *((PART, n) for n in range(1, RUNGS))]:
        if len(seen) == DESIGNS:
            return
        part = load_part(target)
        budget = fastest << rung if rung else None
        start = time.process_time()
        folding.solve(folding_problem(layers, part, None, budget))
        seconds = time.process_time() - start
        found = fold(layers, part, budget)
        fastest = found.cycles if (target, rung) == (PART, 0) else fastest
        key = repr([c.config for c in found.design.picks])
        if key not in seen:
            seen.add(key)
            say(f"{target}: {found.cycles:,} cycles")
            yield found, seconds


def measure(name: str, prepared: Prepared, folded: Folded, seconds: float, folder: Path) -> Design:
    compilation = FpgaCompilation(**vars(prepared), part=folded.design.part, folded=folded, seconds=0.0)
    write_design(compilation, folder)
    start = time.perf_counter()
    found = validate(folder, samples=SAMPLES)
    spent = time.perf_counter() - start
    s = found.simulation
    assert s is not None
    shutil.rmtree(folder)
    return Design(
        name,
        folded.design.part.target,
        folded.cycles,
        folded.folding.optimal,
        seconds,
        folded.timing.interval,
        folded.timing.latency,
        **asdict(folded.resources),
        fifo_bits=folded.fifo_bits,
        tensor_bits=folded.tensor_bits,
        values=found.values + sum(c.values for c in s.streams),
        mismatches=found.mismatches + sum(c.mismatches for c in s.streams) + s.bounded_mismatches,
        warnings=len(s.warnings) + len(s.bounded_warnings),
        deadlock=s.deadlock,
        seconds=spent,
    )


def table(rows: Sequence[Design]) -> Table:
    head = (
        "network",
        "part",
        "cycles/frame",
        "proven",
        "CPU s to solve",
        "simulated",
        "latency",
        "LUT",
        "BRAM18",
        "DSP",
    )
    more = ("FIFO bits", "of tensor-size", "values compared", "differ", "warnings", "stuck")
    return Table(
        "FPGA designs: C simulation, bounded FIFOs, token-cycle simulation",
        (*head, *more),
        tuple(
            (
                d.network,
                d.part,
                f"{d.cycles:,}",
                "yes" if d.optimal else "no",
                f"{d.solve_seconds:.1f}",
                f"{d.interval:,}",
                f"{d.latency:,}",
                f"{d.lut:,}",
                f"{d.bram18:,}",
                f"{d.dsp:,}",
                f"{d.fifo_bits:,}",
                f"{d.fifo_bits / d.tensor_bits:.1%}",
                f"{d.values:,}",
                f"{d.mismatches:,}",
                f"{d.warnings:,}",
                "yes" if d.deadlock else "no",
            )
            for d in rows
        ),
        (
            "Cycles and resources: analytical. Simulated cycles, latency, FIFO depths: token-cycle simulation.",
            f"The values are those of C simulations of {SAMPLES} frames with AMD's headers, all streams and outputs.",
        ),
    )


def judge(rows: Sequence[Design]) -> list[tuple[str, bool]]:
    """Each bar and whether it is met."""
    names = list(dict.fromkeys(d.network for d in rows))
    bars = [
        ("C simulation exact, no warning, no deadlock", all(d.clean for d in rows)),
        ("predicted cycles within 5 % of the simulation", all(d.error <= 0.05 for d in rows)),
        (
            "FIFO bits at most a quarter of tensor-size FIFOs",
            all(4 * d.fifo_bits <= d.tensor_bits for d in rows),
        ),
        (
            "folding proven optimal within 5 s",
            all(d.optimal and d.solve_seconds <= SOLVE_SECONDS for d in rows),
        ),
        ("at least 6 foldings of each network", all(sum(d.network == n for d in rows) >= 6 for n in names)),
    ]
    ic = [d.cycles for d in rows if (d.network, d.part) == ("ic", PART)]
    return bars + ([(f"ic within {IC_CYCLES:,} cycles on zu3eg", min(ic) <= IC_CYCLES)] if ic else [])


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 if every bar is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hls", description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["mlp", "digits", "kws", "ic"])
    parser.add_argument("--markdown", type=Path, help="write the table there as well")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args(words)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    rows: list[Design] = []
    for name, model, calibration in models(options.networks):
        prepared = prepare(model, None, resolve(PART, {}), calibration, lambda text: None)
        layers = build_network(prepared.graph, "net")
        for number, (folded, seconds) in enumerate(designs(layers, lambda t, n=name: say(f"{n} on {t}"))):
            rows.append(measure(name, prepared, folded, seconds, BUILD / f"{name}-{number}"))
            say(f"  {'clean' if rows[-1].clean else 'NOT clean'}, {rows[-1].seconds:.0f} s")
            if options.json is not None:
                options.json.write_text(json.dumps([asdict(d) for d in rows], indent=1))
    shown = table(rows)
    print(as_text(shown))
    bars = judge(rows)
    for text, met in bars:
        print(f"{'met     ' if met else 'NOT MET '} {text}")
    if options.markdown is not None:
        options.markdown.write_text(as_markdown(shown))
    return 0 if all(met for _, met in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
