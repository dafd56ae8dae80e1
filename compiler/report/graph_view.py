"""The network as SVG: kernels as boxes, tensors as arrows, from top to bottom."""

from __future__ import annotations

import math

from dnncc.report.data import Port, ReportData, StepRow
from dnncc.report.layout import Drawing, layered
from dnncc.report.text import count, escape, shape, shorten

_BOX_WIDTH, _BOX_HEIGHT = 216, 42
_COLUMN, _ROW, _MARGIN = 236, 70, 12
_CHARACTERS = 29


def graph_view(data: ReportData) -> str:
    """The drawing; boxes lead to the rows of the layer table."""
    inputs = [p for p in data.ports if p.kind == "input"]
    outputs = [p for p in data.ports if p.kind == "output"]
    first, last = len(inputs), len(inputs) + len(data.steps)
    edges, labels = [], []
    for index, step in enumerate(data.steps):
        for source in step.sources:
            edges.append((first + source if source >= 0 else -1 - source, first + index))
            labels.append(_tensor(data.steps[source]) if source >= 0 else _port(inputs[-1 - source]))
        for result in step.results:
            edges.append((first + index, last + result))
            labels.append(_port(outputs[result]))
    drawing = layered(last + len(outputs), edges)
    width = math.ceil(drawing.width * _COLUMN + _BOX_WIDTH + 2 * _MARGIN)
    height = (drawing.layers - 1) * _ROW + _BOX_HEIGHT + 2 * _MARGIN
    parts = [
        (
            f'<svg class="graph" role="group" aria-labelledby="graph-title" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}">'
        ),
        '<title id="graph-title">The network: each box is one kernel, each arrow a tensor</title>',
        (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
            ' orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
        ),
        *(_edge(route, label) for route, label in zip(drawing.routes, labels, strict=True)),
        *(_pill(drawing, i, port) for i, port in enumerate(inputs)),
        *(_box(drawing, first + i, i, step, i == data.peak) for i, step in enumerate(data.steps)),
        *(_pill(drawing, last + i, port) for i, port in enumerate(outputs)),
        "</svg>",
    ]
    return "\n".join(parts)


def _tensor(step: StepRow) -> str:
    return f"{step.dtype} {shape(step.shape)}"


def _port(port: Port) -> str:
    return f"{port.dtype} {shape(port.shape)}"


def _corner(drawing: Drawing, vertex: int) -> tuple[float, float]:
    x, layer = drawing.positions[vertex]
    return _MARGIN + x * _COLUMN, _MARGIN + layer * _ROW


def _edge(route: tuple[tuple[float, int], ...], label: str) -> str:
    points = [(_MARGIN + x * _COLUMN + _BOX_WIDTH / 2, _MARGIN + layer * _ROW) for x, layer in route]
    x, y = points[0][0], points[0][1] + _BOX_HEIGHT
    path = [f"M{x:.1f} {y:.1f}"]
    for i, (to_x, to_y) in enumerate(points[1:], 1):
        middle = (y + to_y) / 2
        path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
        if i < len(points) - 1:  # beside a box the edge goes straight down
            y += _BOX_HEIGHT
            path.append(f"V{y:.1f}")
    drawn = f'<path class="edge" marker-end="url(#arrow)" d="{"".join(path)}">'
    return f"{drawn}<title>{escape(label)}</title></path>"


def _box(drawing: Drawing, vertex: int, index: int, step: StepRow, peak: bool) -> str:
    x, y = _corner(drawing, vertex)
    operators = escape(shorten(" + ".join(step.ops), _CHARACTERS))
    tip = f"step {index + 1}: {step.name}; {' + '.join(step.ops)}; {_tensor(step)}; {count(step.macs)} MACs"
    kind = "node peak-node" if peak else "node"
    return (
        f'<a href="#step-{index + 1}" class="{kind}"><title>{escape(tip)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text class="strong" x="{x + 10:.1f}" y="{y + 17:.1f}">{index + 1}'
        f" {escape(shorten(step.name, _CHARACTERS - 4))}</text>"
        f'<text x="{x + 10:.1f}" y="{y + 33:.1f}">{operators}</text></a>'
    )


def _pill(drawing: Drawing, vertex: int, port: Port) -> str:
    x, y = _corner(drawing, vertex)
    return (
        f'<g class="port"><title>{escape(f"{port.kind} {port.name}: {_port(port)}")}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}"'
        f' rx="{_BOX_HEIGHT / 2:.0f}"/>'
        f'<text class="strong" x="{x + _BOX_WIDTH / 2:.1f}" y="{y + 17:.1f}" text-anchor="middle">{port.kind}'
        f" {escape(shorten(port.name, _CHARACTERS - 8))}</text>"
        f'<text x="{x + _BOX_WIDTH / 2:.1f}" y="{y + 33:.1f}"'
        f' text-anchor="middle">{escape(_port(port))}</text></g>'
    )
