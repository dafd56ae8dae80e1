"""A stage of a network that runs in parts of the image, and what may be chosen about it.

Two forms, both as rows of pixels that kernels compute one at a time (MCUNetV2, arXiv 2110.15352; StreamNet, NeurIPS
2023):

- "patches": a grid of patches of the stage's output, one after the other. Within a patch layer follows layer; what
  overlaps with the neighbours (the halo) is computed again.
- "rows": every image keeps the last rows that its readers still need, in a rolling buffer, so that rows are computed
  once. A grid of one row and several columns does this in strips, which overlap only sideways.

All sizes are in bytes, all ranges half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["rows", "patches"]
Range = tuple[int, int]
START = -1
"""In a program: a new patch begins, nothing computed so far is kept."""


@dataclass(frozen=True)
class Image:
    """An activation [height, width] of pixels.

    Attributes:
        height, width: in pixels.
        bytes: of one pixel, all channels.
    """

    height: int
    width: int
    bytes: int


@dataclass(frozen=True)
class Window:
    """What output position i reads along one axis: positions ``i * stride - before`` and on, ``extent`` of them."""

    extent: int = 1
    stride: int = 1
    before: int = 0

    def needed(self, outputs: Range) -> Range:
        """The input positions, padding included, for a range of outputs that is not empty."""
        first, last = outputs[0], outputs[1] - 1
        return first * self.stride - self.before, last * self.stride - self.before + self.extent


@dataclass(frozen=True)
class Read:
    """An image that a layer reads, and how. What lies outside the image is padding."""

    image: int
    rows: Window = Window()
    columns: Window = Window()


@dataclass(frozen=True)
class Layer:
    """A kernel that computes its image row by row. Layer i makes image i; without reads it brings in the stage's input.

    Attributes:
        reads: images of earlier layers.
        macs: multiply-accumulates for one pixel.
        workspace: bytes of scratch while a row is computed.
    """

    reads: tuple[Read, ...] = ()
    macs: int = 0
    workspace: int = 0


@dataclass(frozen=True)
class Stage:
    """Layers in execution order; the last one makes the stage's output, which nobody in the stage reads."""

    images: tuple[Image, ...]
    layers: tuple[Layer, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates when every pixel is computed once."""
        return sum(i.height * i.width * k.macs for i, k in zip(self.images, self.layers, strict=True))


@dataclass(frozen=True)
class StagePlan:
    """A stage laid out: what is computed when, and where it lies.

    Attributes:
        form, grid: rows and columns of parts; the form "rows" has one row of parts.
        program: executed once per strip of columns: a layer, whose next row is computed, or START.
        starts: per START in the program, per image, the row (padding counts) that is computed first.
        rows: per image how many rows its buffer holds; what is computed beyond pushes out the oldest. 0 for the output,
            which lies elsewhere.
        columns: per strip and image the columns that are computed.
        offsets: of the image buffers in the workspace.
        scratch: offsets of the layers' own workspaces in it.
        workspace: its size.
        macs: multiply-accumulates, recomputation included.
    """

    form: Form
    grid: tuple[int, int]
    program: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]
    columns: tuple[tuple[Range, ...], ...]
    offsets: tuple[int, ...]
    scratch: tuple[int, ...]
    workspace: int
    macs: int


@dataclass(frozen=True)
class Ending:
    """Where the stage may end.

    Attributes:
        stage: up to there.
        beside: bytes that live beside the workspace while the stage runs: its output, and its input if it takes any.
        rest: peak of everything else, the output included where it lives.
    """

    stage: Stage
    beside: int
    rest: int


@dataclass(frozen=True)
class PatchProblem:
    """Which stage runs in parts, how?

    With a budget the least added work whose peak keeps to it is looked for, and where there is none the least peak;
    without, the least peak. Ties go to the other quantity.

    Attributes:
        endings: the stages to choose from.
        peak: without any stage in parts.
        macs: of the whole network.
        most_added: multiply-accumulates that may be added at most.
        budget: bytes of the peak, or None.
        forms: those to choose from.
        grids: largest number of rows and of columns of parts.
    """

    endings: tuple[Ending, ...]
    peak: int
    macs: int
    most_added: int
    budget: int | None = None
    forms: tuple[Form, ...] = ("rows", "patches")
    grids: tuple[int, int] = (8, 8)


@dataclass(frozen=True)
class PatchSolution:
    """A choice.

    Attributes:
        ending: index of the ending, None where no stage runs in parts.
        plan: of its stage.
        peak: bytes.
        added: multiply-accumulates.
    """

    ending: int | None
    plan: StagePlan | None
    peak: int
    added: int
