"""The simple recurrent layer (Elman)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array
from dnncc.ops.recurrent import Recurrent
from dnncc.ops.recurrent_import import import_recurrent
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Rnn(Recurrent):
    """``h = f(x + r @ h)``. Operands: x [T,B,H], r [H,H], h0 [B,H]; see ``Recurrent``."""

    name: ClassVar[str] = "rnn"

    def step(self, x: Array, states: list[Array], inputs: Sequence[Array]) -> list[Array]:
        return [self.activate(0, x + inputs[1] @ states[0])]

    def cell(self, t: Any, pre: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any) -> None:
        with t.serial(0, shape_of(pre)[0]) as u:
            t.buffer_store(states[0], self.activated(0, pre[u]), [u])

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | Sequence[Value] | None:
        from dnncc.ops.recurrent_quantize import integer_rnn

        return integer_rnn(context, node, self)


@onnx_op("RNN")
def import_rnn(g: Importer, node: OnnxNode) -> Sequence[Value]:
    return import_recurrent(g, node, Rnn, ("tanh",))
