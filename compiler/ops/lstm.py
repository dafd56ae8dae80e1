"""Long short-term memory (Hochreiter and Schmidhuber, 1997), with peepholes (Gers and Schmidhuber, 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.recurrent import Recurrent
from dnncc.ops.recurrent_import import import_recurrent
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Lstm(Recurrent):
    """Gates in the order i, o, f, g; with p = (p_i, p_o, p_f):

        i = f1(x_i + r_i @ h + p_i * c)       f = f1(x_f + r_f @ h + p_f * c), or 1 - i if ``coupled``
        c = f * c + i * f2(x_g + r_g @ h)     o = f1(x_o + r_o @ h + p_o * c)
        h = o * f3(c)

    Operands: x [T,B,4H], r [4H,H], h0 [B,H], c0 [B,H], and with ``peepholes`` p [3H]; see ``Recurrent``.

    Attributes:
        peepholes: the gates see the cell's state.
        coupled: what is not taken in is kept.
        cell_result: c after the last step [B,H] is a second result.
    """

    name: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2
    functions: tuple[str, ...] = ("sigmoid", "tanh", "tanh")
    alphas: tuple[float, ...] = (0.0, 0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0, 0.0)
    peepholes: bool = False
    coupled: bool = False
    cell_result: bool = False

    def extras(self) -> int:
        return int(self.peepholes)

    def cell_output(self) -> bool:
        return self.cell_result

    def step(self, x: Array, states: list[Array], inputs: Sequence[Array]) -> list[Array]:
        h, c = states
        i, o, f, g = np.split(x + inputs[1] @ h, 4)
        p_i, p_o, p_f = np.split(inputs[4], 3) if self.peepholes else (0.0, 0.0, 0.0)
        i = self.activate(0, i + p_i * c)
        f = 1 - i if self.coupled else self.activate(0, f + p_f * c)
        c = f * c + i * self.activate(1, g)
        # What the last function takes is no gate: it is not clamped.
        squashed = replace_clip(self).activate(2, c)
        return [self.activate(0, o + p_o * c) * squashed, c]

    def cell(self, t: Any, pre: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any) -> None:
        h, c = states
        (units,) = shape_of(h)
        gate = t.alloc_buffer((1,), "float32", scope="local")

        def argument(k: int, u: Any) -> Any:
            peephole = {0: 0, 1: units, 2: 2 * units}.get(k)
            seen = self.peepholes and peephole is not None
            return pre[k * units + u] + (inputs[4][peephole + u] * c[u] if seen else 0.0)

        with t.serial(0, units) as u:
            t.buffer_store(gate, self.activated(0, argument(0, u)), [0])
            keep = 1.0 - gate[0] if self.coupled else self.activated(0, argument(2, u))
            t.buffer_store(c, keep * c[u] + gate[0] * self.activated(1, argument(3, u)), [u])
            squashed = replace_clip(self).activated(2, c[u])
            t.buffer_store(h, self.activated(0, argument(1, u)) * squashed, [u])

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | Sequence[Value] | None:
        from dnncc.ops.recurrent_quantize import integer_lstm

        return integer_lstm(context, node, self)


def replace_clip(op: Lstm) -> Lstm:
    """The operator without its clamp."""
    from dataclasses import replace

    return replace(op, clip=0.0) if op.clip else op


@onnx_op("LSTM")
def import_lstm(g: Importer, node: OnnxNode) -> Sequence[Value]:
    return import_recurrent(g, node, Lstm, ("sigmoid", "tanh", "tanh"))
