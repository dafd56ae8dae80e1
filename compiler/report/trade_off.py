"""The planner's choices as SVG: a bar of RAM per measure, and the curve of RAM against added work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dnncc.report.memory_map import ticks
from dnncc.report.text import escape, shorten

if TYPE_CHECKING:
    from dnncc.comparison import Comparison, Point
    from dnncc.planner import Tried

_LEFT, _RIGHT, _TOP = 150, 190, 26
_PLOT = 520
_ROW, _BAR = 24, 14
_CURVE = 240
# Outside the report there is no style sheet: these are its colours on white paper.
_STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; }
svg text { fill: #1b1f24; } svg .axis { fill: #59636e; font-size: 11px; } svg .strong { font-weight: 600; }
svg .measure { fill: #c4cad1; } svg .fits { fill: #9cc3ee; } svg .chosen { fill: #2f6fb7; }
svg .grid { stroke: #d5dae0; }
svg .limit { stroke: #d1242f; stroke-width: 1.5; } svg .bound { stroke: #8250df; stroke-width: 2; }
svg .edge { fill: none; stroke: #2f6fb7; stroke-width: 1.5; }
"""


def bars(rows: Sequence[Tried], capacity: int | None) -> str:
    """One bar per plan: the arena, a tick at what is proven to be needed, a line at the RAM that there is."""
    shown = [t for t in rows if t.arena_bytes is not None]
    height = _TOP + _ROW * len(shown) + 40
    return _svg("choices", "RAM by measure", height, _bars(shown, capacity))


def picture(comparison: Comparison) -> str:
    """One SVG file with the bars and the curve."""
    shown = [t for t in comparison.measures if t.arena_bytes is not None]
    below = _TOP + _ROW * len(shown) + 70
    parts = [
        f"<style>{_STYLE}</style>",
        *_bars(shown, comparison.capacity_bytes),
        f'<g transform="translate(0 {below})">',
        *_curve(comparison.curve, comparison.capacity_bytes),
        "</g>",
    ]
    return _svg("choices", "RAM by measure, and RAM against added work", below + _TOP + _CURVE + 50, parts)


def _svg(name: str, title: str, height: int, parts: Sequence[str]) -> str:
    width = _LEFT + _PLOT + _RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="map" role="img" aria-labelledby="{name}-title" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}"><title id="{name}-title">{escape(title)}</title>'
    )
    return "\n".join([head, *parts, "</svg>"])


def _bars(rows: Sequence[Tried], capacity: int | None) -> list[str]:
    top = max((t.arena_bytes or 0 for t in rows), default=0) or 1
    if capacity is not None and capacity <= 2 * top:
        top = max(top, capacity)
    bottom = _TOP + _ROW * len(rows)

    def x(size: int) -> float:
        return _LEFT + _PLOT * size / top

    parts = _scale(top, x, _TOP - 4, bottom, bottom + 16, "bytes of RAM")
    for i, tried in enumerate(rows):
        y = _TOP + _ROW * i + (_ROW - _BAR) / 2
        size = tried.arena_bytes or 0
        kind = "chosen" if tried.verdict == "chosen" else "fits" if tried.fits else "measure"
        added = "" if tried.added_percent is None else f", {tried.added_percent:+.1f} % work"
        away = f", {tried.copied_bytes:,} copied" if tried.copied_bytes else ""
        tip = f"{tried.measure}: {size:,} bytes{added}{away}. {tried.reason}"
        parts += [
            _text(_LEFT - 8, y + 11, shorten(tried.measure, 24), "end", "strong" if kind == "chosen" else ""),
            _rect(kind, _LEFT, y, max(x(size) - _LEFT, 1), _BAR, 2, tip),
            _text(x(size) + 6, y + 11, f"{size:,}{added}{away}", "start", "axis"),
        ]
        if tried.bound_bytes is not None:
            parts.append(_line("bound", x(tried.bound_bytes), x(tried.bound_bytes), y - 2, y + _BAR + 2))
    if capacity is not None and capacity <= top:
        parts.append(_line("limit", x(capacity), x(capacity), _TOP - 8, bottom))
        parts.append(_text(x(capacity), _TOP - 12, f"{capacity:,} bytes there are", "middle", "axis"))
    return parts


def _curve(points: Sequence[Point], capacity: int | None) -> list[str]:
    right = max((p.arena_bytes for p in points), default=0) or 1
    high = max((p.added_percent for p in points), default=0.0) or 1.0
    bottom = _TOP + _CURVE

    def x(size: int) -> float:
        return _LEFT + _PLOT * size / right

    def y(added: float) -> float:
        return bottom - (_CURVE - 10) * added / high

    parts = _scale(right, x, _TOP, bottom, bottom + 16, "bytes of RAM")
    for part in range(5):
        added = high * part / 4
        parts.append(_line("grid", _LEFT, _LEFT + _PLOT, y(added), y(added)))
        parts.append(_text(_LEFT - 8, y(added) + 4, f"{added:.1f} %", "end", "axis"))
    parts.append(_text(_LEFT - 8, _TOP - 8, "added work", "end", "axis"))
    best = [p for p in points if p.best]
    if best:
        steps = f"M{x(best[0].arena_bytes):.1f} {y(best[0].added_percent):.1f}"
        for point in best[1:]:
            steps += f" H{x(point.arena_bytes):.1f} V{y(point.added_percent):.1f}"
        parts.append(f'<path class="edge" d="{steps}"/>')
    for point in points:
        where = (x(point.arena_bytes), y(point.added_percent))
        tip = f"{point.measure}: {point.arena_bytes:,} bytes, {point.added_percent:+.2f} % work"
        kind = "chosen" if point.best else "measure"
        parts.append(_rect(kind, where[0] - 4, where[1] - 4, 8, 8, 4, tip))
        if point.best:
            parts.append(_text(where[0] + 8, where[1] - 6, point.measure, "start", "axis"))
    if capacity is not None and capacity <= right:
        parts.append(_line("limit", x(capacity), x(capacity), _TOP, bottom))
    return parts


def _scale(top: int, x: Callable[[int], float], high: float, low: float, at: float, name: str) -> list[str]:
    """Vertical grid lines at round sizes."""
    parts = []
    for size in ticks(top):
        parts.append(_line("grid", x(size), x(size), high, low))
        parts.append(_text(x(size), at, f"{size:,}", "middle", "axis"))
    parts.append(_text(_LEFT + _PLOT, at + 16, name, "end", "axis"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(kind: str, x: float, y: float, width: float, height: float, round: int, tip: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{round}">'
        f"<title>{escape(tip)}</title></rect>"
    )


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'
