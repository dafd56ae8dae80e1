"""The simple recurrent layer on integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dnncc.ir.types import Array, DType
from dnncc.ops.recurrent_int import RecurrentInt, gate, sat16, table_value
from dnncc.ops.te_types import shape_of

FRACTION = 8
"""Bits of the table's entries below the unit of the 8-bit state."""


@dataclass(frozen=True)
class RnnInt(RecurrentInt):
    """``h = interpolate(table, a)``; see ``RecurrentInt``.

    Operands: x, r, m, h0 i8 [B,H], table (of 8 bits below the state's unit).
    """

    name: ClassVar[str] = "rnn_int"
    tables: ClassVar[tuple[int, ...]] = (4,)

    def step(
        self, x: Array, states: list[Array], sums: Callable[[Array], Array], inputs: Sequence[Array]
    ) -> list[Array]:
        return [table_value(inputs[4], sat16(x + sums(states[0])), FRACTION, DType.I8)]

    def cell(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any, sums: Any) -> None:
        with t.serial(0, shape_of(inputs[3])[1]) as u:
            t.buffer_store(states[0], gate(inputs[4], x(u) + sums(0, u), FRACTION).astype("int8"), [u])
