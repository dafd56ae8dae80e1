"""The proof matrix as a table and as a bar."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bars import Bar
from benchmarks.bitexact import INSIDE, Cell
from benchmarks.tables import Table

MIN_SAMPLES = 20


def table(cells: Sequence[Cell], missing: Sequence[str]) -> Table:
    """Rows: places; columns: networks; cells: bytes that differ from the interpreter's."""
    known = {(cell.place, cell.network): cell for cell in cells}
    networks = list(dict.fromkeys(cell.network for cell in cells))
    places = list(dict.fromkeys(cell.place for cell in cells))
    rows = [(place.label, *(_shown(known.get((place, name))) for name in networks)) for place in places]
    samples = {name: {c.samples for c in cells if c.network == name and not c.problem} for name in networks}
    counts = (", ".join(str(n) for n in sorted(samples[name])) or "-" for name in networks)
    total = (f"{sum(c.values for c in cells if c.network == name):,}" for name in networks)
    rows += [("samples at each place", *counts), ("values compared", *total)]
    all_values, wrong = sum(c.values for c in cells), sum(c.mismatches for c in cells)
    notes = [
        (
            f"{all_values:,} output values compared with the interpreter's, at {len(places)} places: "
            f"{wrong:,} bytes differ. Half of the samples are real ones (or what stands for them in calibration), half "
            "cover the inputs' whole range, extremes included. Inside: the same kernels with the output of every one "
            "of them as an output, so that nothing hides behind the last layer."
        )
    ]
    notes += [f"{c.network} on {c.place.label}: {c.problem}" for c in cells if c.problem]
    if missing:
        notes.append(f"Not installed here: {', '.join(missing)}.")
    return Table("Bytes that differ from the interpreter", ("place", *networks), tuple(rows), tuple(notes))


def judge(cells: Sequence[Cell]) -> list[Bar]:
    """No byte may differ, on at least 20 samples at every place (fewer of a network that shows its inside)."""
    bars = []
    for name in dict.fromkeys(cell.network for cell in cells):
        own = [cell for cell in cells if cell.network == name]
        wrong, failed = sum(c.mismatches for c in own), sum(bool(c.problem) for c in own)
        fewest = min(c.samples for c in own)
        measured = f"{wrong} of {sum(c.values for c in own):,} at {len(own)} places"
        if failed:
            measured += f", {failed} failed"
        enough = fewest >= MIN_SAMPLES or name.endswith(INSIDE)
        bars.append(
            Bar(name, "bytes unlike the interpreter's", measured, "0", enough and all(c.exact for c in own))
        )
    return bars


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return "failed" if cell.problem else f"{cell.mismatches:,}"
