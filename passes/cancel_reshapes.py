"""Reshapes merge, and move behind elementwise operators so that these fuse with what is before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.base import OPS
from dnncc.ops.reshape import Reshape
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite

Shape = tuple[int, ...]


@dataclass(frozen=True)
class CancelReshapes(Pass):
    """Reshapes move towards the outputs:

    - reshape of reshape is one reshape; a reshape to the same shape disappears;
    - f(reshape(x)) is reshape(f(x)) for elementwise f, if the other operands are reshaped from the same
      shape, or constants that can be.
    """

    name: ClassVar[str] = "cancel-reshapes"

    def run(self, graph: Graph) -> None:
        sinks = {name: _sink for name, op in OPS.items() if op.elementwise}
        rewrite(graph, {"reshape": _merge, **sinks})


def _merge(rewriter: Rewriter, node: Node) -> bool:
    (x,) = node.inputs
    if x.type.shape == node.output.type.shape and rewriter.replace(node.output, x):
        return True
    inner = rewriter.producer(x, "reshape")
    if inner is None:
        return False
    node.inputs = list(inner.inputs)
    return True


def _sink(rewriter: Rewriter, node: Node) -> bool:
    producers = [rewriter.producer(v, "reshape") for v in node.inputs]
    reshape = next((p for p in producers if p is not None), None)
    shape = node.output.type.shape
    if reshape is None or reshape.output.type.shape != shape:
        return False
    inner = reshape.inputs[0].type.shape
    operands = [
        v if i in node.op.tables else _reshaped(rewriter, v, shape, inner) for i, v in enumerate(node.inputs)
    ]
    if any(v is None for v in operands):
        return False
    rewriter.move_behind(node, node.op, [v for v in operands if v is not None], Reshape(shape), reshape.name)
    return True


def _reshaped(rewriter: Rewriter, value: Value, outer: Shape, inner: Shape) -> Value | None:
    """``value``, which broadcasts to ``outer``, so that it broadcasts to ``inner``; None if it cannot."""
    if isinstance(value, Const):
        if value.type.quantization is not None and value.type.quantization.axis is not None:
            return None
        if value.type.size == 1 and value.type.rank <= len(inner):
            return value
        if value.type.shape[-1:] == outer[-1:] == inner[-1:] and value.type.size == outer[-1]:
            return rewriter.renewed(value, value.data.reshape(-1))
        if value.type.shape == outer:
            return rewriter.renewed(value, value.data.reshape(inner))
        return None
    node = rewriter.producer(value, "reshape")
    fits = node is not None and value.type.shape == outer and node.inputs[0].type.shape == inner
    return node.inputs[0] if node is not None and fits else None
