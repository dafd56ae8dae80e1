"""Recurrent layers on integers: every option, states and arguments at the ends of their ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.gru_int import GruInt
from dnncc.ops.lstm_int import LstmInt
from dnncc.ops.recurrent_int import RecurrentInt, pack
from dnncc.ops.rnn_int import RnnInt

from op_samples.case import Case, Fixed, integers

KNOTS = ((np.arange(513) << 7) - 32768) * 2.0**-12


def table(values: Array, scale: float) -> Fixed:
    return Fixed(np.clip(np.rint(values / scale), -32768, 32767).astype(np.int16))


SIGMOID = table(1 / (1 + np.exp(-KNOTS)), 2.0**-15)
TANH = table(np.tanh(KNOTS), 2.0**-15)
BYTES = Fixed(np.clip(np.rint(np.tanh(KNOTS) * 100 * 256), -32512, 32512).astype(np.int16))
STEP = Fixed(np.where(KNOTS < 0, 0, 32767).astype(np.int16))


def common(kind: type[RecurrentInt], steps: int, batch: int, units: int) -> list[Any]:
    """x, r, m."""
    rows = kind.gates * units
    factors = integers("int32", rows, bits=27)
    weights = pack(integers("int8", rows, units), kind.gates)
    return [integers("int16", steps, batch, rows), Fixed(weights), Fixed(factors)]


def cell(kind: type[RecurrentInt], batch: int, units: int) -> list[Any]:
    """The operands after m."""
    if kind is RnnInt:
        return [integers("int8", batch, units), BYTES]
    if kind is GruInt:
        return [integers("int16", batch, units), Fixed(integers("int32", units, bits=17)), SIGMOID, TANH]
    peepholes = Fixed(integers("int32", 3 * units, bits=20))
    return [integers("int8", batch, units), integers("int32", batch, units), peepholes, SIGMOID, TANH, TANH]


def cases(kind: type[Any], **options: Any) -> Iterator[Case]:
    for steps, batch, units in ((3, 1, 6), (2, 2, 4), (5, 1, 1), (1, 3, 9)):
        yield Case(kind(shift=22, **options), [*common(kind, steps, batch, units), *cell(kind, batch, units)])
    for more in (
        {"reverse": True},
        {"last": True},
        {"lengths": (1, 4), "reverse": True},
        {"lengths": (3, 2), "last": True},
    ):
        op = kind(shift=32, **more, **options)
        yield Case(op, [*common(kind, 4, 2, 5), *cell(kind, 2, 5)])


def grus() -> Iterator[Case]:
    for linear in (False, True):
        yield from cases(GruInt, h_multiplier=12345678, h_shift=32, linear_before_reset=linear)
    yield Case(GruInt(shift=20), [*common(GruInt, 6, 1, 4), *cell(GruInt, 1, 4)[:2], STEP, TANH])


def lstms() -> Iterator[Case]:
    yield from cases(LstmInt, h_multiplier=257, h_shift=31, cell_result=True)
    yield from cases(LstmInt, h_multiplier=1, h_shift=23, peepholes=True, p_shift=18)
    yield from cases(LstmInt, h_multiplier=1, h_shift=23, coupled=True)


SAMPLES = {"rnn_int": list(cases(RnnInt)), "gru_int": list(grus()), "lstm_int": list(lstms())}
