"""Cross-layer equalization (Nagel et al., "Data-free quantization", section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.passes.base import Pass

HOMOGENEOUS = ("relu", "max_pool2d", "average_pool2d")
"""Operators with f(s*x) = s*f(x) for s > 0 that keep channels apart."""

TOLERANCE = 1e-3
MAX_ROUNDS = 20
LARGEST_SCALE = 1e4


@dataclass(frozen=True)
class Equalize(Pass):
    """Scale each channel between two layers so that both layers' weights have the same range in it.

    For ``w2 * relu(w1 * x + b1)`` with ranges ``r1`` (rows of w1) and ``r2`` (columns of w2):
    ``s = sqrt(r1*r2) / r2``, ``w1 / s``, ``b1 / s``, ``w2 * s``. The network computes the same.
    """

    name: ClassVar[str] = "equalize"

    def run(self, graph: Graph) -> bool:
        return equalize(graph)


@dataclass(frozen=True)
class _Pair:
    first: Node
    second: Node


def equalize(graph: Graph) -> bool:
    """Equalize every pair of layers of a float graph until nothing changes much; true if anything changed."""
    pairs = list(_pairs(graph))
    changed = False
    for _ in range(MAX_ROUNDS):
        largest = max((_equalize(graph, pair) for pair in pairs), default=0.0)
        if largest < TOLERANCE:
            break
        changed = True
    return changed


def _pairs(graph: Graph) -> list[_Pair]:
    """Layers where all that reads the first one is, through homogeneous operators, the second one."""
    uses, outputs = graph.uses(), set(graph.outputs)
    found = []
    for first in graph.find("conv2d", "linear"):
        value = first.output
        while True:
            readers = uses.get(value, [])
            if len(readers) != 1 or value in outputs:
                break
            (reader,) = readers
            if reader.op.name in HOMOGENEOUS:
                value = reader.output
                continue
            if reader.op.name == first.op.name and reader.inputs[0] is value and _own(uses, first, reader):
                found.append(_Pair(first, reader))
            break
    return found


def _own(uses: dict[Value, list[Node]], *nodes: Node) -> bool:
    """Whether weights and biases are constants that nothing else reads."""
    return all(isinstance(v, Const) and len(uses[v]) == 1 for n in nodes for v in n.inputs[1:])


def _equalize(graph: Graph, pair: _Pair) -> float:
    """One step for one pair; returns the largest |log s|."""
    w1, b1 = (_data(v) for v in pair.first.inputs[1:])
    w2 = _data(pair.second.inputs[1])
    groups = pair.second.op.groups if isinstance(pair.second.op, Conv2d) else 1
    # [groups, outputs of a group, taps, inputs of a group]
    grouped = w2.reshape(groups, w2.shape[0] // groups, -1, w2.shape[-1])
    r1 = np.abs(w1.reshape(w1.shape[0], -1)).max(axis=1)
    r2 = np.abs(grouped).max(axis=(1, 2)).reshape(-1)
    # A channel that is zero on either side carries nothing: leave it alone.
    usable = (r1 > 0.0) & (r2 > 0.0)
    s = np.where(usable, np.sqrt(np.where(usable, r1, 1.0) / np.where(usable, r2, 1.0)), 1.0)
    s = np.clip(s, 1.0 / LARGEST_SCALE, LARGEST_SCALE)
    largest = float(np.abs(np.log(s)).max(initial=0.0))
    if largest >= TOLERANCE:
        _replace(graph, pair.first, 1, w1 / s.reshape(-1, *[1] * (w1.ndim - 1)))
        _replace(graph, pair.first, 2, b1 / s)
        _replace(graph, pair.second, 1, (grouped * s.reshape(groups, 1, 1, -1)).reshape(w2.shape))
    return largest


def _data(value: Value) -> Array:
    if not isinstance(value, Const):
        raise AssertionError(f"%{value.name} was found to be constant")
    return value.data.astype(np.float64)


def _replace(graph: Graph, node: Node, operand: int, data: Array) -> None:
    node.inputs[operand] = graph.const(node.inputs[operand].name, data.astype(np.float32))
