"""The memory map as SVG: time from left to right, addresses from bottom to top, one rectangle per block."""

from __future__ import annotations

import math

from dnncc.report.data import Block, ReportData
from dnncc.report.text import count, escape, plural, shorten

_LEFT, _RIGHT, _TOP = 84, 16, 34
_PLOT_WIDTH, _PLOT_HEIGHT = 860, 340
_NARROWEST, _WIDEST = 12, 150
_NAMED_STEPS = 40
"""Up to so many steps carry their names; beyond, every few steps a number."""
_CHARACTER = 6.3
_GOLDEN_ANGLE = 137.508
_ANGLE, _NAME = 35, 22  # of the steps' names: degrees, characters


def memory_map(data: ReportData) -> str:
    """The plot; the arena must not be empty."""
    return _Map(data).render()


class _Map:
    def __init__(self, data: ReportData) -> None:
        self.data = data
        steps = max(len(data.steps), 1)
        self.column = min(max(_PLOT_WIDTH / steps, _NARROWEST), _WIDEST)
        self.right = _LEFT + self.column * steps
        self.bottom = _TOP + _PLOT_HEIGHT
        self.named = steps <= _NAMED_STEPS
        self.width = math.ceil(max(self.right + _RIGHT, 420))
        longest = max((len(shorten(s.name, _NAME)) for s in data.steps), default=0) if self.named else 0
        self.height = self.bottom + 44 + math.ceil(longest * _CHARACTER * math.sin(math.radians(_ANGLE)))

    def x(self, step: float) -> float:
        return _LEFT + self.column * step

    def y(self, address: float) -> float:
        return self.bottom - _PLOT_HEIGHT * address / self.data.arena_bytes

    def render(self) -> str:
        data = self.data
        summary = (
            f"{plural(len(data.blocks), 'block')} in an arena of {data.arena_bytes:,} bytes over"
            f" {plural(len(data.steps), 'step')}. The table below holds the same."
        )
        parts = [
            (
                f'<svg class="map" role="img" aria-labelledby="map-title map-desc" width="{self.width}"'
                f' height="{self.height}" viewBox="0 0 {self.width} {self.height}">'
            ),
            '<title id="map-title">Memory map: which bytes are in use at which step</title>',
            f'<desc id="map-desc">{escape(summary)}</desc>',
            *self._addresses(),
            *(self._block(i, block) for i, block in enumerate(data.blocks)),
            *self._peak(),
            *self._limits(),
            *self._steps(),
            "</svg>",
        ]
        return "\n".join(parts)

    def _addresses(self) -> list[str]:
        """Horizontal grid lines at round addresses."""
        parts = []
        for address in ticks(self.data.arena_bytes):
            y = self.y(address)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(
                f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{address:,}</text>'
            )
        middle = _TOP + _PLOT_HEIGHT / 2
        parts.append(
            f'<text class="axis" transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            "address in the arena (bytes)</text>"
        )
        return parts

    def _peak(self) -> list[str]:
        peak = self.data.peak
        if peak is None:
            return []
        name, used = self.data.steps[peak].name, self.data.in_use[peak]
        center = self.x(peak + 0.5)
        anchor = "start" if center < self.width / 3 else "end" if center > 2 * self.width / 3 else "middle"
        x = self.x(peak) if anchor == "start" else self.x(peak + 1) if anchor == "end" else center
        label = f"peak: step {peak + 1}, {shorten(name, 40)}, {used:,} bytes in use"
        return [
            (
                f'<rect class="peak" x="{self.x(peak):.1f}" y="{_TOP - 8}" width="{self.column:.1f}"'
                f' height="{_PLOT_HEIGHT + 8}"><title>{escape(label)}</title></rect>'
            ),
            (
                f'<text class="peak-label" x="{x:.1f}" y="{_TOP - 15}"'
                f' text-anchor="{anchor}">{escape(label)}</text>'
            ),
        ]

    def _block(self, index: int, block: Block) -> str:
        x, y = self.x(block.first), self.y(block.offset + block.size)
        width, height = self.x(block.end) - x, self.y(block.offset) - y
        first, last = block.first + 1, block.end
        when = f"step {first}" if first == last else f"steps {first} to {last}"
        what = f"scratch memory of {block.name}" if block.scratch else f"{block.name}, {block.type}"
        where = f"bytes {block.offset:,} to {block.offset + block.size - 1:,}"
        tip = f"{what}\n{block.size:,} bytes: {where}\nin use: {when}"
        hue = round(index * _GOLDEN_ANGLE) % 360
        kind = "block scratch" if block.scratch else "block"
        label = ""
        baseline = y + min(height / 2 + 4, 16)
        fits = int((self._covered_from(index, baseline - 4) - x - 8) / _CHARACTER)
        if height >= 14 and fits >= 4:
            text = shorten("scratch" if block.scratch else block.name, fits)
            label = f'<text x="{x + 5:.1f}" y="{baseline:.1f}">{escape(text)}</text>'
        return (
            f'<g class="{kind}" style="--h:{hue}"><title>{_lines(tip)}</title><rect x="{x + 0.5:.1f}"'
            f' y="{y:.1f}"'
            f' width="{max(width - 1, 1):.1f}" height="{max(height, 1):.1f}" rx="2"/>{label}</g>'
        )

    def _covered_from(self, index: int, y: float) -> float:
        """Where a later block begins to hide this block's row ``y``; its right end if none does."""
        block = self.data.blocks[index]
        hiding = [
            b.first
            for b in self.data.blocks[index + 1 :]
            if block.first < b.first < block.end
            and self.y(b.offset + b.size) - 8 <= y <= self.y(b.offset) + 8
        ]
        return self.x(min(hiding, default=block.end))

    def _limits(self) -> list[str]:
        """The arena's size, and the lower bound where it is lower."""
        data = self.data
        lines = [("limit", data.arena_bytes)]
        if data.bound_bytes < data.arena_bytes:
            lines.append(("bound", data.bound_bytes))
        parts = []
        for kind, value in lines:
            y = self.y(value)
            label = f"arena: {value:,} bytes" if kind == "limit" else f"lower bound: {value:,} bytes"
            parts.append(
                f'<line class="{kind}" x1="{_LEFT}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}">'
                f"<title>{escape(label)}</title></line>"
            )
        return parts

    def _steps(self) -> list[str]:
        parts = []
        every = 1 if self.named else max(1, math.ceil(28 / self.column))
        for index, step in enumerate(self.data.steps):
            if index % every:
                continue
            x = self.x(index + 0.5)
            tip = escape(f"step {index + 1}: {step.name}, {count(self.data.in_use[index])} bytes in use")
            text = (
                f'<text class="axis" x="{x:.1f}" y="{self.bottom + 16}" text-anchor="middle">{index + 1}'
                f"<title>{tip}</title></text>"
            )
            parts.append(text)
            if self.named:
                parts.append(
                    f'<text class="axis name" transform="translate({x + 3:.1f} {self.bottom + 32})'
                    f' rotate(-{_ANGLE})"'
                    f' text-anchor="end">{escape(shorten(step.name, _NAME))}<title>{tip}</title></text>'
                )
        if not self.named:
            middle = (_LEFT + self.right) / 2
            parts.append(
                f'<text class="axis" x="{middle:.0f}" y="{self.bottom + 36}" text-anchor="middle">step</text>'
            )
        return parts


def ticks(top: int) -> list[int]:
    """Round addresses from 0 to ``top``, five to ten of them."""
    step = 10 ** max(0, math.floor(math.log10(max(top, 1))) - 1)
    for factor in (1, 2, 5, 10, 20):
        if top / (step * factor) <= 9:
            step *= factor
            break
    return list(range(0, top + 1, step))


def _lines(text: str) -> str:
    """Escaped text of a tooltip, line breaks kept."""
    return "\n".join(escape(line) for line in text.split("\n"))
