"""Samples of reductions, indices of extremes, running sums and normalizations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ops.arg import ArgExtreme, Hardmax
from dnncc.ops.cumulative import CumProd, CumSum
from dnncc.ops.log_softmax import LogSoftmax
from dnncc.ops.lrn import Lrn
from dnncc.ops.normalize import Normalize
from dnncc.ops.reduce import ReduceMax, ReduceMin, ReduceProd, ReduceSum

from op_samples.case import Case, floats, integers

SHAPES: list[tuple[int, ...]] = [(7,), (1,), (3, 5), (2, 3, 4, 5), (2, 1, 3, 1, 4)]
EVERY_TYPE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def reductions() -> Iterator[Case]:
    for shape in SHAPES:
        rank = len(shape)
        for axes in {
            (0,),
            (rank - 1,),
            tuple(range(rank)),
            tuple(range(1, rank)) or (0,),
            tuple(range(0, rank, 2)),
        }:
            for op in (ReduceSum(axes), ReduceProd(axes), ReduceMax(axes), ReduceMin(axes)):
                yield Case(op, [floats(*shape)])
            for op in (ReduceSum(axes), ReduceMax(axes), ReduceMin(axes)):
                yield Case(op, [integers("int8", *shape)])
    for dtype in EVERY_TYPE:
        for op in (ReduceSum((1,), True), ReduceProd((1,)), ReduceMax((1,)), ReduceMin((1,))):
            yield Case(op, [integers(dtype, 3, 7)])
    yield Case(ReduceSum((0, 1)), [integers("int32", 3, 7, bits=26)])
    truth = np.array([[True, False, True], [False, False, False]])
    for op in (ReduceMax((1,)), ReduceMin((1,))):
        yield Case(op, [truth])
        yield Case(op, [np.full((2, 3), np.inf if op.name == "reduce_min" else -np.inf, np.float32)])


def indices() -> Iterator[Case]:
    for shape in SHAPES[:3]:
        for axis in range(len(shape)):
            for largest in (True, False):
                for last in (True, False):
                    yield Case(ArgExtreme(axis, largest, last), [np.rint(floats(*shape))])
                    yield Case(ArgExtreme(axis, largest, last), [integers("int8", *shape) // 64])
            yield Case(Hardmax(axis), [np.rint(floats(*shape))])
            yield Case(Hardmax(axis), [integers("uint8", *shape) // 100])
    yield Case(ArgExtreme(1), [np.rint(floats(2, 3, 4, 5))])
    yield Case(Hardmax(2), [np.rint(floats(2, 3, 4, 5))])
    for dtype in EVERY_TYPE:
        yield Case(ArgExtreme(1), [integers(dtype, 3, 7)])


def running() -> Iterator[Case]:
    for shape in SHAPES[:4]:
        for axis in range(0, len(shape), 2):
            for exclusive in (True, False):
                for reverse in (True, False):
                    yield Case(CumSum(axis, exclusive, reverse), [floats(*shape)])
                    yield Case(CumProd(axis, exclusive, reverse), [floats(*shape)])
                    yield Case(CumSum(axis, exclusive, reverse), [integers("int8", *shape)])
    for dtype in EVERY_TYPE:
        yield Case(CumSum(1, wraps=True), [integers(dtype, 3, 7)])
        yield Case(CumProd(0, wraps=True), [integers(dtype, 3, 7)])


def normalizations() -> Iterator[Case]:
    for shape in SHAPES:
        rank = len(shape)
        for axes in {(0,), (rank - 1,), tuple(range(rank)), tuple(range(1, rank)) or (0,)}:
            for centered in (True, False):
                yield Case(Normalize(axes, 1e-3, centered), [floats(*shape) + np.float32(0.5)])
        for axis in range(rank):
            yield Case(LogSoftmax(axis), [floats(*shape)])
            for size in (2, 5):
                yield Case(Lrn(axis, size, 0.3, 0.75, 1.5), [floats(*shape)])
    yield Case(Normalize((1,), 0.0, False), [np.array([[0, 0, 0], [1, 2, 3]], np.float32)])
    yield Case(LogSoftmax(0), [np.array([0, 100, -100, 99.5, -1e30], np.float32)])


SAMPLES: dict[str, list[Case]] = {}
for case in (*reductions(), *indices(), *running(), *normalizations()):
    SAMPLES.setdefault(case.op.name, []).append(case)
