"""Samples of the elementwise families: functions, activations, arithmetic, bits, comparisons, logic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from dnncc.ir import Array
from dnncc.ops.activation_functions import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Shrink,
    Sigmoid,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
)
from dnncc.ops.base import Op
from dnncc.ops.bits import BitShift, BitwiseAnd, BitwiseNot, BitwiseOr, BitwiseXor
from dnncc.ops.div import Div
from dnncc.ops.extreme import Maximum, Minimum
from dnncc.ops.functions import (
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    Log,
    Reciprocal,
    Round,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
)
from dnncc.ops.logic import And, Equal, IsInf, IsNaN, Less, LessOrEqual, Not, Or, Where, Xor
from dnncc.ops.power import Pow, PowInteger, PowScalar
from dnncc.ops.prelu import PRelu
from dnncc.ops.remainder import Mod
from dnncc.ops.sign import Abs, Neg, Sign

from op_samples.case import Case, Fixed, floats, integers

SHAPES: list[tuple[int, ...]] = [(), (2, 1, 3, 1, 3)]
BROADCASTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3), (2, 3)),
    ((1, 4, 5, 3), (3,)),
    ((1, 4, 5, 3), ()),
    ((), (5,)),
    ((2, 1, 3), (4, 1)),
    ((4, 1), (1, 7)),
    ((1, 4, 1, 3), (1, 4, 5, 3)),
]
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
EVERYWHERE = [
    Exp(),
    Erf(),
    Sin(),
    Cos(),
    Tan(),
    Atan(),
    Sinh(),
    Cosh(),
    Tanh(),
    Asinh(),
    Floor(),
    Ceil(),
    Round(),
]
EVERYWHERE += [Sigmoid(), HardSigmoid(), HardSigmoid(0.5, 0.6), HardSwish(), Swish(), Swish(1.702), Mish()]
EVERYWHERE += [Softplus(), Softsign(), Gelu(), Gelu(True), Elu(), Elu(1.67, 1.0, 1.05), Elu(2.0, 0.5)]
EVERYWHERE += [
    LeakyRelu(),
    LeakyRelu(1.5),
    ThresholdedRelu(),
    ThresholdedRelu(-0.5),
    Shrink(),
    Shrink(1.5, 1.5),
]
SPREAD = np.concatenate([np.linspace(-12, 12, 481), np.array([0.0, 1e-6, -1e-6, 1e-30, 40.0, -40.0])])


def real_functions() -> Iterator[Case]:
    for op in EVERYWHERE:
        yield Case(op, [SPREAD.astype(np.float32)])
        for shape in SHAPES:
            yield Case(op, [floats(*shape)])
    positive, unit = np.abs(SPREAD).astype(np.float32) + np.float32(1e-3), np.linspace(-1, 1, 401)
    for op in (Log(), Sqrt(), Reciprocal(), PowScalar(1.7), PowScalar(-0.3)):
        yield Case(op, [positive])
        yield Case(op, [np.abs(floats(3, 1, 5))])
    for op in (Asin(), Acos(), Atanh()):
        yield Case(op, [(unit * 0.999).astype(np.float32)])
    yield Case(Acosh(), [positive + 1])
    for exponent in (2.0, 3.0, -2.0):
        yield Case(PowScalar(exponent), [SPREAD[np.abs(SPREAD) > 0.01].astype(np.float32)])


def pairs(op: Op) -> Iterator[Case]:
    for a, b in BROADCASTS:
        yield Case(op, [floats(*a), floats(*b)])
        yield Case(op, [floats(*a), Fixed(floats(*b))])


def integer_pairs(op: Op, dtypes: Sequence[str]) -> Iterator[Case]:
    for dtype in dtypes:
        yield Case(op, [integers(dtype, 5, 7), integers(dtype, 1, 7)[:, ::-1].copy()])
        yield Case(op, [integers(dtype, 7), Fixed(integers(dtype, 2, 1))])
        small = np.arange(-3, 4).astype(dtype)
        yield Case(op, [np.repeat(small, 7), np.tile(small, 7)])


def booleans(*shape: int) -> Array:
    return np.random.default_rng([3, *shape]).integers(0, 2, shape).astype(np.bool_)


def arithmetic() -> Iterator[Case]:
    for op in (Div(), Minimum(), Maximum(), Mod()):
        yield from pairs(op)
        yield from integer_pairs(op, (*SIGNED, *UNSIGNED))
    yield from integer_pairs(Mod(False), (*SIGNED, *UNSIGNED))
    for op in (BitwiseAnd(), BitwiseOr(), BitwiseXor()):
        yield from integer_pairs(op, (*SIGNED, *UNSIGNED))
    for left in (True, False):
        for dtype in UNSIGNED:
            bits = np.arange(np.iinfo(dtype).bits + 3).astype(dtype)
            yield Case(BitShift(left), [integers(dtype, 5, 1), bits])
            yield Case(BitShift(left), [integers(dtype, 5, 4), Fixed(np.array(3, dtype))])
    for dtype in (*SIGNED, *UNSIGNED):
        for op in (Abs(), Sign(), BitwiseNot(), PowInteger(3), PowInteger(0), PowInteger(10)):
            yield Case(op, [integers(dtype, 3, 7)])
        yield Case(Sign(), [np.arange(-3, 4).astype(dtype)])
    for dtype in SIGNED:
        yield Case(Neg(), [integers(dtype, 3, 7)])
    for op in (Abs(), Neg(), Sign()):
        yield Case(op, [np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf], np.float32)])
        for shape in SHAPES:
            yield Case(op, [floats(*shape)])
    for a, b in BROADCASTS:
        yield Case(Pow(), [np.abs(floats(*a)), floats(*b)])
    yield Case(PRelu(), [floats(2, 3, 4), floats(3, 1)])
    yield Case(PRelu(), [floats(1, 4, 4, 3), Fixed(floats(3))])
    yield Case(PRelu(), [floats(5), floats(1)])


def logic() -> Iterator[Case]:
    for op in (Equal(), Less(), LessOrEqual()):
        for a, b in BROADCASTS:
            yield Case(op, [np.rint(floats(*a)), np.rint(floats(*b))])
        yield from integer_pairs(op, (*SIGNED, *UNSIGNED))
    yield Case(Equal(), [booleans(4, 5), booleans(5)])
    for op in (And(), Or(), Xor()):
        for a, b in BROADCASTS:
            yield Case(op, [booleans(*a), booleans(*b)])
        yield Case(op, [booleans(4, 5), Fixed(booleans(5))])
    for shape in SHAPES:
        yield Case(Not(), [booleans(*shape)])
    special = np.array([0, 1, np.nan, np.inf, -np.inf, -1, 3.4e38, -3.4e38], np.float32)
    yield Case(IsNaN(), [special])
    for negative in (True, False):
        for positive in (True, False):
            yield Case(IsInf(negative, positive), [special])
    for a, b in BROADCASTS:
        yield Case(Where(), [booleans(*a), floats(*b), floats(*a)])
        yield Case(Where(), [booleans(*b), integers("int8", *a), Fixed(integers("int8", *b))])
    for dtype in (*SIGNED, *UNSIGNED):
        yield Case(Where(), [booleans(4, 5), integers(dtype, 4, 1), integers(dtype, 5)])
    yield Case(Where(), [booleans(4, 5), booleans(4, 1), booleans(5)])
    yield Case(Where(), [Fixed(booleans(5)), floats(4, 5), floats(5)])


SAMPLES: dict[str, list[Case]] = {}
for case in (*real_functions(), *arithmetic(), *logic()):
    SAMPLES.setdefault(case.op.name, []).append(case)
