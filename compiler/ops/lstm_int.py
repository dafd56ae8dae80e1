"""Long short-term memory on integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.recurrent_int import (
    CELL_BITS,
    CELL_LIMIT,
    PRODUCT_LIMIT,
    RecurrentInt,
    clamp,
    gate,
    rq,
    sat16,
    table_value,
)
from dnncc.ops.te_types import shape_of

ONE = (1 << 15) - 1
TO_CELL = 30 - CELL_BITS
"""Shift of a product of two Q15 to the cell's units."""

TO_INDEX = CELL_BITS - 12
"""Shift of the cell's state to the operand of its table, in units of 2^-12."""


@dataclass(frozen=True)
class LstmInt(RecurrentInt):
    """The cell's state c is an i32 in units of 2^-16; i, f, o, g and tanh(c) come from tables, in Q15:

        c = clamp(((c * f + 2^14) >> 15) + ((i * g + 2^13) >> 14), +-(2^30 - 1))
        h = rq(o * table(clamp16((c + 2^3) >> 4)), h_multiplier, h_shift)

    Gates in the order i, o, f, g. With ``peepholes`` rq(c, p, p_shift) is added to the arguments of i, o (with the new
    c) and f; ``coupled`` makes ``f = min(2^15 - i, 2^15 - 1)`` for an i that is not negative.

    Operands: x, r, m, h0 i8 [B,H], c0 i32 [B,H], p i32 [3H] (0 without peepholes), the tables of i, f and o, of g, and
    of c; see ``RecurrentInt``.

    Attributes:
        h_multiplier, h_shift: from Q30 to the result's grid.
        p_shift: of the peepholes.
        peepholes, coupled: see above.
        cell_result: c after the last step, i32 [B,H], is a second result.
    """

    name: ClassVar[str] = "lstm_int"
    gates: ClassVar[int] = 4
    tables: ClassVar[tuple[int, ...]] = (6, 7, 8)
    tables_count: ClassVar[int] = 3
    h_multiplier: int = 1
    h_shift: int = 23
    p_shift: int = 0
    peepholes: bool = False
    coupled: bool = False
    cell_result: bool = False

    def operand_types(self, batch: int, units: int) -> list[tuple[DType, tuple[int, ...]]]:
        return [(DType.I8, (batch, units)), (DType.I32, (batch, units)), (DType.I32, (3 * units,))]

    def results(self, batch: int, units: int) -> list[TensorType]:
        return [TensorType(DType.I32, (batch, units))] if self.cell_result else []

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        fits = all(0 <= s <= 62 for s in (self.h_shift, self.p_shift))
        if not fits or not -(2**31) <= self.h_multiplier < 2**31:
            raise TypeMismatchError(f"lstm_int with {self.h_multiplier} / 2^{self.h_shift}, 2^{self.p_shift}")
        return super().infer(*inputs)

    def start(self, inputs: Sequence[Array], b: int) -> list[Array]:
        return [inputs[3][b], np.clip(inputs[4][b], -CELL_LIMIT, CELL_LIMIT)]

    def step(
        self, x: Array, states: list[Array], sums: Callable[[Array], Array], inputs: Sequence[Array]
    ) -> list[Array]:
        h, c = states
        opening, squashing, cell = inputs[6:9]
        a_i, a_o, a_f, a_g = np.split(x + sums(h), 4)
        seen = np.split(inputs[5], 3)

        def opened(argument: Array, which: int) -> Array:
            if self.peepholes:
                argument = argument + rq(c, seen[which], self.p_shift, -PRODUCT_LIMIT, PRODUCT_LIMIT)
            return table_value(opening, sat16(argument))

        i = opened(a_i, 0)
        if self.coupled and i.min() < 0:
            raise ValueError("coupled gates of lstm_int must not be negative")
        f = np.minimum((1 << 15) - i, ONE) if self.coupled else opened(a_f, 2)
        kept = (2 * c * (f << 16) + (1 << 31)) >> 32
        taken = (i * table_value(squashing, sat16(a_g)) + (1 << (TO_CELL - 1))) >> TO_CELL
        c = np.clip(kept + taken, -CELL_LIMIT, CELL_LIMIT)
        o = opened(a_o, 1)
        squashed = table_value(cell, sat16((c + (1 << (TO_INDEX - 1))) >> TO_INDEX))
        return [rq(o * squashed, self.h_multiplier, self.h_shift, -128, 127), c]

    # -- as loops ----------------------------------------------------------------------------------------------------

    def state_buffers(self, t: Any, units: int) -> list[Any]:
        return [t.alloc_buffer((units,), "int32")]

    def load(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], b: Any, u: Any) -> None:
        t.buffer_store(states[0], inputs[3][b, u], [u])
        t.buffer_store(states[1], clamp(inputs[4][b, u], -CELL_LIMIT, CELL_LIMIT), [u])

    def cell(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any, sums: Any) -> None:
        from dnncc.targets.lowering.api import const, extern_pure, requantize_expr, te

        h, c = states
        units = shape_of(inputs[3])[1]
        opening, squashing, cell = inputs[6:9]
        i, f = (t.alloc_buffer((1,), "int32", scope="local") for _ in range(2))
        one = const(ONE, "int32")

        def opened(k: int, which: int, u: Any) -> Any:
            argument = x(k * units + u) + sums(k, u)
            if self.peepholes:
                p = inputs[5][which * units + u]
                seen = requantize_expr(c[u], p, self.p_shift, -PRODUCT_LIMIT, PRODUCT_LIMIT, "int32")
                argument = argument + seen
            return gate(opening, argument)

        with t.serial(0, units) as u:
            t.buffer_store(i, opened(0, 0, u), [0])
            t.buffer_store(f, te.min((1 << 15) - i[0], one) if self.coupled else opened(2, 2, u), [0])
            kept = extern_pure("int32", "dnncc_mulhi_round", c[u] * 2, f[0] * (1 << 16))
            g = gate(squashing, x(3 * units + u) + sums(3, u))
            taken = (i[0] * g + (1 << (TO_CELL - 1))) >> TO_CELL
            t.buffer_store(c, clamp(kept + taken, -CELL_LIMIT, CELL_LIMIT), [u])
            squashed = gate(cell, (c[u] + (1 << (TO_INDEX - 1))) >> TO_INDEX)
            multiplier = const(self.h_multiplier, "int32")
            product = opened(1, 1, u) * squashed
            t.buffer_store(h, requantize_expr(product, multiplier, self.h_shift, -128, 127, "int8"), [u])
