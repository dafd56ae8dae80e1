"""Logarithm of softmax on integers: the exponentials of the integer softmax, and a table of logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.softmax_int import (
    MAX_LENGTH,
    TABLE_ENTRIES,
    exponent_bits,
    exponential_table,
    exponentials,
    logits,
    te_exponentials,
)

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

SEGMENTS = 256
"""The logarithm is linear in between: off by at most 2^-19."""

LIMIT = 1 << 30
"""Results are within it."""


@dataclass(frozen=True)
class LogSoftmaxInt(Op):
    """``-(x - max x) - ln sum e^(x - max x)`` negated, of x at scale s along ``axis``, in steps of ``s / 2^fraction``.

    Operands: x (i8, u8 or i16), the table of exponentials of ``SoftmaxInt`` i32 [D], a table i32 [257] of
    ``ln(1 + j / 256)`` in these steps. Result: i32. With distance, v and n of ``SoftmaxInt``:

        j, l   = v >> 22 & 255, v >> 7 & 2^15 - 1
        log    = (30 - k - n) * logs[256] + logs[j] + ((logs[j + 1] - logs[j]) * l + 2^14 >> 15)
        out[i] = -(distance[i] << fraction) - log

    The error is that of the sum: ``N / 2^(k+1)`` of itself from its table, 2^-19 from the logarithms, a step of the
    result; and the tail of the exponentials if differences can exceed D - 1.

    Attributes:
        axis: counted from the front.
        fraction: 0 to 13.
    """

    name: ClassVar[str] = "log_softmax_int"
    axis: int = 0
    fraction: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, table, logs = inputs
        small = x.dtype in (DType.I8, DType.U8, DType.I16) and logs.shape == (SEGMENTS + 1,)
        if not small or table.rank != 1 or {table.dtype, logs.dtype} != {DType.I32}:
            raise TypeMismatchError(f"log_softmax_int does not take {x}, {table} and {logs}")
        if not 0 <= self.axis < x.rank or not 0 <= self.fraction <= 13:
            raise TypeMismatchError(f"log_softmax_int along {self.axis} of {x} with {self.fraction} bits")
        if not 1 <= x.shape[self.axis] <= MAX_LENGTH:
            raise TypeMismatchError(
                f"log_softmax_int takes 1 to {MAX_LENGTH} elements along the axis; got {x}"
            )
        return [TensorType(DType.I32, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, table, logs = (a.astype(np.int64) for a in inputs)
        if np.diff(logs).min() < 0 or np.diff(logs).max() >= 1 << 16 or not 0 <= logs[-1] <= LIMIT >> 5:
            raise ValueError("the table of logarithms must rise by less than 2^16 per entry, up to 2^25")
        distance, _, v, n = exponentials(x, table, self.axis)
        j, low = v >> 22 & SEGMENTS - 1, v >> 7 & (1 << 15) - 1
        whole = (30 - exponent_bits(x.shape[self.axis]) - n) * logs[SEGMENTS]
        log = whole + logs[j] + (((logs[j + 1] - logs[j]) * low + (1 << 14)) >> 15)
        return [(-(distance << self.fraction) - log).astype(np.int32)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(Interval.of(-LIMIT, 0), Interval.of(-LIMIT, LIMIT))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        x, table, logs = inputs
        parts = te_exponentials(x, table, self.axis)
        k = exponent_bits(int(x.shape[self.axis]))

        def c(value: int) -> Any:
            return const(value, "int32")

        def log(*o: Any) -> Any:
            v = parts.v[o]
            j, low = (v >> c(22)) & c(SEGMENTS - 1), (v >> c(7)) & c((1 << 15) - 1)
            between = ((logs[j + c(1)] - logs[j]) * low + c(1 << 14)) >> c(15)
            return (c(30 - k) - parts.n[o]) * logs[c(SEGMENTS)] + logs[j] + between

        total = te.compute(parts.outer, log, name="log")
        return te.compute(
            x.shape,
            lambda *i: c(0) - parts.distance(*i) * c(1 << self.fraction) - total[parts.rest(i)],
            name="log_softmax_int",
        )


def log_table(step: float) -> Array:
    """The operand ``ln(1 + j / 256)`` in steps."""
    table: Array = np.rint(np.log1p(np.arange(SEGMENTS + 1) / SEGMENTS) / step).astype(np.int32)
    return table


FINEST = 2.0**-24
"""Of an operand: what is less is next to nothing."""

WANTED = 2.0**-14
"""Steps of the result are at least this fine, where 16 bits of a distance leave room for it."""


def integer_log_softmax(context: QuantizeContext, node: Node, axis: int) -> Value | None:
    """The integer form of a float log_softmax: raw, of the operand's scale or finer."""
    from dnncc.passes.quantize.context import Grid

    operand = logits(context, node, axis)
    if operand.type.scale < FINEST:
        grid = Grid(DType.I16, FINEST, DType.I16.min, DType.I16.max)
        operand = context.requantize(operand, grid, node.name)
    scale, length = operand.type.scale, node.inputs[0].type.shape[axis]
    fraction = min(max(math.ceil(math.log2(scale / WANTED)), 0), 13)
    step = scale / (1 << fraction)
    powers = context.graph.const(f"{node.name}.table", exponential_table(scale, TABLE_ENTRIES, length))
    logs = context.graph.const(f"{node.name}.logs", log_table(step))
    return context.emit(LogSoftmaxInt(axis, fraction), [operand, powers, logs], node.name, step)
