"""Samples of every operator that has code: legal types, awkward shapes, values at the ends of their ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from dnncc.ir import DType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import Op
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.cast import Cast
from dnncc.ops.clip import Clip
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.copy import Copy
from dnncc.ops.dequantize import Dequantize
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.quantize import Quantize
from dnncc.ops.relu import Relu
from dnncc.ops.requantize import Requantize
from dnncc.ops.slice import Slice
from dnncc.ops.softmax import Softmax
from dnncc.ops.softmax_int import SoftmaxInt, exponential_table
from dnncc.ops.sub import Sub
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.transpose import Transpose
from op_samples import further_samples
from op_samples.case import Case, Fixed, floats, integers

# -- samples of each operator ------------------------------------------------------------------------------------------

SHAPES: list[tuple[int, ...]] = [(7,), (1,), (), (1, 5), (3, 1, 5), (1, 4, 3, 2), (2, 1, 3, 1, 3)]
BROADCASTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3), (2, 3)),
    ((1, 4, 5, 3), (3,)),
    ((1, 4, 5, 3), ()),
    ((), (5,)),
    ((2, 1, 3), (4, 1)),
    ((4, 1), (1, 7)),
    ((1, 4, 5, 3), (1, 1, 1, 3)),
    ((1, 1, 5, 1), (1, 4, 5, 3)),
    ((1, 4, 1, 3), (1, 4, 5, 3)),
    ((2, 1, 2, 1, 3), (1, 3, 1, 2, 1)),
]
EVERY_TYPE = ("int8", "uint8", "int16", "int32")


def binary(op: Add | Sub | Mul) -> Iterator[Case]:
    bits = 15 if op.name == "mul" else 31
    for a, b in BROADCASTS:
        yield Case(op, [floats(*a), floats(*b)])
        yield Case(op, [integers("int32", *a, bits=bits), integers("int32", *b, bits=bits)])
        yield Case(op, [floats(*a), Fixed(floats(*b))])
        yield Case(op, [Fixed(integers("int32", *a, bits=bits)), integers("int32", *b, bits=bits)])
    yield Case(op, [integers("int64", 2, 3, bits=2 * bits), integers("int64", 3, bits=2 * bits)])
    for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        yield Case(type(op)(wraps=True), [integers(dtype, 5, 7), integers(dtype, 7)])
        yield Case(type(op)(wraps=True), [integers(dtype, 5, 1), Fixed(integers(dtype, 7)[::-1].copy())])


def of_every_shape_and_type(op: Op) -> Iterator[Case]:
    for shape in SHAPES:
        yield Case(op, [floats(*shape)])
        yield Case(op, [integers("int8", *shape)])
    for dtype in EVERY_TYPE:
        yield Case(op, [integers(dtype, 2, 3, 5)])


def clips() -> Iterator[Case]:
    yield from of_every_shape_and_type(Clip(1, 6))
    yield from of_every_shape_and_type(Clip(hi=3))
    yield from of_every_shape_and_type(Clip(lo=2))
    yield Case(Clip(-0.5, 0.25), [floats(11)])
    yield Case(Clip(-(2**31), 2**31 - 1), [integers("int32", 11)])
    yield Case(Clip(-128, 127), [integers("int8", 11)])
    yield Case(Clip(float("-inf"), 0.1), [floats(11)])


def casts() -> Iterator[Case]:
    for source in EVERY_TYPE:
        for target in (DType.F32, DType.F64, DType.I8, DType.U8, DType.I16, DType.I32, DType.I64, DType.BOOL):
            yield Case(Cast(target), [integers(source, 3, 4).astype("int64").clip(0, 127).astype(source)])
    for target in (DType.F64, DType.I8, DType.I16, DType.I32, DType.I64, DType.BOOL):
        yield Case(Cast(target), [floats(3, 4)])
    beyond = np.array(
        [np.nan, np.inf, -np.inf, 3e38, -3e38, -0.5, 255.9, 2.0**31, 2.0**63, -(2.0**31)], np.float32
    )
    for target in DType:
        if target.is_integer:
            yield Case(Cast(target, wraps=True), [beyond])
            for source in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
                yield Case(Cast(target, wraps=True), [integers(source, 3, 4)])
    yield Case(Cast(DType.BOOL), [integers("int32", 3) & ~255])
    yield Case(Cast(DType.F32), [integers("int32", 3, 4)])
    yield Case(Cast(DType.I32), [np.array([[True, False]])])


def requantizations() -> Iterator[Case]:
    x = np.concatenate([integers("int32", 61), np.array([0, 1, -1, 2**30, -(2**30), 3, -3], np.int32)])
    scalars = [1, -1, 3, 77_777, 2**31 - 1, -(2**31)]
    for shift in range(63):
        for number, multiplier in enumerate(scalars):
            dtype = (DType.I8, DType.U8, DType.I16, DType.I32)[(shift + number) % 4]
            yield Case(Requantize(dtype, shift), [x, Fixed(np.array(multiplier, np.int32))])
        per_channel = np.array([1, -5, 2**31 - 1, 1 << 16], np.int32)
        yield Case(Requantize(DType.I8, shift), [x.reshape(1, -1, 1, 4), Fixed(per_channel)])
    for source in ("int8", "uint8", "int16"):
        x = integers(source, 2, 3, 4)
        for shift in (0, 1, 7, 15, 22, 31, 32, 40):
            yield Case(Requantize(DType.I8, shift), [x, Fixed(np.array(1 << 14, np.int32))])
            yield Case(Requantize(DType.I32, shift), [x, Fixed(np.array(-12345, np.int32))])
            yield Case(Requantize(DType.U8, shift), [x, Fixed(integers("int32", 4))])
    for dtype in (DType.I8, DType.U8, DType.I16, DType.I32):
        ends = {None, 0, 3, dtype.min, dtype.max, dtype.max // 2}
        for lo in ends:
            for hi in ends:
                if (lo if lo is not None else dtype.min) <= (hi if hi is not None else dtype.max):
                    for shift in (10, 32, 33):
                        op = Requantize(dtype, shift, lo=lo, hi=hi)
                        yield Case(op, [integers("int32", 40), Fixed(np.array(1 << 25, np.int32))])
    # A multiplier per channel that is no vector, of one element, and one that is not known.
    yield Case(Requantize(DType.I8, 20), [integers("int32", 2, 3, 4), Fixed(integers("int32", 3, 1))])
    yield Case(Requantize(DType.I8, 20), [integers("int32", 2, 3, 4), Fixed(integers("int32", 1, 1, 1))])
    yield Case(Requantize(DType.I8, 40), [integers("int32", 2, 3, 4), integers("int32", 4)])
    for m, shift in ((1, 0), (1, 3), (1 << 14, 20), (1 << 20, 32), (-(1 << 29), 40)):
        one = Fixed(np.array(m, np.int32))
        for zero in (-128, 117, -(1 << 31) + 1, (1 << 31) - 1):
            for dtype in (DType.I8, DType.U8, DType.I16, DType.I32):
                op = Requantize(dtype, shift, zero_point=zero)
                yield Case(op, [integers("int32", 30), one])
                yield Case(op, [integers("uint8", 30), one])
        for rounding in ("half_up", "half_even"):
            op = Requantize(DType.I8, shift, rounding, lo=-100, zero_point=3)
            yield Case(op, [np.arange(-99, 99).astype(np.int32), one])


def pools(*kinds: Any, dtypes: Sequence[str]) -> Iterator[Case]:
    windows: list[tuple[tuple[int, int, int, int], tuple[Any, ...]]] = [
        ((1, 6, 8, 3), ((2, 2), (2, 2))),
        ((2, 5, 7, 1), ((3, 2), (1, 2), (1, 0, 2, 1))),
        ((1, 6, 7, 2), ((6, 7),)),
        ((1, 7, 7, 2), ((2, 3), (2, 1), (2, 1, 1, 0), (3, 2))),
        ((1, 5, 5, 4), ((3, 3), (1, 1), (1, 1, 1, 1))),
        ((1, 5, 5, 4), ((3, 3), (2, 2), (0, 0, 1, 1))),
        ((1, 1, 1, 5), ((1, 1),)),
        ((1, 1, 9, 4), ((1, 4), (1, 3), (0, 2, 0, 1))),
        ((1, 20, 20, 2), ((20, 20),)),
        ((3, 4, 1, 2), ((2, 1), (3, 1))),
    ]
    for shape, window in windows:
        for kind in kinds:
            for dtype in dtypes:
                yield Case(
                    kind(*window),
                    [floats(*shape) if dtype == "float32" else integers(dtype, *shape, bits=20)],
                )


def average_pools() -> Iterator[Case]:
    yield from pools(AveragePool2d, dtypes=["float32"])
    yield Case(AveragePool2d((3, 2), (2, 2), (1, 0, 1, 1), (1, 1), True), [floats(1, 5, 5, 2)])


def convolutions() -> Iterator[Case]:
    samples: list[tuple[Conv2d, tuple[int, ...], tuple[int, ...]]] = [
        (Conv2d(), (1, 4, 5, 3), (2, 1, 1, 3)),
        (Conv2d((2, 1), (1, 0, 2, 1), (1, 2)), (2, 5, 7, 2), (3, 3, 2, 2)),
        (Conv2d((1, 2), (1, 1, 1, 1), (1, 1), 4), (1, 5, 5, 4), (4, 3, 3, 1)),
        (Conv2d((1, 1), (0, 2, 0, 0), (2, 1), 2), (1, 6, 4, 4), (6, 2, 3, 2)),
        (Conv2d((2, 2), (2, 2, 2, 2), (1, 1), 3), (1, 6, 5, 3), (6, 5, 5, 1)),
        (Conv2d(), (1, 1, 1, 1), (1, 1, 1, 1)),
        (Conv2d(), (1, 3, 3, 70), (1, 3, 3, 70)),
    ]
    for op, image, weights in samples:
        x, w, b = floats(*image), floats(*weights), floats(weights[0])
        yield Case(op, [x, Fixed(w), Fixed(b)])
        yield Case(op, [x, w, b])
        w, b = integers("int8", *weights), integers("int32", weights[0], bits=20)
        for dtype in ("int8", "uint8", "int16"):
            yield Case(op, [integers(dtype, *image), Fixed(w), Fixed(b)])
        yield Case(op, [integers("int8", *image), w, b])


def linears() -> Iterator[Case]:
    for shape in ((6,), (1, 6), (2, 3, 6), (1, 1, 1, 300), (5, 1)):
        k = shape[-1]
        yield Case(Linear(), [floats(*shape), Fixed(floats(4, k)), Fixed(floats(4))])
        yield Case(Linear(), [floats(*shape), floats(4, k), floats(4)])
        for dtype in ("int8", "uint8", "int16"):
            w, b = integers("int8", 3, k), integers("int32", 3, bits=24)
            yield Case(Linear(), [integers(dtype, *shape), Fixed(w), Fixed(b)])
        yield Case(
            Linear(), [integers("int8", *shape), integers("int8", 3, k), integers("int32", 3, bits=24)]
        )


def products() -> Iterator[Case]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3, 4), (4, 5)),
        ((1, 1), (1, 1)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((3, 4), (2, 4, 1)),
        ((2, 1, 4), (1, 4, 1)),
        ((1, 300), (300, 2)),
        ((2, 1, 2, 3, 4), (2, 1, 4, 3)),
    ]
    for a, b in shapes:
        yield Case(Matmul(), [floats(*a), floats(*b)])
        yield Case(Matmul(), [integers("int8", *a), integers("int8", *b)])
        yield Case(Matmul(), [integers("uint8", *a), integers("int16", *b, bits=12)])
        yield Case(Matmul(), [integers("int8", *a), Fixed(integers("int8", *b))])
        yield Case(Matmul(), [Fixed(floats(*a)), floats(*b)])


def concatenations() -> Iterator[Case]:
    for rank in range(1, 6):
        shape = (2, 3, 1, 4, 2)[:rank]
        for axis in range(rank):
            sizes = (3, 1, 2, 1)
            parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
            yield Case(Concat(axis), [floats(*p) for p in parts[:3]])
            yield Case(Concat(axis), [integers("int8", *p) for p in parts])
            yield Case(Concat(axis), [integers("uint8", *parts[0]), Fixed(integers("uint8", *parts[2]))])
            yield Case(Concat(axis), [integers("int16", *parts[0])])
    big = integers("uint8", 1, 6, 6, 24)
    yield Case(Concat(3), [big[..., :16], big[..., :8].copy(), big])
    x = floats(2, 3)
    yield Case(Concat(1), [x, x])


def pads() -> Iterator[Case]:
    for shape in SHAPES:
        for amounts in (((1, 2),) * len(shape), ((0, 1),) * len(shape), ((0, 0),) * len(shape)):
            yield Case(Pad(amounts, -1.5), [floats(*shape)])
            yield Case(Pad(amounts, -128), [integers("int8", *shape)])
    for dtype in EVERY_TYPE:
        yield Case(Pad(((0, 0), (2, 1), (0, 3), (0, 0)), 0), [integers(dtype, 1, 4, 5, 3)])
        yield Case(Pad(((1, 0), (0, 0), (0, 0), (1, 4)), 7), [integers(dtype, 1, 4, 5, 3)])
    yield Case(Pad(((1, 1), (0, 2)), float("-inf")), [floats(3, 2)])
    yield Case(Pad(((1, 1),), float("nan")), [floats(3)])
    yield Case(Pad(((1, 1),), float("inf")), [floats(3)])


def transposes() -> Iterator[Case]:
    perms: list[tuple[int, ...]] = [
        (0,),
        (1, 0),
        (0, 1),
        (2, 1, 0),
        (1, 2, 0),
        (0, 2, 1),
        (0, 2, 3, 1),
        (0, 3, 1, 2),
    ]
    perms += [(3, 2, 1, 0), (1, 0, 2, 3), (0, 2, 1, 3, 4), (4, 3, 2, 1, 0), (0, 1, 4, 2, 3), (2, 0, 1, 4, 3)]
    for perm in perms:
        for sizes in ((2, 3, 4, 5, 2), (1, 1, 6, 1, 3)):
            shape = sizes[: len(perm)]
            yield Case(Transpose(perm), [floats(*shape)])
            yield Case(Transpose(perm), [integers("int8", *shape)])
    for dtype in EVERY_TYPE:
        yield Case(Transpose((1, 0)), [integers(dtype, 5, 7)])


def slices() -> Iterator[Case]:
    samples = [
        ((9,), (2,), (8,), (3,)),
        ((9,), (8,), (9,), (5,)),
        ((4, 6), (1, 0), (4, 6), (2, 1)),
        ((2, 3, 5), (1, 0, 1), (2, 3, 5), (1, 2, 2)),
        ((1, 6, 5, 4), (0, 1, 0, 0), (1, 6, 5, 4), (1, 2, 2, 1)),
        ((1, 6, 5, 4), (0, 0, 0, 2), (1, 6, 5, 4), (1, 1, 1, 1)),
        ((2, 1, 3, 4, 2), (0, 0, 1, 0, 1), (2, 1, 2, 4, 2), (1, 1, 1, 3, 1)),
        ((6,), (5,), (-1,), (-1,)),
        ((2, 5, 3), (1, 4, 0), (2, -1, 3), (1, -2, 2)),
        ((2, 5, 3), (1, 3, 2), (-1, 0, -1), (-1, -2, -1)),
    ]
    for shape, starts, stops, steps in samples:
        yield Case(Slice(starts, stops, steps), [floats(*shape)])
        for dtype in EVERY_TYPE:
            yield Case(Slice(starts, stops, steps), [integers(dtype, *shape)])


def softmaxes() -> Iterator[Case]:
    for shape in ((1, 12), (5,), (1,), (3, 4, 5), (1, 2, 1, 3, 2)):
        for axis in range(len(shape)):
            yield Case(Softmax(axis), [floats(*shape)])
    yield Case(Softmax(0), [np.array([0, 100, -100, 99.5, -1e30], np.float32)])
    yield Case(Softmax(1), [np.full((2, 3), -3e38, np.float32)])


def integer_softmaxes() -> Iterator[Case]:
    for shape in ((1, 12), (5,), (1,), (3, 4, 5), (1, 2, 1, 3, 2), (2, 2048), (300, 2)):
        for axis in range(len(shape)):
            for x in (
                integers("int8", *shape),
                integers("uint8", *shape),
                integers("int16", *shape, bits=12),
            ):
                for scale, entries in ((0.05, 256), (0.5, 17), (1e-6, 1)):
                    table = Fixed(exponential_table(scale, entries, shape[axis]))
                    dtype = DType.U8 if x.dtype == np.uint8 else DType.I8
                    yield Case(SoftmaxInt(axis, dtype), [x, table])


def batch_norms() -> Iterator[Case]:
    for shape in ((3, 4, 5), (1, 4, 4, 3), (1, 6)):
        for axis in range(len(shape)):
            c = shape[axis]
            parameters = [floats(c), floats(c), floats(c), np.abs(floats(c))]
            yield Case(BatchNorm(1e-3, axis), [floats(*shape), *map(Fixed, parameters)])
            yield Case(BatchNorm(1e-3, axis), [floats(*shape), *parameters])


def quantizations() -> Iterator[Case]:
    halves = np.arange(-300, 300, 0.25, np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-30], np.float32)
    for dtype in (DType.I8, DType.U8):
        for scale, zero_point in ((1.0, 0), (0.5, 3), (0.0371, 100), (3e-39, 0), (1e30, 0)):
            for x in (halves, special, floats(2, 3, 4)):
                yield Case(Quantize(dtype, scale, zero_point), [x])
    yield Case(Quantize(DType.I8, 0.1, -128), [halves])


def dequantizations() -> Iterator[Case]:
    for dtype in ("int8", "uint8", "int16"):
        for scale in (1.0, 0.037, 1e-30, 1e30):
            yield Case(Dequantize(scale), [integers(dtype, 2, 3, 5)])


_SAMPLES: dict[str, Iterator[Case]] = {
    "add": binary(Add()),
    "sub": binary(Sub()),
    "mul": binary(Mul()),
    "relu": of_every_shape_and_type(Relu()),
    "copy": of_every_shape_and_type(Copy()),
    "clip": clips(),
    "cast": casts(),
    "requantize": requantizations(),
    "max_pool2d": pools(MaxPool2d, dtypes=["float32", *EVERY_TYPE]),
    "sum_pool2d": pools(SumPool2d, dtypes=EVERY_TYPE),
    "average_pool2d": average_pools(),
    "conv2d": convolutions(),
    "linear": linears(),
    "matmul": products(),
    "concat": concatenations(),
    "pad": pads(),
    "transpose": transposes(),
    "slice": slices(),
    "softmax": softmaxes(),
    "softmax_int": integer_softmaxes(),
    "batch_norm": batch_norms(),
    "quantize": quantizations(),
    "dequantize": dequantizations(),
}
SAMPLES = {name: list(cases) for name, cases in _SAMPLES.items()} | further_samples()
