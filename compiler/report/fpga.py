"""The report of an FPGA's artifact: pipeline, bottleneck, resources, folding, streams; each figure with its source."""

from __future__ import annotations

from dataclasses import astuple
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from dnncc.report.tables import Cell, Row, number, table, text
from dnncc.report.text import count, escape, named, plural, share
from dnncc.targets.hls.resources import KINDS, fifo_style, total

if TYPE_CHECKING:
    from dnncc.fpga import Folded, FpgaCompilation

_NAMES = {"lut": "Lookup tables", "ff": "Flip-flops", "bram18": "Block RAMs (18 Kbit)", "dsp": "DSP blocks"}


def render(compilation: FpgaCompilation) -> str:
    """One HTML document that needs nothing else; the same compilation gives the same bytes."""
    from dnncc import __version__
    from dnncc.fpga import bottleneck

    part, folded = compilation.part, compilation.folded
    model = compilation.graph.name
    values = {
        "title": escape(f"{model} on {part.target}: dnncc report"),
        "style": _asset("style.css"),
        "model": escape(model),
        "target": escape(part.target),
        "summary": f"{escape(model)} as a streaming pipeline for {escape(part.description)}: "
        f"{plural(len(folded.design.stages), 'stage')}, {count(compilation.graph.macs())} MACs per frame.",
        "tiles": "\n".join(_tiles(compilation)),
        "warnings": _warnings(compilation),
        "bottleneck": escape(bottleneck(folded)),
        "simulated": count(folded.timing.interval),
        "pipeline": _pipeline(folded),
        "resources": _resources(folded),
        "proof": _proof(folded),
        "folding": _folding(folded),
        "fifo": count(folded.fifo_bits),
        "tensor": count(folded.tensor_bits),
        "streams": _streams(folded),
        "passes": escape(compilation.pipeline),
        "hash": escape(compilation.model_hash),
        "version": escape(__version__),
    }
    return Template(_asset("fpga.html")).substitute(values)


def _asset(name: str) -> str:
    return (files("dnncc.report") / name).read_text(encoding="utf-8")


def _tile(name: str, value: str, note: str) -> str:
    return f'<div class="tile"><dt>{name}</dt><dd><b>{value}</b><span>{note}</span></dd></div>'


def _tiles(compilation: FpgaCompilation) -> list[str]:
    folded = compilation.folded
    used, usable = folded.resources, compilation.part.usable
    return [
        _tile("Cycles per frame", count(folded.cycles), "the slowest stage; analytical"),
        _tile("Between two frames", f"{count(folded.timing.interval)} cycles", "token-cycle simulation"),
        _tile(
            "First result",
            f"{count(folded.timing.latency)} cycles",
            "after the first input; token-cycle simulation",
        ),
        *(
            _tile(
                _NAMES[kind],
                f"{count(getattr(used, kind))} of {count(getattr(usable, kind))}",
                f"{share(getattr(used, kind), getattr(usable, kind))} of what is usable; analytical",
            )
            for kind in KINDS
        ),
        _tile(
            "FIFOs",
            f"{count(folded.fifo_bits)} bits",
            f"{share(folded.fifo_bits, folded.tensor_bits)} of tensor-size FIFOs; token-cycle simulation",
        ),
    ]


def _warnings(compilation: FpgaCompilation) -> str:
    if not compilation.warnings:
        return ""
    items = "".join(f"<li>{escape(w)}</li>" for w in compilation.warnings)
    return f'<div class="warnings"><h2>Warnings</h2><ul>{items}</ul></div>'


def _pipeline(folded: Folded) -> str:
    part = folded.design.part
    schedules = [stage.schedule() for stage in folded.design.stages]
    most = max(s.iterations for s in schedules)
    rows = []
    for stage, schedule in zip(folded.design.stages, schedules, strict=True):
        slowest = schedule.iterations == most
        lanes = " → ".join(
            "+".join(str(s.lanes) for s in streams) for streams in (stage.inputs, stage.outputs)
        )
        badge = ' <span class="badge">bottleneck</span>' if slowest else ""
        cells = [
            text(stage.kind),
            Cell(named(stage.node)),
            Cell(lanes, whole=True),
            number(schedule.iterations, most),
            number(schedule.latency),
            *(number(n) for n in astuple(stage.resources(part))),
        ]
        rows.append(Row(escape(stage.name) + badge, cells, mark="peak-row" if slowest else ""))
    heads = [
        "stage",
        "kind",
        "node",
        "elements in → out",
        "#cycles",
        "#latency",
        "#LUT",
        "#FF",
        "#BRAM18",
        "#DSP",
    ]
    return table("Stages, in the order of the data", heads, rows)


def _resources(folded: Folded) -> str:
    part = folded.design.part
    stages = total([stage.resources(part) for stage in folded.design.stages])
    rows = [
        Row(
            _NAMES[kind],
            [
                number(getattr(stages, kind)),
                number(getattr(folded.fifos, kind)),
                number(getattr(folded.resources, kind), getattr(part.usable, kind)),
                number(getattr(part.usable, kind)),
                number(getattr(part.total, kind)),
                text("analytical"),
            ],
        )
        for kind in KINDS
    ]
    return table(
        "What is taken",
        ["resource", "#stages", "#FIFOs", "#together", "#usable", "#on the part", "source"],
        rows,
    )


def _proof(folded: Folded) -> str:
    s = folded.folding
    if s.cycles == s.bound:
        first = (
            f"No folding of these layers that fits the part takes fewer than {count(s.cycles)} cycles: proven"
        )
    else:
        first = f"{count(s.cycles)} cycles is the best found; no folding that fits takes fewer than {count(s.bound)}"
    second = (
        "and none of that speed takes less of the part: proven as well"
        if s.cost == s.cost_bound
        else f"its share of the part is at most {share(s.cost - s.cost_bound, s.cost)} from the least"
    )
    return f"{first}; {second}. There were {count(folded.candidates)} choices for {len(s.picks)} layers."


def _folding(folded: Folded) -> str:
    rows = [
        Row(
            escape(layer.name),
            [
                Cell(named(layer.node)),
                text(", ".join(f"{k} {v}" for k, v in choice.config.items())),
                number(choice.cycles, folded.cycles),
            ],
        )
        for layer, choice in zip(folded.design.network.layers, folded.design.picks, strict=True)
    ]
    return table("Layers", ["layer", "node", "choice", "#cycles"], rows)


def _streams(folded: Folded) -> str:
    rows = [
        Row(
            escape(s.name),
            [
                Cell(named(s.wire.name)),
                text(s.wire.number.c_type),
                number(s.lanes),
                number(s.depth, s.words),
                number(s.words),
                text(fifo_style(s.bits, s.depth)),
            ],
        )
        for s in folded.design.streams
    ]
    return table(
        "Streams between stages",
        ["stream", "value", "element", "#lanes", "#depth", "#words per frame", "in"],
        rows,
    )
