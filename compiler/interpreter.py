"""The reference interpreter: what a graph means, in numpy, one operator after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array

Observer = Callable[[Node, Sequence[Array]], None]


def interpret(graph: Graph, inputs: Sequence[Array], observe: Observer | None = None) -> list[Array]:
    """Run ``graph`` on one set of inputs.

    Args:
        inputs: one array per graph input, of exactly its type and shape.
        observe: called after each node with its outputs (calibration, per-layer comparison).

    Returns:
        One array per graph output.

    Raises:
        ValueError: an input has another type or shape, or an operator's reference disagrees with its inferred type.
    """
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    known: dict[Value, Array] = {}
    for value, array in zip(graph.inputs, inputs, strict=True):
        known[value] = _expect(value, array)
    last_use = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
    keep = set(graph.outputs)
    for i, node in enumerate(graph.nodes):
        arguments = [v.data if isinstance(v, Const) else known[v] for v in node.inputs]
        results = node.op.reference(*arguments)
        for value, array in zip(node.outputs, results, strict=True):
            known[value] = _expect(value, array)
        if observe is not None:
            observe(node, [known[v] for v in node.outputs])
        for value in {*node.inputs, *node.outputs}:
            if value not in keep and last_use.get(value, -1) <= i:
                known.pop(value, None)
    return [v.data if isinstance(v, Const) else known[v] for v in graph.outputs]


def _expect(value: Value, array: Array) -> Array:
    array = np.asarray(array)
    if array.shape != value.type.shape or array.dtype != value.type.dtype.numpy:
        raise ValueError(f"%{value.name} is {value.type}, not {array.dtype}{list(array.shape)}")
    return array
