"""The gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.recurrent import Recurrent, product
from dnncc.ops.recurrent_import import import_recurrent
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Gru(Recurrent):
    """``h = (1 - z) * n + z * h`` with gates in the order z, r, n:

        z = f(x_z + r_z @ h)      r = f(x_r + r_r @ h)
        n = g(x_n + r_n @ (r * h))            or, with ``linear_before_reset``,
        n = g(x_n + r * (r_n @ h + bias))

    Operands: x [T,B,3H], r [3H,H], h0 [B,H], and with ``linear_before_reset`` bias [H]; see ``Recurrent``.

    Attributes:
        linear_before_reset: the second form.
    """

    name: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    functions: tuple[str, ...] = ("sigmoid", "tanh")
    alphas: tuple[float, ...] = (0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0)
    linear_before_reset: bool = False

    def extras(self) -> int:
        return int(self.linear_before_reset)

    def step(self, x: Array, states: list[Array], inputs: Sequence[Array]) -> list[Array]:
        (h,) = states
        x_z, x_r, x_n = np.split(x, 3)
        r_z, r_r, r_n = np.split(inputs[1], 3)
        z, r = self.activate(0, x_z + r_z @ h), self.activate(0, x_r + r_r @ h)
        inner = r * (r_n @ h + inputs[3]) if self.linear_before_reset else r_n @ (r * h)
        return [(1 - z) * self.activate(1, x_n + inner) + z * h]

    def cell(self, t: Any, pre: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any) -> None:
        (h,) = states
        (units,) = shape_of(h)
        if not self.linear_before_reset:
            # pre's third part is not needed: the products of the state as it was reset take its place.
            kept = t.alloc_buffer((units,), "float32")
            with t.serial(0, units) as u:
                t.buffer_store(kept, self.activated(0, pre[units + u]) * h[u], [u])
            product(t, inputs[1], kept, pre, (2 * units, 3 * units), x)
        with t.serial(0, units) as u:
            z = self.activated(0, pre[u])
            inner = pre[2 * units + u]
            if self.linear_before_reset:
                own = x(2 * units + u)
                inner = own + self.activated(0, pre[units + u]) * (inner - own + inputs[3][u])
            gate = t.alloc_buffer((1,), "float32", scope="local")
            t.buffer_store(gate, z, [0])
            t.buffer_store(h, self.activated(1, inner) * (1.0 - gate[0]) + gate[0] * h[u], [u])

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | Sequence[Value] | None:
        from dnncc.ops.recurrent_quantize import integer_gru

        return integer_gru(context, node, self)


@onnx_op("GRU")
def import_gru(g: Importer, node: OnnxNode) -> Sequence[Value]:
    return import_recurrent(g, node, Gru, ("sigmoid", "tanh"))
