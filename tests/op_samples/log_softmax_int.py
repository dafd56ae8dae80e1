"""Samples of the integer logarithm of softmax."""

from __future__ import annotations

from collections.abc import Iterator

from dnncc.ops.log_softmax_int import LogSoftmaxInt, log_table
from dnncc.ops.softmax_int import MAX_LENGTH, exponential_table

from op_samples.case import Case, Fixed, integers


def log_softmaxes() -> Iterator[Case]:
    for dtype in ("int8", "uint8", "int16"):
        for shape, axis in (((12,), 0), ((2, 3, 5), 1), ((1, 1), 1), ((3, 100), 1), ((2, MAX_LENGTH), 1)):
            for scale, fraction in ((0.05, 10), (1.0, 13), (2.0**-24, 0)):
                powers = Fixed(exponential_table(scale, 256, shape[axis]))
                logs = Fixed(log_table(scale / (1 << fraction)))
                yield Case(LogSoftmaxInt(axis, fraction), [integers(dtype, *shape), powers, logs])


SAMPLES = {"log_softmax_int": list(log_softmaxes())}
