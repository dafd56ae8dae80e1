"""The page: headline, sections, explanations. The prose is in the HTML files beside this one."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from dnncc.report import tables
from dnncc.report.data import ReportData
from dnncc.report.graph_view import graph_view
from dnncc.report.memory_map import memory_map
from dnncc.report.text import count, escape, named, plural, share, size
from dnncc.report.trade_off import bars

_OPEN_GRAPH = 40
"""Graphs of up to so many kernels are shown at once."""


def render(data: ReportData) -> str:
    """One HTML document that needs nothing else: no script, no other file, no network.

    The same data give the same bytes.
    """
    return _fill(
        "page.html",
        title=escape(f"{data.model} on {data.machine.name}: dnncc report"),
        style=_asset("style.css"),
        model=escape(data.model),
        target=escape(data.machine.name),
        summary=_summary(data),
        tiles=_tiles(data),
        warnings=_warnings(data),
        memory=_memory(data),
        layers=_layers(data),
        graph=_graph(data),
        numbers=_numbers(data),
        pipeline=escape(data.pipeline),
        passes=tables.passes(data),
        options=tables.options(data),
        hash=escape(data.model_hash),
        version=escape(data.version),
    )


def _asset(name: str) -> str:
    return (files("dnncc.report") / name).read_text(encoding="utf-8")


def _fill(name: str, **values: str) -> str:
    return Template(_asset(name)).substitute(values)


def _summary(data: ReportData) -> str:
    ram = data.machine.ram_bytes
    return _fill(
        "summary.html",
        model=escape(data.model),
        description=escape(data.machine.description),
        macs=count(data.macs),
        arena=size(data.arena_bytes),
        limit="" if ram is None else f", of the {size(ram)} that the board has",
        weights=size(data.weights_bytes),
        caller=size(sum(p.bytes for p in data.ports)),
    )


def _tile(name: str, value: str, note: str) -> str:
    return f'<div class="tile"><dt>{name}</dt><dd><b>{value}</b><span>{note}</span></dd></div>'


def _tiles(data: ReportData) -> str:
    machine, totals = data.machine, data.totals
    clock = "" if machine.clock_hz is None else f" at {machine.clock_hz / 1e6:g} MHz"
    tiles = [
        _tile("Board", escape(machine.name), escape(machine.core) + clock),
        _tile("Work per inference", f"{count(data.macs)} MACs", plural(len(data.steps), "kernel")),
        _tile("Working memory (arena)", size(data.arena_bytes), _arena_note(data)),
        _tile("Weights", size(data.weights_bytes), _weights_note(data)),
        _tile("Numbers", escape(data.dtype), _numbers_note(data)),
    ]
    if data.calibrated:
        tiles.append(_tile("Calibration", "your samples", "the scales come from them"))
    elif data.calibrated is not None:
        note = "the scales come from noise: do not trust the accuracy"
        tiles.append(_tile("Calibration", "made up", note))
    if totals is not None and totals.instructions is not None:
        where = escape(f"measured on {totals.on}, {totals.core}")
        tiles.append(_tile("Instructions", count(totals.instructions), where))
    if totals is not None and totals.flash_bytes is not None:
        tiles.append(_tile("Flash", size(totals.flash_bytes), "measured: code and constants"))
    return "\n".join(tiles)


def _arena_note(data: ReportData) -> str:
    ram = data.machine.ram_bytes
    used = "" if ram is None else f"{share(data.arena_bytes, ram)} of {size(ram)}; "
    if data.optimal:
        return used + "proven: these kernels cannot do with less"
    above = share(data.arena_bytes - data.bound_bytes, data.arena_bytes)
    return used + f"lower bound {data.bound_bytes:,} bytes, {above} of the arena above it"


def _weights_note(data: ReportData) -> str:
    flash = data.machine.flash_bytes
    if flash is None:
        return "constants; the code comes on top"
    return f"{share(data.weights_bytes, flash)} of {size(flash)}; the code comes on top"


def _numbers_note(data: ReportData) -> str:
    if data.dtype == "float32":
        return "floating point, compared within a tolerance"
    proven = sum(s.proven for s in data.sums)
    return f"integers only; {proven} of {plural(len(data.sums), 'sum')} proven not to overflow"


def _warnings(data: ReportData) -> str:
    if not data.warnings:
        return ""
    items = "".join(f"<li>{escape(w)}</li>" for w in data.warnings)
    return f'<section class="warnings" aria-label="Warnings"><h2>Warnings</h2><ul>{items}</ul></section>'


def _memory(data: ReportData) -> str:
    peak = data.peak
    if peak is None:
        return "<p>This network needs no arena: its kernels work on the caller's buffers alone.</p>"
    gap = data.arena_bytes - data.in_use[peak]
    bound = (
        "No order of these kernels and no placement of their tensors needs less."
        if data.optimal
        else f"It is proven that these kernels need at least {data.bound_bytes:,} bytes, the dashed line;"
        f" {data.arena_bytes - data.bound_bytes:,} bytes may be left to gain."
    )
    return _fill(
        "memory.html",
        peak=f'<a href="#step-{peak + 1}">step {peak + 1}, {named(data.steps[peak].name)}</a>',
        most=count(data.in_use[peak]),
        gaps=f" The other {plural(gap, 'byte')} of the arena are gaps between blocks." if gap else "",
        bound=bound,
        map=memory_map(data),
        blocks=tables.blocks(data),
        choices=_choices(data),
    )


def _choices(data: ReportData) -> str:
    """The planner's explanation; empty for a report without."""
    chosen = next((t for t in data.measures if t.verdict == "chosen"), None)
    if chosen is None:
        return ""
    return _fill(
        "choices.html",
        objective=f"The planner took <strong>{escape(chosen.measure)}</strong>: {escape(chosen.reason)}.",
        picture=bars(data.measures, data.ram_limit),
        table=tables.measures(data),
    )


