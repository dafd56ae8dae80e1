"""What the recurrent layers on integers share: packed weights, the state's product, fixed-point helpers.

Numbers of 16 bits named Q15 are in units of 2^-15. ``rq(v, m, s) = (v * m + 2^(s-1)) >> s``, exact in 64 bits, clamped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.interpolate import SEGMENTS, Interpolate, interpolation
from dnncc.ops.ranges import Interval, Ranges, linear_ranges
from dnncc.ops.recurrent import OverTime
from dnncc.ops.te_types import shape_of

ROWS = 4
"""Rows, and bytes of a row, that are multiplied at a time."""

PRODUCT_LIMIT = 1 << 24
"""The state's part of a gate's argument is clamped to it: far beyond 16 bits, and sums stay within 32."""

CELL_BITS = 16
"""The cell's state of an LSTM is in units of 2^-16, within CELL_LIMIT."""

CELL_LIMIT = (1 << 30) - 1


def pack(r: Array, gates: int) -> Array:
    """Weights i8 [G*H,H] as [blocks, words, 4, 4]: four rows word by word, each gate's rows and columns filled up."""
    units = r.shape[1]
    filled = -(-units // ROWS) * ROWS
    rows = np.zeros((gates, filled, filled), np.int8)
    rows[:, :units, :units] = r.reshape(gates, units, units)
    packed: Array = rows.reshape(-1, ROWS, filled // ROWS, ROWS).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(packed)


def unpack(packed: Array, gates: int, units: int) -> Array:
    """The inverse of ``pack``."""
    blocks, words = packed.shape[:2]
    rows = packed.transpose(0, 2, 1, 3).reshape(gates, blocks * ROWS // gates, words * ROWS)
    r: Array = rows[:, :units, :units].reshape(gates * units, units)
    return r


def rq(value: Array, multiplier: Array | int, shift: int, lo: int, hi: int) -> Array:
    """``rq`` of the module's description on int64 arrays."""
    y: Array = np.clip((value * np.asarray(multiplier, np.int64) + ((1 << shift) >> 1)) >> shift, lo, hi)
    return y


def sat16(value: Array) -> Array:
    y: Array = np.clip(value, -32768, 32767)
    return y


def table_value(table: Array, x: Array, fraction: int = 0, dtype: DType = DType.I16) -> Array:
    """``interpolate`` on an int64 array within 16 bits."""
    (y,) = Interpolate(dtype, fraction).reference(x.astype(np.int16), table)
    return y.astype(np.int64)


@dataclass(frozen=True)
class RecurrentInt(OverTime):
    """One direction of a recurrent layer on integers.

    Operands: x i16 [T,B,G*H] on the gates' grid; r i8, ``pack``ed, in steps per row; m i32 [G*H], the multipliers that
    bring a row's sum to the gates' grid; h0 [B,H]; then those of the cell, tables i16 [513] last. Results: y i8
    [T,B,H], or [B,H] if ``last``; and what the cell adds.

    A gate's argument is ``a = clamp16(x + rq(r @ h, m, shift))`` with h in 8 bits.

    Attributes:
        shift: of the multipliers m.
    """

    state_type: ClassVar[DType] = DType.I8
    more: ClassVar[tuple[DType, ...]] = ()
    tables_count: ClassVar[int] = 1
    shift: int = 0

    def operand_types(self, batch: int, units: int) -> list[tuple[DType, tuple[int, ...]]]:
        """Types and shapes of the operands after m, the tables left out."""
        return [(self.state_type, (batch, units))]

    def results(self, batch: int, units: int) -> list[TensorType]:
        """The results after y."""
        return []

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if len(inputs) < 4 or inputs[0].rank != 3 or inputs[0].shape[2] % self.gates:
            raise TypeMismatchError(f"{self.name} does not take {', '.join(map(str, inputs))}")
        x, r, m, *rest = inputs
        steps, batch, columns = x.shape
        units = columns // self.gates
        filled = -(-units // ROWS)
        expected = [
            (DType.I16, (steps, batch, columns)),
            (DType.I8, (self.gates * filled, filled, ROWS, ROWS)),
            (DType.I32, (columns,)),
            *self.operand_types(batch, units),
            *[(DType.I16, (SEGMENTS + 1,))] * self.tables_count,
        ]
        if [(v.dtype, v.shape) for v in (x, r, m, *rest)] != expected:
            wanted = ", ".join(str(TensorType(dtype, shape)) for dtype, shape in expected)
            raise TypeMismatchError(f"{self.name} needs {wanted}; got {', '.join(map(str, inputs))}")
        if not 0 <= self.shift <= 62:
            raise TypeMismatchError(f"{self.name} with a shift of {self.shift}")
        self.check_lengths(steps, batch)
        y = TensorType(DType.I8, (batch, units) if self.last else (steps, batch, units))
        return [y, *self.results(batch, units)]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        columns = inputs[0].shape[2]
        return self.steps_of(inputs[0]) * columns * (columns // self.gates)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        r = inputs[1]
        if not isinstance(r, Const):
            raise LookupError("the weights are not constant")
        rows = unpack(r.data, self.gates, inputs[0].type.shape[2] // self.gates)
        sums = linear_ranges(rows, np.zeros(len(rows), np.int64), Interval.of_dtype(DType.I8)).whole
        # Beside them: an argument before it is clamped, products of two Q15, and the cell's state plus one such.
        inner = CELL_LIMIT + (1 << CELL_BITS)
        both = Interval.of(min(sums.min, -inner), max(sums.max, inner))
        return Ranges(Interval.of_dtype(DType.I8), both)

    # -- in numpy ----------------------------------------------------------------------------------------------------

    def start(self, inputs: Sequence[Array], b: int) -> list[Array]:
        """The states [H] of one sequence before its first step; the 8 bits that are multiplied come first."""
        return [inputs[3][b]]

    def step(
        self, x: Array, states: list[Array], sums: Callable[[Array], Array], inputs: Sequence[Array]
    ) -> list[Array]:
        """The states after one step.

        Args:
            x: int64 [G*H].
            states: as of ``start``.
            sums: ``rq(r @ h, m, shift)`` of an h [H].
            inputs: all operands.
        """
        raise NotImplementedError

    def reference(self, *inputs: Array) -> Sequence[Array]:
        wide = [a.astype(np.int64) if a.ndim != 1 or a.dtype != np.int16 else a for a in inputs]
        x, m = wide[0], wide[2]
        steps, batch, columns = x.shape
        units = columns // self.gates
        r = unpack(wide[1], self.gates, units)

        def sums(h: Array) -> Array:
            return rq(r @ h, m, self.shift, -PRODUCT_LIMIT, PRODUCT_LIMIT)

        y = np.zeros((steps, batch, units), np.int8)
        ends = []
        for b in range(batch):
            states = self.start(wide, b)
            for time in self.order(steps, b):
                states = self.step(x[time, b], states, sums, wide)
                y[time, b] = states[0]
            ends.append(states)
        types = self.infer(*(TensorType(DType.of(a), a.shape) for a in inputs))
        finals = [np.stack(column) for column in zip(*ends, strict=True)]
        first = finals[0].astype(np.int8) if self.last else y
        return [first, *(f.astype(t.dtype.numpy) for f, t in zip(finals[1:], types[1:], strict=False))]

    # -- as loops ----------------------------------------------------------------------------------------------------

    def state_buffers(self, t: Any, units: int) -> list[Any]:
        """Scratch for the states after the first."""
        return []

    def load(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], b: Any, u: Any) -> None:
        """Fill element u of the states of sequence b."""
        t.buffer_store(states[0], inputs[3][b, u], [u])

    def cell(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any, sums: Any) -> None:
        """Update the states.

        Args:
            states: buffers, the 8-bit one first.
            x: a function from a column to the i32 expression of the projected input.
            sums: a function from (gate, unit) to the i32 expression of ``rq(r @ h, m, shift)``.
        """
        raise NotImplementedError

    def before(
        self, t: Any, states: Sequence[Any], inputs: Sequence[Any], sums: Any, x: Any, acc: Any
    ) -> None:
        """What has to happen between the products and the cell."""

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        from dnncc.targets.lowering.api import requantize_expr

        x, r, m = inputs[:3]
        units = shape_of(x)[2] // self.gates
        blocks, words = shape_of(r)[:2]
        filled = words * ROWS
        acc = t.alloc_buffer((blocks * ROWS,), "int32")
        h = t.alloc_buffer((filled,), "int8")
        states = [h, *self.state_buffers(t, units)]
        if filled > units:
            with t.serial(units, filled) as u:
                t.buffer_store(h, zero("int8"), [u])

        def sums(gate: int, u: Any) -> Any:
            value, factor = acc[gate * filled + u], m[gate * units + u]
            return requantize_expr(value, factor, self.shift, -PRODUCT_LIMIT, PRODUCT_LIMIT, "int32")

        def start(b: Any) -> None:
            with t.serial(0, units) as u:
                self.load(t, states, inputs, b, u)

        def step(b: Any, time: Any) -> None:
            def column(j: Any) -> Any:
                return x[time, b, j].astype("int32")

            multiply(t, r, h, acc, 0, blocks)
            self.before(t, states, inputs, sums, column, acc)
            self.cell(t, states, inputs, column, sums)
            if not self.last:
                with t.serial(0, units) as u:
                    t.buffer_store(outputs[0], h[u], [time, b, u])

        def finish(b: Any) -> None:
            ends = [*([h] if self.last else []), *states[1 : len(outputs)]]
            for state, y in zip(ends, outputs if self.last else outputs[1:], strict=True):
                with t.serial(0, units) as u:
                    t.buffer_store(y, state[u], [b, u])

        self.over_time(t, x, outputs[0], start, step, finish)


def zero(dtype: str) -> Any:
    from dnncc.targets.lowering.api import const

    return const(0, dtype)


def multiply(t: Any, r: Any, h: Any, acc: Any, first: int, count: int) -> None:
    """``acc[4*q .. 4*q+3]`` = rows of r times h, for ``count`` blocks of four rows from ``first`` on."""
    words = shape_of(r)[1]
    with t.serial(first, first + count) as q:
        with t.serial(0, ROWS) as i:
            t.buffer_store(acc, zero("int32"), [q * ROWS + i])
        call = t.call_extern(
            "int32",
            "dnncc_dot_1x4_i8",
            t.address_of(acc[q * ROWS]),
            t.address_of(h[0]),
            t.address_of(r[q, 0, 0, 0]),
            words,
        )
        t.evaluate(call)


def clamp(value: Any, lo: int, hi: int) -> Any:
    """An i32 expression within bounds."""
    from dnncc.targets.lowering.api import const, te

    return te.max(te.min(value, const(hi, "int32")), const(lo, "int32"))


def gate(table: Any, argument: Any, fraction: int = 0) -> Any:
    """A function of ``clamp16(argument)`` as an i32 expression."""
    return interpolation(table, clamp(argument, -32768, 32767), fraction)
