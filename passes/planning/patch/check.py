"""Whether a plan computes its stage: the program is executed on memory that knows what every byte holds.

Shares no code with `schedule`.
"""

from __future__ import annotations

from dnncc.passes.planning.patch.problem import START, Range, Stage, StagePlan


def check(stage: Stage, plan: StagePlan) -> None:
    """Check that every output pixel is computed once, from rows that are where the program says they are.

    Raises:
        ValueError: the first fault.
    """
    count = len(stage.images)
    if not len(plan.rows) == len(plan.offsets) == len(plan.scratch) == count == len(stage.layers):
        raise ValueError("the plan is not one of this stage")
    total = stage.images[-1].height * stage.images[-1].width
    written: set[tuple[int, int]] = set()
    macs = sum(_Strip(stage, plan, columns, written).run() for columns in plan.columns)
    if len(written) != total:
        raise ValueError(f"{total - len(written)} of {total} pixels of the output are not computed")
    if macs != plan.macs:
        raise ValueError(f"{macs} multiply-accumulates are executed, not {plan.macs}")


class _Strip:
    """One execution of the program. ``memory`` holds per buffer in use the rows that it holds, oldest first."""

    def __init__(
        self, stage: Stage, plan: StagePlan, columns: tuple[Range, ...], written: set[tuple[int, int]]
    ) -> None:
        self.stage, self.plan, self.columns, self.written = stage, plan, columns, written
        self.held: list[list[int]] = [[] for _ in stage.images]
        self.upcoming: list[int] = []
        self.macs = 0

    def run(self) -> int:
        band = 0
        for i in self.plan.program:
            if i == START:
                self.held = [[] for _ in self.stage.images]
                self.upcoming = list(self.plan.starts[band])
                band += 1
            else:
                self._row(i)
        return self.macs

    def _row(self, i: int) -> None:
        image, layer = self.stage.images[i], self.stage.layers[i]
        row = self.upcoming[i]
        self.upcoming[i] += 1
        low, high = self.columns[i]
        if not 0 <= low < high <= image.width:
            raise ValueError(f"columns {low} to {high} of image {i} are none")
        inside = 0 <= row < image.height
        if inside:
            for read in layer.reads:
                self._read(i, read.image, row * read.rows.stride - read.rows.before, read.rows.extent)
                self._columns(i, read.image, read.columns.stride, read.columns.before, read.columns.extent)
            self.macs += (high - low) * layer.macs
        region = self._bytes(i)
        scratch = (self.plan.scratch[i], self.plan.scratch[i] + layer.workspace)
        for _, end in (region, scratch):
            if end > self.plan.workspace:
                raise ValueError(f"layer {i} uses bytes up to {end} of a workspace of {self.plan.workspace}")
        if _meet(region, scratch):
            raise ValueError(f"the scratch of layer {i} lies over its own rows")
        for j, rows in enumerate(self.held):
            # Whatever is overwritten is lost.
            if (
                j != i
                and rows
                and (_meet(region, self._bytes(j)) or (inside and _meet(scratch, self._bytes(j))))
            ):
                if inside and any(read.image == j for read in layer.reads):
                    raise ValueError(f"layer {i} overwrites image {j}, which it reads")
                self.held[j] = []
        if i == len(self.stage.images) - 1:
            for column in range(low, high):
                if not inside or (row, column) in self.written:
                    raise ValueError(f"output pixel ({row}, {column}) is computed twice, or is none")
                self.written.add((row, column))
            return
        self.held[i] = [*self.held[i], row][-self.plan.rows[i] :]

    def _read(self, i: int, j: int, first: int, extent: int) -> None:
        missing = [r for r in range(first, first + extent) if r not in self.held[j]]
        if missing:
            raise ValueError(f"layer {i} reads rows {missing} of image {j}, which are not there")

    def _columns(self, i: int, j: int, stride: int, before: int, extent: int) -> None:
        low, high = self.columns[i]
        first, end = low * stride - before, (high - 1) * stride - before + extent
        have = self.columns[j]
        if max(first, 0) < have[0] or min(end, self.stage.images[j].width) > have[1]:
            raise ValueError(f"layer {i} reads columns {first} to {end} of image {j}, which has {have}")

    def _bytes(self, i: int) -> Range:
        width = max(high - low for low, high in (strip[i] for strip in self.plan.columns))
        size = self.plan.rows[i] * width * self.stage.images[i].bytes
        return self.plan.offsets[i], self.plan.offsets[i] + size


def _meet(a: Range, b: Range) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[0] < a[1] and b[0] < b[1]
