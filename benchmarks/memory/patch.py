"""Stages in parts of the image: peak memory against added work, and arenas and instructions on an emulated core."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dnncc
import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.passes.base import Surroundings
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.planning.patch.problem import Form
from dnncc.patching import FORMS, PatchOffer, patch_graph, state_patches
from dnncc.plan import KernelNeeds
from dnncc.targets.program import Kernels

from benchmarks.bars import Bar
from benchmarks.memory.mobilenet import mobilenet_v2
from benchmarks.memory.suite import Options, Outcome, Say, data_folder
from benchmarks.tables import Table

_KIB = 1024
_PUBLISHED = 172 * _KIB
_STREAMED = 256 * _KIB
_CORE = "cortex-m4"
_ARENAS = {"vww": 28_000, "ic": 26_000}
_MORE_INSTRUCTIONS = 25.0

_PEERS = (
    "MCUNetV2 (arXiv 2110.15352): MobileNetV2 from 1372 KiB to 172 KiB for 10 % more MACs, by patches;",
    "it counts depthwise convolutions in place, activations only.",
    "StreamNet (NeurIPS 2023): 81 % fewer MACs than patches by keeping the halo, for more SRAM.",
    "Peaks of the arena with all scratch memory and outputs over inputs; the image belongs to the caller.",
)

_CASES: tuple[tuple[str, tuple[Form, ...], float], ...] = (
    ("rows", ("rows",), 0.0),
    ("rows, strips", ("rows",), 0.02),
    ("rows, strips", ("rows",), 0.10),
    ("patches", ("patches",), 0.10),
    ("patches", ("patches",), 0.25),
    ("any", FORMS, 0.10),
    ("any", FORMS, 0.25),
)


def run(options: Options, say: Say) -> Outcome:
    """MobileNetV2 by the optimizer and the interpreter; the MLPerf Tiny networks on the emulated core."""
    parts = []
    if options.wants("mobilenet_v2"):
        parts.append(_mobilenet(say))
    folder = data_folder("mlperf-tiny")
    skipped: tuple[str, ...] = ()
    for name in _ARENAS:
        if not options.wants(name):
            continue
        if folder is None:
            skipped = (*skipped, f"{name}: set DNNCC_DATA to a folder with mlperf-tiny")
            continue
        parts.append(_on_core(name, folder / f"{name}.onnx", say))
    return Outcome(
        tuple(t for p in parts for t in p.tables),
        tuple(b for p in parts for b in p.bars),
        tuple(r for p in parts for r in p.records),
        skipped,
    )


def _mobilenet(say: Say) -> Outcome:
    graph = mobilenet_v2()
    rng = np.random.default_rng(0)
    samples = {"x": rng.standard_normal((2, 1, 3, 224, 224)).astype(np.float32)[:, 0]}
    Pipeline.parse("simplify,quantize,cse,dce").bind(Surroundings(samples)).run(graph)
    apart, macs = state_patches(graph, {}).problem.peak, graph.macs()
    needs = _needs(graph, say)
    in_place = state_patches(graph, needs).problem.peak
    image = [rng.integers(-128, 128, v.type.shape).astype(v.type.dtype.numpy) for v in graph.inputs]
    expected = interpret(graph, image)
    rows = [
        (
            "unpatched",
            "",
            f"{apart / _KIB:.1f}",
            "",
            "",
            "every activation in a place of its own, no scratch",
        ),
        ("unpatched", "", f"{in_place / _KIB:.1f}", "", "", "outputs over inputs"),
    ]
    records: list[dict[str, object]] = [
        {"instance": "mobilenet_v2", "form": "none", "peak": apart, "peak_in_place": in_place}
    ]
    reached: dict[tuple[str, float], PatchOffer] = {}
    for label, forms, added in _CASES:
        offer = patch_graph(graph, needs, forms=forms, most_added=added)
        if offer is None:
            rows.append((label, f"{100 * added:.0f} %", "none is lower", "", "", ""))
            continue
        wrong = _mismatches(expected, interpret(offer.graph, image))
        reached[label, added] = offer
        percent = 100 * offer.added_macs / macs
        counted = offer.graph.macs() - macs
        say(f"mobilenet_v2 {label} +{100 * added:.0f} %: {offer.peak} bytes, {wrong} mismatches")
        rows.append(
            (
                label,
                f"{100 * added:.0f} %",
                f"{offer.peak / _KIB:.1f}",
                f"{percent:.2f} %" + ("" if counted == offer.added_macs else f" ({counted} counted)"),
                f"{wrong}",
                offer.description,
            )
        )
        records.append(
            {
                "instance": "mobilenet_v2",
                "form": label,
                "most_added": added,
                "peak": offer.peak,
                "added_macs": offer.added_macs,
                "macs": macs,
                "mismatches": wrong,
                "description": offer.description,
            }
        )
    head = ("form", "may add", "peak KiB", "added MACs", "mismatches", "choice")
    table = Table("MobileNetV2 (224 x 224, int8): peak against added work", head, tuple(rows), _PEERS)
    bars: list[Bar] = []
    for what, limit, key in (
        ("peak at +10 % MACs", _PUBLISHED, ("any", 0.10)),
        ("peak of rows at +2 % MACs", _STREAMED, ("rows, strips", 0.02)),
    ):
        found = reached.get(key)
        shown = "none" if found is None else f"{found.peak / _KIB:.1f} KiB"
        bars.append(
            Bar(
                "mobilenet_v2", what, shown, f"{limit // _KIB} KiB", found is not None and found.peak <= limit
            )
        )
    exact = all(r.get("mismatches", 0) == 0 for r in records)
    bars.append(Bar("mobilenet_v2", "bit-exact", "yes" if exact else "no", "yes", exact))
    return Outcome((table,), tuple(bars), tuple(records))


def _needs(graph: Graph, say: Say) -> dict[str, KernelNeeds]:
    """Of the kernels that are generated, as the planner hands them to the optimizer."""
    fused = graph.clone()
    Pipeline.parse("separate-outputs,fuse").run(fused)
    say("mobilenet_v2: generating kernels")
    return {n.outputs[0].name: code.needs for n, code in Kernels().of(fused).items()}


def _mismatches(expected: list[np.ndarray], found: list[np.ndarray]) -> int:
    return sum(int((a != b).sum()) for a, b in zip(expected, found, strict=True))


def _on_core(name: str, model: Path, say: Say) -> Outcome:
    """The plain plan and that of least memory, compiled and run."""
    rows, records = [], []
    instructions: dict[str, int] = {}
    arenas: dict[str, int] = {}
    wrong = 0
    for objective in ("time", "ram"):
        with tempfile.TemporaryDirectory() as folder:
            artifact = Path(folder) / name
            compiled = dnncc.compile(str(model), target=_CORE, optimize=objective, output=artifact)
            # Against the interpreter on the network before any stage was put in parts.
            checked = dnncc.validate(artifact, on="emulator")
            measured = dnncc.bench(artifact, on="emulator")
        chosen = next(t for t in compiled.planning.measures if t.verdict == "chosen")
        arenas[objective] = compiled.program.plan.arena_bytes
        assert measured.instructions is not None
        instructions[objective] = measured.instructions
        wrong += checked.mismatches
        say(f"{name} {objective}: {arenas[objective]} bytes, {measured.instructions} instructions")
        more = 100 * (instructions[objective] / instructions["time"] - 1)
        rows.append(
            (
                name,
                objective,
                f"{arenas[objective]}",
                f"{measured.instructions}",
                f"{more:+.1f} %",
                f"{measured.flash_bytes}",
                f"{measured.stack_bytes}",
                f"{checked.mismatches} of {checked.values}",
                chosen.detail,
            )
        )
        records.append(
            {
                "instance": name,
                "optimize": objective,
                "arena_bytes": arenas[objective],
                "instructions": measured.instructions,
                "mismatches": checked.mismatches,
                "values": checked.values,
                "chosen": chosen.detail,
            }
        )
    head = ("network", "optimize", "arena", "instructions", "more", "flash", "stack", "wrong", "choice")
    table = Table(f"{name} on an emulated Cortex-M4", head, tuple(rows))
    more = 100 * (instructions["ram"] / instructions["time"] - 1)
    bars = (
        Bar(name, "arena", f"{arenas['ram']}", f"{_ARENAS[name]}", arenas["ram"] <= _ARENAS[name]),
        Bar(
            name,
            "more instructions",
            f"{more:.1f} %",
            f"{_MORE_INSTRUCTIONS:.0f} %",
            more <= _MORE_INSTRUCTIONS,
        ),
        Bar(name, "values not bit-exact", f"{wrong}", "0", wrong == 0),
    )
    return Outcome((table,), bars, tuple(records))
