"""The page: headline, sections, explanations."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from dnncc.report import tables
from dnncc.report.data import ReportData
from dnncc.report.graph_view import graph_view
from dnncc.report.memory_map import memory_map
from dnncc.report.text import count, escape, named, plural, share, size

_OPEN_GRAPH = 80
"""Graphs of up to so many kernels are shown at once."""


def render(data: ReportData) -> str:
    """One HTML document that needs nothing else: no script, no other file, no network.

    The same data give the same bytes.
    """
    assets = files("dnncc.report")
    page = Template((assets / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(f"{data.model} on {data.machine.name}: dnncc report"),
        style=(assets / "style.css").read_text(encoding="utf-8"),
        model=escape(data.model),
        target=escape(data.machine.name),
        summary=_summary(data),
        tiles=_tiles(data),
        warnings=_warnings(data),
        memory=_memory(data),
        layers=_layers(data),
        graph=_graph(data),
        numbers=_numbers(data),
        making=_making(data),
        version=escape(data.version),
    )


def _summary(data: ReportData) -> str:
    machine = data.machine
    caller = sum(p.bytes for p in data.ports)
    limit = "" if machine.ram_bytes is None else f", of the {size(machine.ram_bytes)} that the board has"
    return (
        f"The network <strong>{escape(data.model)}</strong>, compiled to C for"
        f" {escape(machine.description)}. One inference takes {count(data.macs)} multiply-accumulates and needs"
        f" {size(data.arena_bytes)} of working memory{limit}; its weights take {size(data.weights_bytes)} of flash."
        f" The input and output buffers, {size(caller)} together, belong to the caller and are not counted."
    )


def _tile(name: str, value: str, note: str) -> str:
    return f'<div class="tile"><dt>{name}</dt><dd><b>{value}</b><span>{note}</span></dd></div>'


def _tiles(data: ReportData) -> str:
    machine = data.machine
    clock = "" if machine.clock_hz is None else f" at {machine.clock_hz / 1e6:g} MHz"
    ram = size(machine.ram_bytes)
    used = "" if machine.ram_bytes is None else f"{share(data.arena_bytes, machine.ram_bytes)} of {ram}; "
    bound = (
        "proven: these kernels cannot do with less"
        if data.optimal
        else f"lower bound {data.bound_bytes:,} bytes, {share(data.arena_bytes - data.bound_bytes, data.arena_bytes)} above"
    )
    flash = (
        "constants; the code comes on top"
        if machine.flash_bytes is None
        else f"{share(data.weights_bytes, machine.flash_bytes)} of {size(machine.flash_bytes)}; the code comes on top"
    )
    tiles = [
        _tile("Board", escape(machine.name), escape(machine.core) + clock),
        _tile("Work per inference", f"{count(data.macs)} MACs", plural(len(data.steps), "kernel")),
        _tile("Working memory (arena)", size(data.arena_bytes), used + bound),
        _tile("Weights", size(data.weights_bytes), flash),
        _tile("Numbers", escape(data.dtype), _numbers_note(data)),
    ]
    if data.calibrated is not None:
        tiles.append(
            _tile("Calibration", "your samples", "the scales come from them")
            if data.calibrated
            else _tile("Calibration", "made up", "the scales come from noise: do not trust the accuracy")
        )
    totals = data.totals
    if totals is not None and totals.instructions is not None:
        where = escape(f"measured on {totals.on}, {totals.core}")
        tiles.append(_tile("Instructions", count(totals.instructions), where))
    if totals is not None and totals.flash_bytes is not None:
        tiles.append(_tile("Flash", size(totals.flash_bytes), "measured: code and constants"))
    return "\n".join(tiles)


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
        return "<p>This network needs no arena: every kernel reads the caller's input and writes the caller's output.</p>"
    bound = (
        "No order of these kernels and no placement of their tensors needs less."
        if data.optimal
        else f"It is proven that these kernels need at least {data.bound_bytes:,} bytes;"
        f" {data.arena_bytes - data.bound_bytes:,} bytes may be left to gain."
    )
    most, gap = data.in_use[peak], data.arena_bytes - data.in_use[peak]
    gaps = f" The other {plural(gap, 'byte')} of the arena are gaps between blocks." if gap else ""
    return (
        "<p>The arena is one block of RAM that firmware gives to the network. Tensors share it: a tensor takes its"
        " place when a kernel writes it and gives it back after the last kernel has read it. The plan below was made"
        " when the network was compiled; nothing is allocated at run time.</p>"
        f'<p>The most is in use at <a href="#step-{peak + 1}">step {peak + 1},'
        f" {named(data.steps[peak].name)}</a>: {most:,} bytes.{gaps} {bound}</p>"
        "<p class=\"hint\">Each rectangle is a tensor: from left to right the steps during which it must be kept, from"
        " bottom to top the bytes that it takes. Pale ones with a dashed border are scratch memory of one kernel. Where rectangles"
        " overlap, a kernel writes its output over input that it has already read. Rest the pointer on one to read"
        " more.</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Memory map">{memory_map(data)}</div>'
        f"<details><summary>The same in figures</summary>{tables.blocks(data)}</details>"
    )


def _layers(data: ReportData) -> str:
    quality = (
        f" SQNR says how far the integer network is from the float one after that kernel, on"
        f" {plural(data.sqnr_samples, 'calibration sample')}: at 20 dB the error is a tenth of the signal, at 40 dB a"
        " hundredth."
        if any(s.sqnr is not None for s in data.steps)
        else ""
    )
    cost = (
        ""
        if data.totals is not None
        else " What each kernel costs is measured by <code>dnncc bench</code>, on an emulator or on the host."
    )
    return (
        "<p>One row per kernel: a C function that computes one or several of the model's operators without storing"
        f" what is between them. {tables.busiest(data)}{quality}{cost}</p>"
        + tables.layers(data)
        + tables.measured(data)
    )


def _graph(data: ReportData) -> str:
    drawing = f'<div class="scroll" tabindex="0" role="region" aria-label="Graph">{graph_view(data)}</div>'
    marked = " The one with the thick border sets the peak of working memory." if data.peak is not None else ""
    hidden = "" if len(data.steps) <= _OPEN_GRAPH else f"<summary>{plural(len(data.steps), 'kernel')}</summary>"
    text = f"<p>Each box is a kernel, numbered in execution order; a click leads to its row above.{marked}</p>"
    return text + (f"<details>{hidden}{drawing}</details>" if hidden else drawing)


def _numbers(data: ReportData) -> str:
    parts = [tables.ports(data)]
    if data.dtype == "float32":
        return "".join(["<p>This network computes in 32-bit floating point.</p>", *parts])
    proven = all(s.proven for s in data.sums)
    parts.insert(
        0,
        "<p>At run time there are only integers: products, sums and shifts. An integer stands for the real number"
        " <em>scale × integer</em>. Products are summed in 32 bits, then brought to the next tensor's scale by a"
        " multiplication and a shift, in which halves round up. The interpreter, the host and the device compute the"
        " same bits.</p>",
    )
    parts.append(f"<details><summary>Scales of {plural(len(data.scales), 'activation tensor')}</summary>")
    parts.append(tables.scales(data) + "</details>")
    parts.append(f"<details><summary>{plural(len(data.rescalings), 'rescaling')}</summary>")
    parts.append(tables.rescalings(data) + "</details>")
    verdict = (
        "Whatever the input, no 32-bit sum can overflow: the table gives the exact worst case of each."
        if proven
        else "<strong>Some sums are not proven to fit 32 bits.</strong>"
    )
    parts.append(f"<p>{verdict}</p>{tables.sums(data)}")
    return "".join(parts)


def _making(data: ReportData) -> str:
    return (
        "<p>The same model, samples and options give the same files, byte for byte. The pass pipeline was:</p>"
        f"<pre>{escape(data.pipeline)}</pre>{tables.passes(data)}{tables.options(data)}"
        f"<p>Model file, SHA-256: <code>{escape(data.model_hash)}</code></p>"
    )
