"""``dnncc compile``."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli.budgets import add_budgets
from dnncc.cli.command import Command, Outcome
from dnncc.cli.config import add_config
from dnncc.cli.cuts import add_cuts
from dnncc.cli.dims import add_dims
from dnncc.cli.fpga import compile_and_describe
from dnncc.cli.output import note
from dnncc.cli.parser import Parser

if TYPE_CHECKING:
    from dnncc.driver import Compilation


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file, or a program saved by torch.export (.pt2)"
    )
    parser.add_argument(
        "--target",
        metavar="T",
        required=True,
        help="a board or an FPGA (hls:...): its name, or its TOML file (`dnncc list targets`)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="the artifact's folder (default: build/NAME)"
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="X.npz",
        help="real inputs: one float32 array per input, first axis = samples",
    )
    parser.choice(
        "--dtype", values=("int8", "float32"), default="int8", help="what the network computes with"
    )
    parser.add_argument("--name", default="net", help="prefix of every C name and file (default: net)")
    parser.choice(
        "--optimize", values=("balanced", "ram", "time"), default="balanced", help="what matters most"
    )
    parser.choice(
        "--weight-bits",
        values=(8, 4, 3, 2, "mixed"),
        default=8,
        help="bits of a weight; mixed: chosen per layer (with --budget size=0.5)",
    )
    parser.choice(
        "--activation-bits", values=(8, 4), default=8, help="bits of an activation inside the network"
    )
    add_budgets(parser)
    add_dims(parser)
    add_cuts(parser)
    parser.choice(
        "--io", values=("int8", "float32"), default="int8", help="type of the inputs and outputs in C"
    )
    parser.add_argument("--passes", metavar="P,...", help="the pass pipeline, instead of the usual one")
    parser.add_argument("--dump-ir", type=Path, metavar="DIR", help="write the graph after each pass as text")
    parser.add_argument("--tuned", type=Path, metavar="FILE", help="the fastest kernels, from `dnncc tune`")
    add_config(parser)
    parser.add_argument(
        "--time-limit", type=_seconds, metavar="S", help="seconds for each search for a better plan"
    )


def run(arguments: Namespace) -> Outcome:
    import time

    from dnncc.cli.progress import progress
    from dnncc.driver import compile_model
    from dnncc.targets.hls.parts import is_hls

    output: Path = arguments.output or Path("build") / arguments.name
    options = {
        "dtype": arguments.dtype,
        "name": arguments.name,
        "optimize": arguments.optimize,
        "dims": dict(arguments.dim),
        "inputs": arguments.inputs,
        "outputs": arguments.outputs,
        "io": arguments.io,
        "weight_bits": arguments.weight_bits,
        "activation_bits": arguments.activation_bits,
        "budget": dict(arguments.budget),
        "passes": arguments.passes,
        "dump_ir": arguments.dump_ir,
        "time_limit": arguments.time_limit,
        "tuned": arguments.tuned,
    }
    start = time.perf_counter()
    with progress() as say:
        if is_hls(arguments.target):
            return compile_and_describe(arguments, output, options, say)
        compilation = compile_model(
            arguments.model,
            target=arguments.target,
            calibrate=arguments.calibrate,
            output=output,
            progress=say,
            **options,
        )
    for warning in compilation.warnings:
        note(f"warning: {warning}")
    document = describe(compilation, output, time.perf_counter() - start)
    return Outcome(document, _text(document, {p.name: p.kind for p in compilation.board.pools}))


def describe(compilation: Compilation, output: Path, seconds: float) -> dict[str, Any]:
    """The document of a compile."""
    from dnncc.artifact import manifest_of

    manifest = manifest_of(compilation)
    board, program = compilation.board, compilation.program
    used = {p.name: p.bytes for p in program.plan.pools} | {board.flash.name: program.weights_bytes}
    same = (
        "target",
        "core",
        "name",
        "dtype",
        "io",
        "macs",
        "plan",
        "nodes",
        "calibrated",
        "pipeline",
        "choices",
        "warnings",
    )
    return {
        "artifact": str(output),
        **{key: manifest[key] for key in same},
        "memory": {
            "pools": [
                {"name": p.name, "used": used.get(p.name, 0), "capacity": p.bytes} for p in board.pools
            ],
            "arena_bytes": program.plan.arena_bytes,
            "lower_bound_bytes": program.plan.bound_bytes,
            "weights_bytes": program.weights_bytes,
        },
        "accumulators": {
            "proven": manifest["accumulators"]["proven"],
            "count": len(compilation.accumulators),
        },
        "agreement": _agreement(compilation),
        "seconds": round(seconds, 3),
    }


def _agreement(compilation: Compilation) -> dict[str, Any] | None:
    """How far the integers are from a model that gives its own grids; None for other models."""
    rows = compilation.agreement
    if not rows:
        return None
    outputs = {v.name for v in compilation.graph.outputs}
    return {
        "values": sum(r.elements for r in rows),
        "differing": sum(r.differing for r in rows),
        "steps": max(r.steps for r in rows),
        "outputs": [{"name": r.value, "steps": r.total} for r in rows if r.value in outputs],
        "nodes": [asdict(r) for r in rows if r.differing],
    }


def _text(document: dict[str, Any], kinds: Mapping[str, str]) -> str:
    memory, plan = document["memory"], document["plan"]
    capacity = {pool["name"]: pool["capacity"] for pool in memory["pools"]}
    flash = next(name for name, kind in kinds.items() if kind == "flash")

    def of(name: str) -> str:
        return f" of {capacity[name]:,}" if capacity[name] is not None else ""

    proof = "optimal" if plan["status"] == "optimal" else f"at least {plan['bound_bytes']:,} are needed"
    ram = memory["pools"][0]["name"]
    others = [p for p in memory["pools"][1:] if kinds[p["name"]] == "ram" and p["used"]]
    outer = [p for p in memory["pools"] if kinds[p["name"]] == "external" and p["used"]]
    shares = [f"           {p['used']:,}{of(p['name'])} bytes of it in '{p['name']}'" for p in others]
    limit = "" if others else of(ram)
    (taken,) = [m for m in plan["measures"] if m["verdict"] == "chosen"]
    lines = [
        f"{document['artifact']}: {document['dtype']} for {document['target']} ({document['core']})",
        f"  RAM      {memory['arena_bytes']:,}{limit} bytes ({proof})",
        *shares,
        *(
            f"  copies   {plan['copied_bytes']:,} bytes to '{p['name']}' and back; {p['used']:,}{of(p['name'])} bytes "
            "of it are used"
            for p in outer
        ),
        *(
            [f"  plan     {taken['measure']}: {taken['detail']}; {taken['added_percent']:+.1f} % work"]
            if taken["measure"] != "reorder"
            else []
        ),
        f"  weights  {memory['weights_bytes']:,}{of(flash)} bytes of flash; code comes on top",
        f"  work     {document['macs']:,} multiply-accumulates in {len(document['nodes'])} kernels",
    ]
    if document["dtype"] == "int8":
        proven = (
            "proven not to overflow" if document["accumulators"]["proven"] else "NOT proven free of overflow"
        )
        lines.append(f"  sums     {document['accumulators']['count']} accumulators, {proven}")
    if document["agreement"] is not None:
        found = document["agreement"]
        most = max((o["steps"] for o in found["outputs"]), default=0)
        lines.append(
            f"  model    its own scales; {found['differing']:,} of {found['values']:,} values rounded otherwise, "
            f"by at most {found['steps']} steps; outputs at most {most} steps apart"
        )
    lines.append(f"  in {document['seconds']:.1f} s; next: dnncc validate {document['artifact']}")
    return "\n".join(lines)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number of seconds")
    return value


COMMAND = Command("compile", "a model into C code for a board", add_arguments, run)
