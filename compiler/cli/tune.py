"""``dnncc tune``."""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from dnncc.cli.command import Command, Outcome
from dnncc.cli.output import shortened, table
from dnncc.cli.parser import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file, or a program saved by torch.export (.pt2)"
    )
    parser.add_argument(
        "--target",
        metavar="T",
        default="cpu",
        help="a level of processors that this machine runs (default: cpu)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        required=True,
        help="where the fastest kernels go; layers that it knows already are not measured again",
    )
    parser.choice(
        "--dtype", values=("int8", "float32"), default="int8", help="what the network computes with"
    )
    parser.add_argument(
        "--trials", type=_trials, default=8, metavar="N", help="kernels to measure per layer (default: 8)"
    )


def run(arguments: Namespace) -> Outcome:
    from dnncc.cli.progress import progress
    from dnncc.tuning import tune

    with progress() as say:
        layers = tune(
            arguments.model,
            target=arguments.target,
            output=arguments.output,
            trials=arguments.trials,
            dtype=arguments.dtype,
            progress=say,
        )
    document = {
        "output": str(arguments.output),
        "layers": [{**asdict(layer), "gain": layer.gain} for layer in layers],
    }
    rows = [
        (shortened(x.node), x.trials, x.default_microseconds, x.entry.microseconds, x.gain) for x in layers
    ]
    head = ["layer", "trials", "untuned µs", "tuned µs", "times faster"]
    text = table(head, rows) if rows else "every layer is known already"
    return Outcome(document, f"{text}\nnext: dnncc compile MODEL --target T --tuned {arguments.output}")


def _trials(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive whole number")
    return int(text)


COMMAND = Command("tune", "measure the fastest kernels of a model on this machine", add_arguments, run)
