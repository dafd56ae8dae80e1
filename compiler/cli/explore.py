"""``dnncc explore``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli.command import Command, Outcome
from dnncc.cli.cuts import add_cuts
from dnncc.cli.dims import add_dims
from dnncc.cli.output import table
from dnncc.cli.parser import Parser
from dnncc.cli.progress import progress

if TYPE_CHECKING:
    from dnncc.exploration import Exploration


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file, or a program saved by torch.export (.pt2)"
    )
    parser.add_argument(
        "--target",
        metavar="T,...",
        default="hls",
        help="FPGA parts, such as hls:zu3eg,hls:zcu104 (default: hls, all of them)",
    )
    parser.add_argument("--calibrate", type=Path, metavar="X.npz", help="real inputs, as for compile")
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="designs per part (default: 8)")
    parser.choice("--weight-bits", values=(8, 4, 3, 2), default=8, help="bits of a weight")
    parser.choice("--activation-bits", values=(8, 4), default=8, help="bits of an activation")
    add_dims(parser)
    add_cuts(parser)


def run(arguments: Namespace) -> Outcome:
    from dnncc.exploration import explore

    with progress() as say:
        found = explore(
            arguments.model,
            target=arguments.target.split(","),
            calibrate=arguments.calibrate,
            steps=arguments.steps,
            progress=say,
            weight_bits=arguments.weight_bits,
            activation_bits=arguments.activation_bits,
            dims=dict(arguments.dim),
            inputs=arguments.inputs,
            outputs=arguments.outputs,
        )
    return Outcome(_document(found), _text(arguments.model, found))


def _document(found: Exploration) -> dict[str, Any]:
    return {
        "points": [
            {
                "target": p.part.target,
                "cycles": p.folded.cycles,
                "bound_cycles": p.folded.folding.bound,
                "optimal": p.folded.folding.optimal,
                "latency_cycles": p.folded.timing.latency,
                "resources": asdict(p.folded.resources),
                "usable": asdict(p.part.usable),
                "fifo_bits": p.folded.fifo_bits,
            }
            for p in found.points
        ],
        "refused": dict(found.refused),
    }


def _text(model: str, found: Exploration) -> str:
    rows = [
        (
            p.part.target,
            p.folded.cycles,
            p.folded.timing.latency,
            p.folded.resources.lut,
            p.folded.resources.ff,
            p.folded.resources.bram18,
            p.folded.resources.dsp,
            p.folded.fifo_bits,
            "yes" if p.folded.folding.optimal else "-",
        )
        for p in found.points
    ]
    heads = ["part", "cycles/frame", "latency", "LUT", "FF", "BRAM18", "DSP", "FIFO bits", "proven"]
    refused = [f"{target} is too small: {reason}" for target, reason in found.refused.items()]
    note = "cycles and resources are analytical, latency and FIFO bits from the token-cycle simulation"
    return "\n".join([f"{model}: {len(rows)} designs; {note}", "", table(heads, rows), *refused])


COMMAND = Command("explore", "speeds and sizes of a model on FPGAs: the Pareto front", add_arguments, run)
