"""``dnncc inspect``."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from dnncc.cli.command import Command, Outcome
from dnncc.cli.cuts import add_cuts
from dnncc.cli.dims import add_dims
from dnncc.cli.output import shortened, table
from dnncc.cli.parser import Parser

if TYPE_CHECKING:
    from dnncc.inspection import Inspection

_PEAK = "live activations in the best order found, without kernels' scratch memory, inputs and outputs"


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file, or a program saved by torch.export (.pt2)"
    )
    parser.add_argument("--target", metavar="T", help="compare with what this board has")
    parser.choice(
        "--dtype", values=("int8", "float32"), default="int8", help="what the network shall compute with"
    )
    add_dims(parser)
    add_cuts(parser)


def run(arguments: Namespace) -> Outcome:
    from dnncc.inspection import inspect
    from dnncc.targets.hls.parts import is_hls

    if arguments.target is not None and is_hls(arguments.target):
        from dnncc.cli.fpga import inspect_and_describe

        return inspect_and_describe(arguments)
    found = inspect(
        arguments.model,
        target=arguments.target,
        dims=dict(arguments.dim),
        dtype=arguments.dtype,
        inputs=arguments.inputs,
        outputs=arguments.outputs,
    )
    return Outcome(_document(found), _text(arguments.model, found), found.error)


def _document(found: Inspection) -> dict[str, Any]:
    board = found.board
    return {
        "name": found.name,
        "dtype": found.dtype,
        "target": None if board is None else board.name,
        "supported": found.supported,
        "unsupported": [{"node": c.name, "op": c.op, "reason": c.reason} for c in found.unsupported],
        "inputs": [
            {"name": n, "dtype": t.dtype.value, "shape": list(t.shape)} for n, t in found.inputs.items()
        ],
        "outputs": [
            {"name": n, "dtype": t.dtype.value, "shape": list(t.shape)} for n, t in found.outputs.items()
        ],
        "macs": found.macs,
        "parameters": found.parameters,
        "weights_bytes": found.weights_bytes,
        "peak_bytes": found.peak_bytes,
        "peak_means": _PEAK,
        "capacity": None if board is None else {"ram": board.ram.bytes, "flash": board.flash.bytes},
        "nodes": [
            {
                "name": n.name,
                "op": n.op,
                "macs": n.macs,
                "parameters": n.parameters,
                "shape": list(n.shape),
                "live_bytes": n.live_bytes,
            }
            for n in found.nodes
        ],
    }


def _text(model: str, found: Inspection) -> str:
    if found.peak_bytes is None:
        return ""
    board = found.board
    ram = f" of {board.ram.bytes:,}" if board is not None and board.ram.bytes is not None else ""
    flash = f" of {board.flash.bytes:,}" if board is not None and board.flash.bytes is not None else ""
    on = f" on {board.name}" if board is not None else ""
    rows = [
        (shortened(n.name), n.op, "x".join(map(str, n.shape)), n.macs, n.parameters, n.live_bytes)
        for n in found.nodes
    ]
    lines = [
        f"{model}: {found.dtype}{on}",
        *(f"  input    {name}: {list(type.shape)}" for name, type in found.inputs.items()),
        *(f"  output   {name}: {list(type.shape)}" for name, type in found.outputs.items()),
        f"  RAM      about {found.peak_bytes:,}{ram} bytes ({_PEAK})",
        f"  weights  about {found.weights_bytes:,}{flash} bytes of flash ({found.parameters:,} parameters)",
        f"  work     {found.macs:,} multiply-accumulates",
        "",
        table(["node", "op", "output", "MACs", "parameters", "live bytes"], rows),
    ]
    return "\n".join(lines)


COMMAND = Command(
    "inspect", "what a model needs, and what of it is not supported; writes nothing", add_arguments, run
)
