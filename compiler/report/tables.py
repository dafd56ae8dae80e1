"""The report's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dnncc.report.data import ReportData, StepRow
from dnncc.report.text import count, decibel, escape, named, shape, share, short, size


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        html: its content, escaped already.
        number: right-aligned.
        bar: a bar under it, 0 to 1; None for no bar.
        whole: never broken into lines.
    """

    html: str
    number: bool = False
    bar: float | None = None
    whole: bool = False

    def render(self) -> str:
        kinds = (("n", self.number), ("bar", self.bar is not None), ("w", self.whole))
        classes = " ".join(name for name, on in kinds if on)
        style = "" if self.bar is None else f' style="--p:{100 * self.bar:.1f}%"'
        return f"<td{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}{style}>{self.html}</td>"


def text(value: object) -> Cell:
    """A cell of text that may come from a model."""
    return Cell(escape(value))


def number(value: int | float | None, most: float | None = None) -> Cell:
    """A right-aligned number; with ``most`` a bar shows its part of that."""
    bar = value / most if most and value is not None else None
    return Cell(count(value), True, bar)


@dataclass(frozen=True)
class Row:
    """One row: its head (escaped HTML), the other cells, its id and class."""

    head: str
    cells: Sequence[Cell]
    id: str = ""
    mark: str = ""


def table(caption: str, columns: Sequence[str], rows: Iterable[Row], head_column: int = 0) -> str:
    """A table in a box that scrolls.

    Args:
        columns: headings, as HTML; a leading "#" right-aligns.
        head_column: which column the rows' heads are in.
    """
    heads = "".join(
        f'<th scope="col" class="n">{c[1:]}</th>' if c.startswith("#") else f'<th scope="col">{c}</th>'
        for c in columns
    )
    body = []
    for row in rows:
        cells = [cell.render() for cell in row.cells]
        cells.insert(head_column, f'<th scope="row">{row.head}</th>')
        attributes = "".join(f' {k}="{v}"' for k, v in (("id", row.id), ("class", row.mark)) if v)
        body.append(f"<tr{attributes}>{''.join(cells)}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region"'
        f' aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody></table></div>"
    )


def layers(data: ReportData) -> str:
    """One row per kernel, with the columns for which there is anything to say."""
    predicted = any(s.predicted_cycles is not None for s in data.steps)
    instructions = any(s.measured and s.measured.instructions is not None for s in data.steps)
    cycles = any(s.measured and s.measured.cycles is not None for s in data.steps)
    quality = any(s.sqnr is not None for s in data.steps)
    columns = ["#Step", "Node", "Operators", "Kernel", "Output", "#MACs", "#Weights", "#Arena in use"]
    columns += ["#Predicted cycles"] * predicted + ["#Instructions"] * instructions
    columns += ["#Cycles (estimated)"] * cycles + ["#SQNR (dB)"] * quality
    most = _Most(data)

    def row(index: int, step: StepRow) -> Row:
        measured = step.measured
        cells = [
            Cell(str(index + 1), True),
            text(" + ".join(step.ops)),
            Cell(escape(step.kernel), whole=True),
            Cell(escape(f"{step.dtype} {shape(step.shape)}"), whole=True),
            number(step.macs, most.macs),
            number(step.weights_bytes, most.weights),
            number(data.in_use[index], data.arena_bytes),
        ]
        if predicted:
            cells.append(number(step.predicted_cycles))
        if instructions:
            cells.append(number(measured.instructions if measured else None, most.instructions))
        if cycles:
            cells.append(number(measured.cycles if measured else None, most.cycles))
        if quality:
            cells.append(Cell(decibel(step.sqnr), True))
        peak = index == data.peak
        head = named(step.name) + (' <span class="badge">peak</span>' if peak else "")
        return Row(head, cells, f"step-{index + 1}", "peak-row" if peak else "")

    return table("Kernels in execution order", columns, (row(i, s) for i, s in enumerate(data.steps)), 1)


class _Most:
    """The largest entry of each column, for its bars."""

    def __init__(self, data: ReportData) -> None:
        measured = [s.measured for s in data.steps if s.measured]
        self.macs = max((s.macs for s in data.steps), default=0)
        self.weights = max((s.weights_bytes for s in data.steps), default=0)
        self.instructions = max((m.instructions or 0 for m in measured), default=0)
        self.cycles = max((m.cycles or 0 for m in measured), default=0)


def blocks(data: ReportData) -> str:
    """The memory map in figures."""
    rows = [
        Row(
            named(block.name),
            [
                text("scratch memory" if block.scratch else block.type),
                number(block.offset),
                number(block.size, data.arena_bytes),
                Cell(str(block.first + 1), True),
                Cell(str(block.end), True),
            ],
        )
        for block in sorted(data.blocks, key=lambda b: (b.first, b.offset))
    ]
    return table(
        "Blocks of the arena",
        ["Tensor or node", "Content", "#Offset", "#Bytes", "#First step", "#Last step"],
        rows,
    )


