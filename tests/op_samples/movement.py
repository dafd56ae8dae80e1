"""Samples of the operators that move or select elements."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ir import Array
from dnncc.ops.base import Op
from dnncc.ops.expand import Expand
from dnncc.ops.gather import Gather
from dnncc.ops.gather_elements import GatherElements
from dnncc.ops.gather_nd import GatherNd
from dnncc.ops.pad_mirror import MODES, PadMirror
from dnncc.ops.repeat import Repeat
from dnncc.ops.take import Take
from dnncc.ops.tile import Tile

from op_samples.case import Case, Fixed, floats, integers

TYPES = ("int8", "uint8", "int16", "int32", "int64")


def indices(dtype: str, size: int, *shape: int) -> Array:
    """Positions in ``size`` elements, also from the end, and some that lie outside."""
    found = np.random.default_rng([size, *shape]).integers(-size - 2, size + 2, shape, dtype)
    flat = found.reshape(-1)
    flat[:1], flat[1:2] = np.iinfo(dtype).max, np.iinfo(dtype).min
    return found


def vector(*positions: int) -> Fixed:
    return Fixed(np.array(positions, np.int32))


def of_every_type(op: Op, *shape: int) -> Iterator[Case]:
    yield Case(op, [floats(*shape)])
    for dtype in TYPES:
        yield Case(op, [integers(dtype, *shape)])
    yield Case(op, [floats(*shape) > 0])


def gathers() -> Iterator[Case]:
    for dtype in ("int32", "int64", "int8"):
        yield Case(Gather(1), [floats(2, 5, 3), indices(dtype, 5, 4)])
        yield Case(Gather(0), [integers("int8", 7, 3), indices(dtype, 7, 2, 3)])
        yield Case(GatherElements(1), [floats(2, 5, 3), indices(dtype, 5, 2, 4, 2)])
        yield Case(GatherElements(0), [integers("uint8", 6), indices(dtype, 6, 9)])
        yield Case(GatherNd(), [floats(4, 4, 3), indices(dtype, 4, 5, 2)])
        yield Case(GatherNd(1), [integers("int16", 2, 4, 3), indices(dtype, 3, 2, 2)])
    yield Case(Gather(2), [integers("int32", 2, 1, 4), Fixed(np.array(-1))])
    yield Case(Gather(0), [Fixed(integers("int8", 5, 6)), indices("int64", 5, 1, 3)])
    yield Case(GatherNd(), [integers("int64", 3, 2), indices("int64", 2, 2)])
    yield Case(GatherElements(2), [floats(1, 2, 3) > 0, Fixed(np.zeros((1, 2, 2), np.int64))])


def mirrors() -> Iterator[Case]:
    for mode in MODES:
        yield from of_every_type(PadMirror(((0, 0), (1, 2), (0, 1)), mode), 2, 4, 3)
        yield Case(PadMirror(((2, 0), (0, 3)), mode), [integers("int8", 1, 4)])
        yield Case(PadMirror(((7, 9),), mode), [floats(3)])
        yield Case(PadMirror(((0, 0), (1, 1), (1, 1), (0, 0)), mode), [integers("int8", 1, 5, 4, 8)])


def grouped(cases: Iterator[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.op.name, []).append(case)
    return found


def _all() -> Iterator[Case]:
    yield from gathers()
    yield from mirrors()
    yield from of_every_type(Repeat((1, 2, 3)), 2, 3, 2)
    yield Case(Repeat((1, 2, 2, 1)), [integers("int8", 1, 3, 4, 8)])
    yield from of_every_type(Tile((2, 1, 3)), 2, 3, 2)
    yield Case(Tile((4,)), [floats(1)])
    yield from of_every_type(Expand((2, 2, 4, 3)), 2, 1, 3)
    yield Case(Expand((5,)), [floats(1)])
    yield Case(Take((1, 2)), [floats(2, 4, 5), vector(3, 0, 0), vector(4, 1)])
    yield Case(Take((0,)), [integers("uint8", 7, 3), vector(6, 6, 1, 0, 2)])


SAMPLES = grouped(_all())