def _layers(data: ReportData) -> str:
    quality = cost = ""
    if any(s.sqnr is not None for s in data.steps):
        quality = (
            "SQNR says how far the integer network is from the float one after that kernel, on"
            f" {plural(data.sqnr_samples, 'calibration sample')}:"
            " at 20 dB the error is a tenth of the signal, at 40 dB a hundredth."
        )
    if data.totals is None:
        cost = "What each kernel costs is measured by <code>dnncc bench</code>."
    return _fill(
        "layers.html",
        busiest=tables.busiest(data),
        quality=quality,
        cost=cost,
        layers=tables.layers(data),
        measured=tables.measured(data),
    )


def _graph(data: ReportData) -> str:
    drawing = graph_view(data)
    if len(data.steps) > _OPEN_GRAPH:
        drawing = (
            f"<details><summary>{plural(len(data.steps), 'kernel')}</summary>{_scroll(drawing)}</details>"
        )
    else:
        drawing = _scroll(drawing)
    marked = (
        " The one with the thick border sets the peak of working memory." if data.peak is not None else ""
    )
    text = "Each box is a kernel, numbered in execution order; a click leads to its row above."
    return f"<p>{text}{marked}</p>{drawing}"


def _scroll(drawing: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Graph">{drawing}</div>'


def _numbers(data: ReportData) -> str:
    if data.dtype == "float32":
        return f"<p>This network computes in 32-bit floating point.</p>{tables.ports(data)}"
    border = ""
    if any(p.dtype == "f32" for p in data.ports):
        border = " Only inputs and outputs are floats here: the network converts them itself."
    verdict = "<strong>Some sums are not proven to fit 32 bits.</strong>"
    if all(s.proven for s in data.sums):
        verdict = "Whatever the input, no 32-bit sum can overflow: the table gives the worst case of each."
    return _fill(
        "integers.html",
        border=border,
        ports=tables.ports(data),
        activations=f"Scales of {plural(len(data.scales), 'activation tensor')}",
        scales=tables.scales(data),
        rescaled=plural(len(data.rescalings), "rescaling"),
        rescalings=tables.rescalings(data),
        verdict=verdict,
        sums=tables.sums(data),
    )