def measures(data: ReportData) -> str:
    """What the planner tried."""
    rows = []
    for tried in data.measures:
        work = "–" if tried.added_percent is None else f"{tried.added_percent:+.2f} %"
        cells = [
            text(tried.detail),
            number(tried.arena_bytes),
            number(tried.bound_bytes),
            number(tried.added_macs),
            Cell(work, True),
            number(tried.copied_bytes),
            number(tried.effort or None),
            text(f"{tried.verdict}: {tried.reason}"),
        ]
        rows.append(Row(escape(tried.measure), cells, mark="chosen-row" if tried.verdict == "chosen" else ""))
    columns = [
        "Measure",
        "How",
        "#RAM",
        "#Needed at least",
        "#Added MACs",
        "#Added work",
        "#Bytes copied",
        "#Effort",
    ]
    return table("Measures, the cheapest first", [*columns, "Verdict"], rows)


def ports(data: ReportData) -> str:
    """Inputs and outputs, and how integers stand for reals there."""
    rows = []
    for port in data.ports:
        if port.scale is None:
            meaning = "the value itself"
        else:
            zero = f"integer − {port.zero_point}" if port.zero_point > 0 else f"integer + {-port.zero_point}"
            meaning = f"{port.scale!r} × {f'({zero})' if port.zero_point else 'integer'}"
        cells = [
            text(port.kind),
            text(f"{port.dtype} {shape(port.shape)}"),
            number(port.bytes),
            text(meaning),
        ]
        rows.append(Row(named(port.name), cells))
    return table(
        "Inputs and outputs of the C function", ["Name", "Kind", "Type", "#Bytes", "Real value"], rows
    )


def scales(data: ReportData) -> str:
    """The quantization of the activations."""
    rows = [
        Row(
            named(s.name),
            [
                text(f"{s.dtype} {shape(s.shape)}"),
                Cell(short(s.scale), True),
                Cell(f"{short(s.low)} to {short(s.high)}", True),
            ],
        )
        for s in data.scales
    ]
    return table("Activations", ["Tensor", "Type", "#Scale", "#Range of real values"], rows)


def rescalings(data: ReportData) -> str:
    """Every requantization."""
    rows = []
    for r in data.rescalings:
        multiplier = f"{r.smallest:,}" if r.smallest == r.largest else f"{r.smallest:,} to {r.largest:,}"
        cells = [
            Cell(multiplier, True),
            number(r.channels),
            number(r.shift),
            Cell(f"{r.low:,} to {r.high:,}", True),
        ]
        rows.append(Row(named(r.node), [*cells, text(r.rounding)]))
    return table(
        "Rescaling, (sum × multiplier + 2^(shift−1)) >> shift, then clamped",
        ["Node", "#Multiplier", "#Channels", "#Shift", "#Clamped to", "Rounding"],
        rows,
    )


def sums(data: ReportData) -> str:
    """The overflow proof."""
    rows = [
        Row(
            named(s.node),
            [
                text(s.op),
                number(s.low),
                number(s.high),
                Cell(
                    "–" if s.bits is None else f"{s.bits} of 32",
                    True,
                    None if s.bits is None else min(s.bits / 32, 1),
                ),
                Cell("yes" if s.proven else "<strong>no</strong>"),
            ],
        )
        for s in data.sums
    ]
    return table(
        "Worst case of every 32-bit sum", ["Node", "Operator", "#Least", "#Most", "#Bits", "Fits"], rows
    )


def passes(data: ReportData) -> str:
    """What each pass did."""
    rows = [
        Row(
            f"<code>{escape(p.text)}</code>",
            [number(p.before), number(p.after), text("yes" if p.changed else "no")],
        )
        for p in data.passes
    ]
    return table("Passes in order", ["Pass", "#Nodes before", "#Nodes after", "Changed anything"], rows)


def options(data: ReportData) -> str:
    """What was asked for."""
    rows = [Row(escape(name), [text(value)]) for name, value in data.options]
    return table("Options", ["Option", "Value"], rows)


def measured(data: ReportData) -> str:
    """The measured inference; empty if there is none."""
    totals = data.totals
    if totals is None:
        return ""
    clock = data.machine.clock_hz
    entries = [
        ("Where", escape(f"{totals.on}, {totals.core}, {totals.compiler}")),
        ("Instructions", count(totals.instructions)),
        ("Cycles, estimated from the core's timing table", count(totals.cycles)),
        (
            "Time at the board's highest clock, from these cycles",
            f"{1000 * totals.cycles / clock:,.2f} ms" if totals.cycles is not None and clock else "–",
        ),
        ("Time on this host", "–" if totals.milliseconds is None else f"{totals.milliseconds:,.3f} ms"),
        (
            "Instructions per MAC",
            f"{totals.instructions / data.macs:.2f}" if totals.instructions and data.macs else "–",
        ),
        ("Flash: code and constants", "–" if totals.flash_bytes is None else size(totals.flash_bytes)),
        ("RAM: arena and static variables", "–" if totals.ram_bytes is None else size(totals.ram_bytes)),
        ("Stack", "–" if totals.stack_bytes is None else size(totals.stack_bytes)),
    ]
    rows = [Row(name, [Cell(value, True)]) for name, value in entries if value != "–"]
    return table("One inference, measured", ["What", "#Value"], rows)


def busiest(data: ReportData) -> str:
    """One sentence on where the work is; empty if nothing is multiplied."""
    if not data.macs:
        return ""
    index = max(range(len(data.steps)), key=lambda i: data.steps[i].macs)
    step = data.steps[index]
    return (
        f'Most of the work is in <a href="#step-{index + 1}">{named(step.name)}</a>:'
        f" {share(step.macs, data.macs)} of all multiply-accumulates."
    )
