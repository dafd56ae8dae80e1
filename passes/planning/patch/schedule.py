"""One choice of form and grid, laid out: which rows are computed when, how many are kept, where they lie."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dnncc.passes.planning.patch.problem import START, Form, Range, Stage, StagePlan

_ALIGNMENT = 4


@dataclass(frozen=True)
class RowProgram:
    """What is computed when; the same for every strip. See `StagePlan` for `program`, `starts` and `rows`.

    Attributes:
        computed: per layer how many rows of pixels (padding does not count).
        alive: per image a bit for each position of the program at which its buffer holds something that is needed.
        running: per layer a bit for each position at which it runs.
    """

    program: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    computed: tuple[int, ...]
    alive: tuple[int, ...]
    running: tuple[int, ...]


def lay_out(stage: Stage, form: Form, grid: tuple[int, int]) -> StagePlan:
    """The plan of a stage over a grid of (rows, columns) parts of its output; no part is less than a pixel."""
    return lay_out_strips(stage, form, rows_of(stage, form, grid[0]), grid[1])


def rows_of(stage: Stage, form: Form, bands: int) -> RowProgram:
    """The rows of a form, in so many bands of patches."""
    return _rolling(stage) if form == "rows" else _banded(stage, bands)


def lay_out_strips(stage: Stage, form: Form, rows: RowProgram, strips: int) -> StagePlan:
    """The plan of a row program in so many strips of columns."""
    columns = tuple(_ranges(stage, part, rows=False) for part in split(stage.images[-1].width, strips))
    clipped = tuple(
        tuple(_clipped(r, image.width) for r, image in zip(strip, stage.images, strict=True))
        for strip in columns
    )
    sizes = []
    for i, image in enumerate(stage.images):
        width = max(strip[i][1] - strip[i][0] for strip in clipped)
        sizes.append(rows.rows[i] * width * image.bytes)
    buffers = [(size, alive) for size, alive in zip(sizes, rows.alive, strict=True)]
    buffers += [(k.workspace, run) for k, run in zip(stage.layers, rows.running, strict=True)]
    offsets, height = _place(buffers)
    macs = sum(
        (strip[i][1] - strip[i][0]) * rows.computed[i] * layer.macs
        for strip in clipped
        for i, layer in enumerate(stage.layers)
    )
    count = len(stage.images)
    return StagePlan(
        form,
        (len(rows.starts), len(clipped)),
        rows.program,
        rows.starts,
        rows.rows,
        clipped,
        tuple(offsets[:count]),
        tuple(offsets[count:]),
        height,
        macs,
    )


def work(stage: Stage, form: Form, grid: tuple[int, int]) -> int:
    """The multiply-accumulates of a layout."""
    rows = _computed(stage, 1 if form == "rows" else grid[0], True)
    columns = _computed(stage, grid[1], False)
    return sum(r * c * k.macs for r, c, k in zip(rows, columns, stage.layers, strict=True))


@lru_cache(maxsize=32)
def _computed(stage: Stage, parts: int, rows: bool) -> tuple[int, ...]:
    """Per image how many rows (or columns) are computed in all, for so many parts of the output."""
    sizes = [image.height if rows else image.width for image in stage.images]
    counts = [0] * len(sizes)
    for part in split(sizes[-1], parts):
        for i, wanted in enumerate(_ranges(stage, part, rows)):
            first, end = _clipped(wanted, sizes[i])
            counts[i] += end - first
    return tuple(counts)


def split(size: int, parts: int) -> list[Range]:
    """Nearly equal parts of a range, the larger ones first."""
    parts = min(parts, size)
    each, more = divmod(size, parts)
    ends = [each * i + min(i, more) for i in range(parts + 1)]
    return list(itertools.pairwise(ends))


def _clipped(wanted: Range, size: int) -> Range:
    return max(wanted[0], 0), min(wanted[1], size)


def _ranges(stage: Stage, part: Range, rows: bool) -> tuple[Range, ...]:
    """Per image what is needed of it along one axis, padding included, for a part of the output."""
    found: list[Range | None] = [None] * len(stage.images)
    found[-1] = part
    for i in reversed(range(len(stage.layers))):
        wanted = found[i]
        if wanted is None:
            raise ValueError(f"nobody reads image {i}")
        size = stage.images[i].height if rows else stage.images[i].width
        for read in stage.layers[i].reads:
            needed = (read.rows if rows else read.columns).needed(_clipped(wanted, size))
            known = found[read.image]
            joined = needed if known is None else (min(needed[0], known[0]), max(needed[1], known[1]))
            found[read.image] = joined
    return tuple(r for r in found if r is not None)


def _rolling(stage: Stage) -> RowProgram:
    """Rows on demand: each is computed right before the first row that needs it."""
    last = len(stage.images) - 1
    starts = tuple(r[0] for r in _ranges(stage, (0, stage.images[last].height), rows=True))
    upcoming = list(starts)
    program = [START]

    def compute(i: int, until: int) -> None:
        """Compute the rows of image i before row ``until``."""
        while upcoming[i] < until:
            row = upcoming[i]
            if 0 <= row < stage.images[i].height:
                for read in stage.layers[i].reads:
                    compute(read.image, read.rows.needed((row, row + 1))[1])
            program.append(i)
            upcoming[i] += 1

    for row in range(stage.images[last].height):
        compute(last, row + 1)
    return _traced(stage, program, (starts,))


def _banded(stage: Stage, bands: int) -> RowProgram:
    """Band after band, and within a band layer after layer."""
    program = []
    starts = []
    for part in split(stage.images[-1].height, bands):
        ranges = _ranges(stage, part, rows=True)
        starts.append(tuple(first for first, _ in ranges))
        program.append(START)
        for i, (first, end) in enumerate(ranges):
            program += [i] * (end - first)
    return _traced(stage, program, tuple(starts))


def _traced(stage: Stage, program: Sequence[int], starts: tuple[tuple[int, ...], ...]) -> RowProgram:
    """Run a program: when is each row computed and read for the last time, and how many must be kept?"""
    count = len(stage.images)
    made: list[dict[int, int]] = [{} for _ in range(count)]
    alive, running = [0] * count, [0] * count
    computed, rows = [0] * count, [1] * count
    upcoming: list[int] = []
    band = 0
    lives: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]  # row, computed at, read last at
    reads: list[dict[int, int]] = [{} for _ in range(count)]

    def end_band() -> None:
        for i in range(count):
            for row, when in made[i].items():
                lives[i].append((row, when, reads[i].get(row, when)))
            made[i], reads[i] = {}, {}
            rows[i] = max(rows[i], _kept(lives[i]))
            for _, first, last in lives[i]:
                alive[i] |= (1 << last + 1) - (1 << first)
            lives[i] = []

    for position, i in enumerate(program):
        if i == START:
            end_band()
            upcoming = list(starts[band])
            band += 1
            continue
        row = upcoming[i]
        upcoming[i] += 1
        made[i][row] = position
        running[i] |= 1 << position
        if 0 <= row < stage.images[i].height:
            computed[i] += 1
            for read in stage.layers[i].reads:
                first, end = read.rows.needed((row, row + 1))
                for needed in range(first, end):
                    reads[read.image][needed] = position
    end_band()
    rows[-1], alive[-1] = 0, 0
    return RowProgram(tuple(program), starts, tuple(rows), tuple(computed), tuple(alive), tuple(running))


def _kept(lives: Sequence[tuple[int, int, int]]) -> int:
    """The most rows, counted from the oldest one that is still needed, when a row has just been computed or is read.

    Rows are computed in ascending order.
    """
    most = 0
    oldest = 0
    for index, (_, when, _) in enumerate(lives):
        while lives[oldest][2] < when and oldest < index:
            oldest += 1
        most = max(most, index - oldest + 1)
    return most


def _place(buffers: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Offsets of (size, positions of its life) such that what lives together is apart: the best of three first-fits."""
    best: tuple[int, list[int]] | None = None
    sizes = [-(-size // _ALIGNMENT) * _ALIGNMENT for size, _ in buffers]
    lives = [mask.bit_count() for _, mask in buffers]
    for key in (
        lambda i: (-sizes[i], -lives[i]),
        lambda i: (-lives[i], -sizes[i]),
        lambda i: (-sizes[i] * lives[i], -sizes[i]),
    ):
        offsets = _first_fit(sorted(range(len(buffers)), key=key), sizes, [mask for _, mask in buffers])
        height = max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0)
        if best is None or height < best[0]:
            best = height, offsets
    assert best is not None
    return best[1], best[0]


def _first_fit(order: Sequence[int], sizes: Sequence[int], masks: Sequence[int]) -> list[int]:
    offsets = [0] * len(sizes)
    placed: list[int] = []
    for i in order:
        if not sizes[i]:
            continue
        taken = sorted((offsets[j], offsets[j] + sizes[j]) for j in placed if masks[j] & masks[i])
        at = 0
        for low, high in taken:
            if at + sizes[i] <= low:
                break
            at = max(at, high)
        offsets[i] = at
        placed.append(i)
    return offsets
