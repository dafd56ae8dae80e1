"""Text for HTML and SVG. Whatever a model named goes through ``escape``; nothing else may reach the page."""

from __future__ import annotations

import html
import math


def escape(text: object) -> str:
    """Text as HTML, with what does not print (control characters, lone surrogates) as ``\\uXXXX``."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(text))
    return html.escape(shown, quote=True)


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters: of a list the first entry, of a path the end, of others both ends.

    Converters join the names of what they fused with semicolons; the first one is the last operator's.
    """
    if len(text) <= length:
        return text
    first = text.partition(";")[0]
    if first != text and length > 4:
        return shorten(first, length - 2) + ";…"
    for at, character in enumerate(text):
        if character == "/" and len(text) - at < length:
            return "…" + text[at:]
    left = (length - 1) // 2
    return f"{text[:left]}…{text[len(text) - (length - 1 - left) :]}"


def named(name: str, length: int = 64) -> str:
    """A name as HTML, shortened if need be; the whole name then shows when the pointer rests on it."""
    short_name = shorten(name, length)
    if short_name == name:
        return escape(name)
    return f'<span title="{escape(name)}">{escape(short_name)}</span>'


def count(value: int | float | None) -> str:
    """A whole number with separators, "–" for None."""
    return "–" if value is None else f"{value:,.0f}"


def size(value: int | None) -> str:
    """Bytes as people say them: exact below 10,000, else in KiB."""
    if value is None:
        return "no limit"
    return f"{value:,} bytes" if value < 10_000 else f"{value / 1024:,.1f}".removesuffix(".0") + " KiB"


def short(value: float) -> str:
    """Six significant digits."""
    return f"{value:.6g}"


def share(part: float, whole: float) -> str:
    """A percentage with one decimal, "–" of nothing."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return "below 0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def decibel(value: float | None) -> str:
    """One decimal; "exact" for no error at all."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "exact" if value > 0 else "no signal"
    return f"{value:.1f}"


def shape(extents: tuple[int, ...]) -> str:
    """``1×8×8×16``; "scalar" for no axes."""
    return "×".join(map(str, extents)) or "scalar"


def plural(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
