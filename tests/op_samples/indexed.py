"""Samples of the operators with explicit loops: scattering, ranking, boxes, sampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ir import Array
from dnncc.ops.col2im import Col2im
from dnncc.ops.grid_sample import PADDINGS, TAPS, GridSample
from dnncc.ops.max_unpool import MaxUnpool
from dnncc.ops.non_max_suppression import NonMaxSuppression
from dnncc.ops.one_hot import OneHot
from dnncc.ops.resample import Resample
from dnncc.ops.reverse_sequence import ReverseSequence
from dnncc.ops.roi_align import RoiAlign
from dnncc.ops.scatter import REDUCTIONS
from dnncc.ops.scatter_elements import ScatterElements
from dnncc.ops.scatter_nd import ScatterNd
from dnncc.ops.top_k import TopK
from dnncc.ops.trilu import Trilu

from op_samples.case import Case, Fixed, floats, integers
from op_samples.movement import grouped, indices, of_every_type


def scatters() -> Iterator[Case]:
    for reduction in REDUCTIONS:
        bits = 2 if reduction == "mul" else 6
        for op in (ScatterElements(reduction, 1), ScatterNd(reduction)):
            for dtype in ("int32", "int64"):
                where = (
                    indices(dtype, 4, 2, 3, 5) if op.name == "scatter_elements" else indices(dtype, 4, 3, 2)
                )
                updates = (2, 3, 5) if op.name == "scatter_elements" else (3, 5)
                yield Case(op, [floats(2, 4, 5), where, floats(*updates)])
                small = [integers(d, *s, bits=bits) for d in ("int8", "int32") for s in ((2, 4, 5), updates)]
                yield Case(op, [small[0], where, small[1]])
                yield Case(op, [small[2], where, small[3]])
    yield Case(ScatterElements(), [floats(2, 3) > 0, Fixed(np.array([[0], [1]])), floats(2, 1) > 0])
    yield Case(ScatterNd(), [floats(4), indices("int8", 4, 1), floats()])


def ranks() -> Iterator[Case]:
    for largest in (True, False):
        yield Case(TopK(1, 3, largest), [floats(2, 7, 2)])
        for dtype in ("int8", "uint8", "int16", "int32", "int64"):
            yield Case(TopK(0, 4, largest), [integers(dtype, 9)])
        yield Case(TopK(1, 5, largest), [integers("int8", 3, 12, bits=2)])
        yield Case(TopK(0, 6, largest), [np.zeros((6, 2), np.float32)])


def boxes(dtype: str, batches: int, count: int, center: bool) -> Array:
    rng = np.random.default_rng(count)
    corner = rng.integers(0, 60, (batches, count, 2))
    other = rng.integers(1, 40, (batches, count, 2)) + (0 if center else corner)
    return np.concatenate([corner, other], 2).astype(dtype)


def detections() -> Iterator[Case]:
    for center in (False, True):
        for score in (None, 3):
            for dtype in ("float32", "int8", "uint8", "int16"):
                given = np.random.default_rng(1).integers(-9, 9, (2, 3, 11)).astype(np.int8)
                scores = given.astype(np.float32) if dtype == "float32" else given
                op = NonMaxSuppression(4, 20, 0.3, score, center)
                yield Case(op, [boxes(dtype, 2, 11, center), scores])
    flipped = boxes("float32", 1, 9, False)[..., [2, 3, 0, 1]]
    yield Case(NonMaxSuppression(9, 3, 0.0), [flipped, floats(1, 1, 9)])
    yield Case(NonMaxSuppression(2, 2, 0.5), [np.full((1, 5, 4), 7, np.float32), floats(1, 1, 5)])


def grids() -> Iterator[Case]:
    for mode in TAPS:
        for padding in PADDINGS:
            for align in (False, True):
                op = GridSample(mode, padding, align)
                yield Case(op, [floats(2, 3, 4, 5), floats(2, 3, 2, 2)])
                yield Case(op, [floats(1, 2, 3, 2, 4), floats(1, 2, 1, 3, 3)])
    wild = np.array([0.25, np.inf, -np.inf, 1e30, -1e30, 1, -1, 0], np.float32).reshape(1, 2, 2, 2)
    yield Case(GridSample("nearest", "border"), [floats(1, 1, 3, 1), wild])


def regions() -> Iterator[Case]:
    box = np.array([[1, 2, 9, 8], [-3, -3, 20, 4], [5, 5, 5, 5], [40, 40, 60, 60]], np.float32)
    for half in (False, True):
        for largest in (False, True):
            for samples in (0, 2):
                op = RoiAlign((3, 2), 0.5, samples, half, largest)
                yield Case(op, [floats(2, 3, 6, 5), box, np.array([0, 1, -1, 7])])


def columns() -> Iterator[Case]:
    yield Case(Col2im((5, 5), (1, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)), [floats(1, 5, 5)])
    op = Col2im((6, 5), (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 2))
    yield Case(op, [floats(2, 12, 15)])
    yield Case(op, [integers("int32", 2, 12, 15, bits=20)])
    yield Case(Col2im((3, 4, 2), (2, 2, 1), (1, 2, 1), ((0, 0),) * 3, (1, 1, 1)), [floats(1, 8, 8)])


def taps(kind: str, size: int, result: int, width: int) -> list[Fixed]:
    rng = np.random.default_rng(size)
    first = np.sort(rng.integers(0, size - width + 1, result)).astype(np.int32)
    weights = rng.integers(-60, 100, (result, width)).astype(np.int32)
    return [
        Fixed(first),
        Fixed(weights if kind == "integer" else weights.astype(np.float32) / np.float32(64)),
    ]


def resamples() -> Iterator[Case]:
    for kind, x in (("float", floats(2, 5, 6, 3)), ("integer", integers("int8", 2, 5, 6, 3))):
        yield Case(Resample((1, 2)), [x, *taps(kind, 5, 8, 2), *taps(kind, 6, 4, 4)])
        yield Case(Resample((3,)), [x, *taps(kind, 3, 5, 1)])
        yield Case(Resample((0, 1, 2)), [x, *taps(kind, 2, 3, 2), *taps(kind, 5, 2, 3), *taps(kind, 6, 6, 2)])
    yield Case(Resample((1,)), [integers("uint8", 3, 9), *taps("integer", 9, 17, 2)])


def _all() -> Iterator[Case]:
    yield from scatters()
    yield from ranks()
    yield from detections()
    yield from grids()
    yield from regions()
    yield from columns()
    yield from resamples()
    for upper in (True, False):
        for k in (0, 1, -2, 7):
            yield from of_every_type(Trilu(upper, k), 2, 3, 4)
    for dtype in ("int32", "int64", "uint8"):
        lengths = np.array([3, 0, 5, 1], dtype)
        yield Case(ReverseSequence(1, 0), [floats(5, 4, 2), lengths])
        yield Case(ReverseSequence(0, 2), [integers("int8", 4, 2, 5), lengths])
        yield Case(OneHot(4, 1), [lengths.reshape(2, 2), floats(2)])
        yield Case(OneHot(3, 0), [lengths, Fixed(integers("int8", 2))])
    yield Case(ReverseSequence(0, 1), [integers("int64", 4, 3), indices("int64", 3, 4)])
    yield Case(OneHot(5, 1), [indices("int64", 5, 6), np.array([0, 1], np.int32)])
    yield Case(MaxUnpool((1, 2, 4, 5)), [floats(1, 2, 2, 2), indices("int64", 40, 1, 2, 2, 2)])
    yield Case(MaxUnpool((9,)), [integers("int8", 3), indices("int32", 9, 3)])


SAMPLES = grouped(_all())
