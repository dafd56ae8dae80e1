"""Quantization and dequantization become grids that a float network keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.base import OPS
from dnncc.ops.dequantize_linear import DequantizeLinear
from dnncc.ops.fake_quantize import FakeQuantize
from dnncc.ops.pad import Pad
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite


@dataclass(frozen=True)
class AdoptQuantization(Pass):
    """Integers between ``quantize_linear`` and ``dequantize_linear`` disappear:

    - dequantize_linear(quantize_linear(x)) on one grid per tensor is fake_quantize(x);
    - dequantize_linear(f(x)) is f(dequantize_linear(x)) for f that move or select elements;
    - fake_quantize of what is on its grid already does nothing, also behind such f.
    """

    name: ClassVar[str] = "adopt-quantization"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {"dequantize_linear": _rule, "fake_quantize": _drop})


def _rule(rewriter: Rewriter, node: Node) -> bool:
    x, scale, zero = node.inputs
    if (
        not isinstance(scale, Const)
        or not isinstance(zero, Const)
        or scale.type.size != 1
        or zero.type.size != 1
    ):
        return False
    producer = rewriter.producer(x)
    if producer is None:
        return False
    if producer.op.name == "quantize_linear":
        return _pair(rewriter, node, producer, scale, zero)
    return producer.op.moves and len(producer.outputs) == 1 and _rise(rewriter, node, producer, scale, zero)


def _pair(rewriter: Rewriter, node: Node, producer: Node, scale: Const, zero: Const) -> bool:
    x, *grid = producer.inputs
    for ours, theirs in zip((scale, zero), grid, strict=True):
        if not isinstance(theirs, Const) or theirs.type.size != 1 or ours.data.item() != theirs.data.item():
            return False
    dtype = zero.type.dtype
    node.op = FakeQuantize(float(scale.data.item()), int(zero.data.item()), dtype.min, dtype.max)
    node.inputs = [x]
    return True


def _rise(rewriter: Rewriter, node: Node, mover: Node, scale: Const, zero: Const) -> bool:
    """Dequantize before elements are moved."""
    op, tables = mover.op, mover.op.tables
    moved = [v for v in mover.inputs if v.type.dtype is mover.output.type.dtype]
    if tables or any(v.type.size == 0 for v in moved):
        return False
    if isinstance(op, Pad):
        op = Pad(op.pads, (op.value - zero.data.item()) * float(scale.data.item()))
    floats: dict[Value, Value] = {}
    for value in moved:
        floats[value] = rewriter.insert(
            node, DequantizeLinear(), [value, scale, zero], node.output, f"{node.name}_{len(floats)}"
        )
    node.op, node.inputs, node.name = op, [floats.get(v, v) for v in mover.inputs], mover.name
    return True


def _drop(rewriter: Rewriter, node: Node) -> bool:
    (x,) = node.inputs
    value = x
    while (producer := rewriter.producer(value)) is not None:
        if producer.op == node.op:
            return rewriter.replace(node.output, x)
        if not _keeps(producer):
            return False
        value = producer.inputs[0]
    return False


def _keeps(node: Node) -> bool:
    """Whether every element of the result is one of the only operand."""
    return OPS[node.op.name].moves and len(node.inputs) == 1 and not isinstance(node.op, Pad)
