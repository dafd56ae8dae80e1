"""Activations that a model spells out become one operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.activation_functions import Gelu, HardSwish, Mish, Swish
from dnncc.ops.elementwise import Function
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite

KNOWN: tuple[Function, ...] = (Gelu(), Gelu(True), Swish(), Mish(), HardSwish())
MOST_NODES = 12
CLOSE = 2e-6


@dataclass(frozen=True)
class RecogniseActivations(Pass):
    """Elementwise operators that together compute a known function of one value are that function: GELU from erf or
    tanh, x * sigmoid(x), ... whatever their order and constants. What counts is that they agree, up to the rounding of
    float32, at thousands of points from -10^4 to 10^4.

    One operator takes one pass over the data, and in integers it is one table.
    """

    name: ClassVar[str] = "recognise-activations"

    def run(self, graph: Graph) -> None:
        rewrite(graph, dict.fromkeys(("mul", "div"), _rule))


def _rule(rewriter: Rewriter, node: Node) -> bool:
    for x, nodes in _cones(rewriter, node):
        found = _recognised(nodes, x, node.output)
        if found is not None:
            node.op, node.inputs = found, [x]
            return True
    return False


def _cones(rewriter: Rewriter, node: Node) -> Iterator[tuple[Value, list[Node]]]:
    """Every value of which alone ``node`` is a function, with the operators in between, in order; the nearest first."""
    position = {n: i for i, n in enumerate(rewriter.graph.nodes)}
    nodes: list[Node] = []
    frontier = {node.output}
    while len(nodes) < MOST_NODES:
        latest = max(frontier, key=lambda v: position.get(rewriter.producer(v), -1))  # type: ignore[arg-type]
        maker = rewriter.producer(latest)
        if maker is None or not _is_step(maker, node.output):
            return
        nodes.insert(0, maker)
        frontier.remove(latest)
        frontier.update(v for v in maker.inputs if not isinstance(v, Const))
        if len(frontier) == 1 and len(nodes) > 1:
            yield next(iter(frontier)), nodes


def _is_step(node: Node, like: Value) -> bool:
    """Whether an operator works on elements of one shape and on numbers."""
    constants = [v for v in node.inputs if isinstance(v, Const)]
    return (
        node.op.elementwise
        and not node.op.tables
        and len(node.outputs) == 1
        and all(v.type.dtype is DType.F32 for v in (*node.inputs, node.output))
        and all(v.type.size == 1 for v in constants)
        and all(v.type.shape == like.type.shape for v in (node.output, *node.inputs) if v not in constants)
    )


@cache
def _points() -> Array:
    near, far = np.linspace(-12, 12, 2401), np.geomspace(12, 1e4, 200)
    return np.concatenate([-far[::-1], near, far]).astype(np.float32)


def _recognised(nodes: list[Node], x: Value, y: Value) -> Function | None:
    values: dict[Value, Array] = {x: _points()}
    with np.errstate(all="ignore"):
        for node in nodes:
            operands = [v.data.reshape(()) if isinstance(v, Const) else values[v] for v in node.inputs]
            (values[node.output],) = node.op.reference(*operands)
    found = values[y].astype(np.float64)
    if found.shape != _points().shape or not np.isfinite(found).all():
        return None
    for op in KNOWN:
        with np.errstate(all="ignore"):
            exact = op.exact(_points().astype(np.float64))
        if np.all(np.abs(found - exact) <= CLOSE * (1.0 + np.abs(_points()))):
            return op
    return None
