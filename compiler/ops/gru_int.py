"""The gated recurrent unit on integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.recurrent_int import RecurrentInt, clamp, gate, multiply, rq, sat16, table_value
from dnncc.ops.te_types import shape_of

ONE = 1 << 15
HALF = 1 << 14


@dataclass(frozen=True)
class GruInt(RecurrentInt):
    """The state s is in Q15, so that small updates are not lost; ``h = rq(s, h_multiplier, h_shift)`` in 8 bits is what
    is multiplied, and the result. With z, r, n from tables, in Q15, z and r not negative:

        s = (z * s + (2^15 - z) * n + 2^14) >> 15
        n = table(clamp16(x_n + rq(r_n @ rq((r * s + 2^14) >> 15, h_multiplier, h_shift), m_n, shift)))
        n = table(clamp16(x_n + ((r * clamp16(rq(r_n @ h, m_n, shift) + bias) + 2^14) >> 15)))   linear_before_reset

    Operands: x, r, m, s0 i16 [B,H], bias i32 [H] (on the gates' grid, within 2^24; 0 unless ``linear_before_reset``),
    the tables of z and r, and of n; see ``RecurrentInt``.

    Attributes:
        h_multiplier, h_shift: from Q15 to the result's grid.
        linear_before_reset: the second form of n.
    """

    name: ClassVar[str] = "gru_int"
    gates: ClassVar[int] = 3
    tables: ClassVar[tuple[int, ...]] = (5, 6)
    tables_count: ClassVar[int] = 2
    state_type: ClassVar[DType] = DType.I16
    h_multiplier: int = 1
    h_shift: int = 8
    linear_before_reset: bool = False

    def operand_types(self, batch: int, units: int) -> list[tuple[DType, tuple[int, ...]]]:
        return [(DType.I16, (batch, units)), (DType.I32, (units,))]

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if not 0 <= self.h_shift <= 62 or not -(2**31) <= self.h_multiplier < 2**31:
            raise TypeMismatchError(f"gru_int with {self.h_multiplier} / 2^{self.h_shift}")
        return super().infer(*inputs)

    def _byte(self, state: Array) -> Array:
        return rq(state, self.h_multiplier, self.h_shift, -128, 127)

    def start(self, inputs: Sequence[Array], b: int) -> list[Array]:
        return [self._byte(inputs[3][b]), inputs[3][b]]

    def step(
        self, x: Array, states: list[Array], sums: Callable[[Array], Array], inputs: Sequence[Array]
    ) -> list[Array]:
        h, s = states
        bias, opening, squashing = inputs[4:7]
        if opening.min() < 0:
            raise ValueError("the gates of gru_int must not be negative")
        x_z, x_r, x_n = np.split(x, 3)
        p_z, p_r, p_n = np.split(sums(h), 3)
        z, r = (table_value(opening, sat16(a)) for a in (x_z + p_z, x_r + p_r))
        if self.linear_before_reset:
            inner = (r * sat16(p_n + bias) + HALF) >> 15
        else:
            inner = np.split(sums(self._byte((r * s + HALF) >> 15)), 3)[2]
        n = table_value(squashing, sat16(x_n + inner))
        s = (z * s + (ONE - z) * n + HALF) >> 15
        return [self._byte(s), s]

    # -- as loops ----------------------------------------------------------------------------------------------------

    def _byte_expr(self, state: Any) -> Any:
        from dnncc.targets.lowering.api import const, requantize_expr

        return requantize_expr(state, const(self.h_multiplier, "int32"), self.h_shift, -128, 127, "int8")

    def state_buffers(self, t: Any, units: int) -> list[Any]:
        return [t.alloc_buffer((units,), "int32")]

    def load(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], b: Any, u: Any) -> None:
        t.buffer_store(states[1], inputs[3][b, u].astype("int32"), [u])
        t.buffer_store(states[0], self._byte_expr(states[1][u]), [u])

    def before(
        self, t: Any, states: Sequence[Any], inputs: Sequence[Any], sums: Any, x: Any, acc: Any
    ) -> None:
        if self.linear_before_reset:
            return
        # The state as it was reset takes the place of h and meets the last gate's weights.
        h, s = states
        units = shape_of(inputs[3])[1]
        blocks = shape_of(inputs[1])[0] // 3
        with t.serial(0, units) as u:
            r = gate(inputs[5], x(units + u) + sums(1, u))
            t.buffer_store(h, self._byte_expr((r * s[u] + HALF) >> 15), [u])
        multiply(t, inputs[1], h, acc, 2 * blocks, blocks)

    def cell(self, t: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any, sums: Any) -> None:
        h, s = states
        units = shape_of(inputs[3])[1]
        z = t.alloc_buffer((1,), "int32", scope="local")
        with t.serial(0, units) as u:
            t.buffer_store(z, gate(inputs[5], x(u) + sums(0, u)), [0])
            inner = sums(2, u)
            if self.linear_before_reset:
                r = gate(inputs[5], x(units + u) + sums(1, u))
                inner = (r * clamp(inner + inputs[4][u], -32768, 32767) + HALF) >> 15
            n = gate(inputs[6], x(2 * units + u) + inner)
            t.buffer_store(s, (z[0] * s[u] + (ONE - z[0]) * n + HALF) >> 15, [u])
            t.buffer_store(h, self._byte_expr(s[u]), [u])
