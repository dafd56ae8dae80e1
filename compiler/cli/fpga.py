"""What ``compile`` and ``inspect`` say of FPGAs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.cli.command import Outcome
from dnncc.cli.output import note, shortened, table

if TYPE_CHECKING:
    from dnncc.fpga import Folded, FpgaCompilation

_NAMES = {"lut": "LUT", "ff": "FF", "bram18": "BRAM18", "dsp": "DSP"}


def compile_and_describe(
    arguments: Namespace, output: Path, options: dict[str, Any], say: Callable[[str], None]
) -> Outcome:
    """``dnncc compile`` for a part."""
    from dnncc.fpga import compile_fpga

    compilation = compile_fpga(
        arguments.model,
        target=arguments.target,
        calibrate=arguments.calibrate,
        output=output,
        progress=say,
        **options,
    )
    for warning in compilation.warnings:
        note(f"warning: {warning}")
    return Outcome(_document(compilation, output), _text(compilation, output))


def inspect_and_describe(arguments: Namespace) -> Outcome:
    """``dnncc inspect`` for a part: quantized with made up samples, folded, nothing written."""
    from dnncc.errors import DnnccError, UnsupportedError
    from dnncc.fpga import compile_fpga

    options = {"dims": dict(arguments.dim), "inputs": arguments.inputs, "outputs": arguments.outputs}
    document: dict[str, Any] = {"target": arguments.target, "supported": True, "unsupported": []}
    try:
        compilation = compile_fpga(arguments.model, target=arguments.target, dtype=arguments.dtype, **options)
    except UnsupportedError as error:
        found = [{"node": c.name, "op": c.op, "reason": c.reason} for c in error.culprits]
        return Outcome({**document, "supported": False, "unsupported": found}, "", error)
    except DnnccError as error:
        return Outcome(document, "", error)
    folded = compilation.folded
    stages = folded.design.stages
    document |= {
        "name": compilation.graph.name,
        "macs": compilation.graph.macs(),
        **_figures(folded),
        "nodes": [
            {"name": s.name, "op": s.kind, "node": s.node, "cycles": s.schedule().iterations} for s in stages
        ],
    }
    rows = [
        (s.name, s.kind, s.schedule().iterations, r.lut, r.ff, r.bram18, r.dsp, shortened(s.node))
        for s in stages
        for r in [s.resources(compilation.part)]
    ]
    lines = [
        f"{arguments.model}: a pipeline for {compilation.part.target}",
        *_lines(folded),
        f"  work     {compilation.graph.macs():,} multiply-accumulates per frame",
        "",
        table(["stage", "kind", "cycles", "LUT", "FF", "BRAM18", "DSP", "node"], rows),
    ]
    return Outcome(document, "\n".join(lines))


def _figures(folded: Folded) -> dict[str, Any]:
    from dnncc.fpga import prediction

    s = folded.folding
    return {
        "prediction": prediction(folded),
        "folding": {
            "optimal": s.optimal,
            "cycles": s.cycles,
            "bound_cycles": s.bound,
            "cost": s.cost,
            "bound_cost": s.cost_bound,
            "candidates": folded.candidates,
        },
    }


def _document(compilation: FpgaCompilation, output: Path) -> dict[str, Any]:
    return {
        "artifact": str(output),
        "target": compilation.part.target,
        "name": compilation.options.name,
        "dtype": compilation.options.dtype,
        "macs": compilation.graph.macs(),
        "calibrated": compilation.calibrated,
        "pipeline": compilation.pipeline,
        "warnings": list(compilation.warnings),
        "accumulators": {
            "proven": all(a.proven for a in compilation.accumulators),
            "count": len(compilation.accumulators),
        },
        **_figures(compilation.folded),
        "nodes": [
            {"name": s.name, "op": s.kind, "node": s.node, "resources": asdict(s.resources(compilation.part))}
            for s in compilation.folded.design.stages
        ],
        "seconds": round(compilation.seconds, 3),
    }


def _lines(folded: Folded) -> list[str]:
    from dnncc.fpga import bottleneck

    s, part = folded.folding, folded.design.part
    proof = "proven optimal" if s.cycles == s.bound else f"at least {s.bound:,}"
    shares = ", ".join(
        f"{getattr(folded.resources, kind):,} of {getattr(part.usable, kind):,} {name}"
        for kind, name in _NAMES.items()
    )
    first = f"{folded.timing.latency:,} for the first (token-cycle simulation)"
    share = f"{folded.fifo_bits / folded.tensor_bits:.1%} of tensor-size ones (token-cycle simulation)"
    return [
        f"  speed    {s.cycles:,} cycles per frame ({proof}; analytical), set by {bottleneck(folded)}",
        f"           {folded.timing.interval:,} between frames, {first}",
        f"  part     {shares} (analytical)",
        f"  FIFOs    {folded.fifo_bits:,} bits, {share}",
    ]


def _text(compilation: FpgaCompilation, output: Path) -> str:
    stages = len(compilation.folded.design.stages)
    return "\n".join(
        [
            f"{output}: HLS C++ for {compilation.part.target} ({compilation.part.device})",
            *_lines(compilation.folded),
            f"  work     {compilation.graph.macs():,} multiply-accumulates in {stages} stages",
            f"  in {compilation.seconds:.1f} s; next: dnncc validate {output}",
        ]
    )
