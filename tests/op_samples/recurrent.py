"""Recurrent layers: directions, lengths, functions, every option of the cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from dnncc.ir.types import Array
from dnncc.ops.gru import Gru
from dnncc.ops.lstm import Lstm
from dnncc.ops.recurrent import Recurrent
from dnncc.ops.rnn import Rnn

from op_samples.case import Case, Fixed, floats


def operands(
    kind: type[Recurrent], steps: int, batch: int, units: int, extra: Array | None = None
) -> list[Any]:
    """Small random operands, the weights constant."""
    rows = kind.gates * units
    state = np.tanh(floats(batch, units))
    found: list[Any] = [
        floats(steps, batch, rows) * np.float32(0.5),
        Fixed(floats(rows, units) * np.float32(0.3)),
        state,
    ]
    if kind is Lstm:
        found.append(floats(batch, units + 0) * np.float32(0.7))
    return found if extra is None else [*found, Fixed(extra)]


def cases(kind: type[Any]) -> Iterator[Case]:
    for steps, batch, units in ((4, 1, 5), (1, 2, 3), (6, 3, 1)):
        yield Case(kind(), operands(kind, steps, batch, units))
        yield Case(kind(last=True), operands(kind, steps, batch, units))
    yield Case(kind(reverse=True, clip=0.5), operands(kind, 5, 2, 4))
    yield Case(kind(lengths=(2, 4)), operands(kind, 4, 2, 3))
    yield Case(kind(lengths=(1, 3), reverse=True, last=True), operands(kind, 4, 2, 3))


FUNCTIONS = [
    (("hardsigmoid", 0.2, 0.5), ("relu", 0.0, 0.0), ("softsign", 0.0, 0.0)),
    (("affine", 0.3, 0.1), ("leakyrelu", 0.1, 0.0), ("elu", 0.7, 0.0)),
    (("sigmoid", 0.0, 0.0), ("scaledtanh", 0.8, 0.6), ("thresholdedrelu", 0.2, 0.0)),
]


def functions(count: int) -> Iterator[dict[str, Any]]:
    for chosen in FUNCTIONS:
        names, alphas, betas = zip(*chosen[:count], strict=True)
        yield {"functions": names, "alphas": alphas, "betas": betas}


def rnns() -> Iterator[Case]:
    yield from cases(Rnn)
    for f in FUNCTIONS:
        for name, alpha, beta in f:
            op = Rnn(functions=(name,), alphas=(alpha,), betas=(beta,))
            yield Case(op, operands(Rnn, 3, 1, 4))


def grus() -> Iterator[Case]:
    yield from cases(Gru)
    for f in functions(2):
        yield Case(Gru(**f), operands(Gru, 3, 1, 4))
    bias = floats(4)
    yield Case(Gru(linear_before_reset=True), operands(Gru, 5, 2, 4, bias))
    yield Case(Gru(linear_before_reset=True, reverse=True, clip=0.4), operands(Gru, 5, 1, 4, bias))


def lstms() -> Iterator[Case]:
    yield from cases(Lstm)
    for f in functions(3):
        yield Case(Lstm(**f), operands(Lstm, 3, 1, 4))
    yield Case(Lstm(cell_result=True), operands(Lstm, 4, 2, 3))
    yield Case(Lstm(cell_result=True, last=True, lengths=(3, 1)), operands(Lstm, 4, 2, 3))
    yield Case(Lstm(peepholes=True), operands(Lstm, 4, 2, 3, floats(9)))
    yield Case(Lstm(peepholes=True, coupled=True, clip=0.8), operands(Lstm, 4, 1, 3, floats(9)))


SAMPLES = {"rnn": list(rnns()), "gru": list(grus()), "lstm": list(lstms())}
