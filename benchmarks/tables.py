"""Tables: aligned columns for a terminal, the same rows for Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_NOTE_WIDTH = 110


@dataclass(frozen=True)
class Table:
    """A title, a head, rows of as many cells, and notes below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def as_text(table: Table) -> str:
    """Aligned columns, numbers to the right."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    right = [all(_is_number(row[i]) for row in table.rows) for i in range(len(table.head))]
    shown = [
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(len(line) for line in shown)
    notes = [textwrap.fill(note, _NOTE_WIDTH) for note in table.notes]
    return "\n".join([table.title, rule, shown[0], rule, *shown[1:], rule, *notes]) + "\n"


def as_markdown(table: Table) -> str:
    """A section with a table."""
    right = [all(_is_number(row[i]) for row in table.rows) for i in range(len(table.head))]
    lines = [
        _row(table.head),
        _row(["---:" if r else "---" for r in right]),
        *(_row([cell.replace("|", "\\|") for cell in row]) for row in table.rows),
    ]
    notes = "".join(f"\n{textwrap.fill(note, _NOTE_WIDTH)}\n" for note in table.notes)
    return f"## {table.title}\n\n" + "\n".join(lines) + f"\n{notes}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_number(cell: str) -> bool:
    return not cell or cell in ("-", "0") or cell[0].isdigit()
