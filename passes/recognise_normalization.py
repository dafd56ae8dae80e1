"""Normalizations that a model spells out in means, squares and roots become one operator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.clip import Clip
from dnncc.ops.mul import Mul
from dnncc.ops.normalize import Normalize
from dnncc.ops.reduce import ReduceSum
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite

SMALL = 1e-6
"""A lower bound of a norm up to here only keeps zeros from being divided by zero."""

TINY = 1e-37
"""Less is nothing in float32."""


@dataclass(frozen=True)
class RecogniseNormalization(Pass):
    """``c / sqrt(mean(c^2) + e)`` is a normalization; of ``c = x - mean(x)`` a centered one of x: what layer, root mean
    square and L2 normalization are exported as, whatever becomes a product with a reciprocal, however the mean is
    calculated, and with a norm's tiny lower bound as its epsilon.

    It takes one kernel instead of six, and in integers the exact sums and root of ``normalize_int``.
    """

    name: ClassVar[str] = "recognise-normalization"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {"div": _rule, "mul": _rule})


@dataclass(frozen=True)
class _Statistic:
    """``f(share * sum of source over axes + offset)``, which broadcasts against the source.

    Attributes:
        functions: what f applies, in order, of "sqrt" and "reciprocal".
    """

    source: Value
    axes: tuple[int, ...]
    share: float
    offset: float
    functions: tuple[str, ...]


def _rule(rewriter: Rewriter, node: Node) -> bool:
    wanted = ("sqrt",) if node.op.name == "div" else ("sqrt", "reciprocal")
    pairs = [node.inputs] if node.op.name == "div" else [node.inputs, node.inputs[::-1]]
    for c, root in pairs:
        found = _statistic(rewriter, root)
        if found is None or found.functions != wanted or found.offset < 0.0 or found.share <= 0.0:
            continue
        square = rewriter.producer(found.source, "mul")
        if square is None or square.inputs != [c, c] or node.output.type.shape != c.type.shape:
            continue
        x, centered = _centered(rewriter, c, found.axes)
        count = math.prod(c.type.shape[axis] for axis in found.axes)
        epsilon = found.offset / (found.share * count)
        op = Normalize(found.axes, epsilon if epsilon > TINY else 0.0, centered)
        gain = 1.0 / math.sqrt(found.share * count)
        if abs(gain - 1.0) < 1e-6:
            node.op, node.inputs = op, [x]
        else:
            y = rewriter.insert(node, op, [x], node.output)
            factor = rewriter.graph.const("share", np.asarray(gain, np.float32))
            node.op, node.inputs = Mul(), [y, factor]
        return True
    return False


def _centered(rewriter: Rewriter, c: Value, axes: tuple[int, ...]) -> tuple[Value, bool]:
    """x of ``c = x - mean(x)``; else c itself."""
    difference = rewriter.producer(c, "sub")
    if difference is None:
        return c, False
    x, subtrahend = difference.inputs
    mean = _statistic(rewriter, subtrahend)
    if mean is None or mean.source is not x or (mean.axes, mean.functions) != (axes, ()):
        return c, False
    count = math.prod(x.type.shape[axis] for axis in axes)
    return (x, True) if mean.offset == 0.0 and abs(mean.share * count - 1.0) < 1e-6 else (c, False)


def _statistic(rewriter: Rewriter, value: Value) -> _Statistic | None:
    """What ``value`` is of whose sum, if it is."""
    functions: list[str] = []
    steps: list[tuple[str, float]] = []
    after: list[Node] = []
    node = rewriter.producer(value, "expand")
    shape = value.type.shape if node is None else node.inputs[0].type.shape
    value = value if node is None else node.inputs[0]
    while True:
        node = rewriter.producer(value)
        if node is None:
            return None
        constant = next((v for v in node.inputs if isinstance(v, Const) and v.type.size == 1), None)
        name = node.op.name
        if name in ("reshape", "transpose"):
            after.insert(0, node)
        elif name in ("sqrt", "reciprocal"):
            functions.insert(0, name)
        elif name == "div" and node.inputs[0] is constant and constant.data.reshape(()) == 1.0:
            functions.insert(0, "reciprocal")
            value = node.inputs[1]
            continue
        elif isinstance(node.op, Clip) and node.op.hi is None and node.op.lo is not None:
            if not 0.0 <= node.op.lo <= SMALL or "sqrt" in functions:
                return None
            steps.insert(0, ("add", float(node.op.lo) ** 2))
        elif name in ("add", "mul") and constant is not None:
            if functions and functions[0] != "sqrt":
                return None
            steps.insert(0, (name, float(constant.data.reshape(()))))
            value = node.inputs[1] if node.inputs[0] is constant else node.inputs[0]
            continue
        else:
            return _from_sum(rewriter, node, after, shape, steps, tuple(functions))
        value = node.inputs[0]


def _from_sum(
    rewriter: Rewriter,
    node: Node,
    after: list[Node],
    shape: tuple[int, ...],
    steps: list[tuple[str, float]],
    functions: tuple[str, ...],
) -> _Statistic | None:
    """The statistic behind a sum or a mean over a whole image, once its movements of elements cancel."""
    op, (value, *_) = node.op, node.inputs
    before: list[Node] = []
    share, offset = 1.0, 0.0
    if isinstance(op, AveragePool2d):
        if op.kernel != value.type.shape[1:3] or any(op.pads) or value.type.shape[0] != 1:
            return None
        share = 1.0 / math.prod(op.kernel)
        while (mover := rewriter.producer(value, "reshape", "transpose")) is not None:
            before.insert(0, mover)
            (value,) = mover.inputs
    elif not isinstance(op, ReduceSum) or op.wraps:
        return None
    rank = value.type.rank
    if len(shape) != rank or any(d not in (1, n) for d, n in zip(shape, value.type.shape, strict=True)):
        return None
    axes = tuple(a for a in range(rank) if shape[a] == 1 and value.type.shape[a] > 1)
    if not axes or not _sums_over(op, value.type.shape, axes, before, after):
        return None
    for name, number in steps:
        share, offset = (share * number, offset * number) if name == "mul" else (share, offset + number)
    return _Statistic(value, axes, share, offset, functions)


def _sums_over(
    op: AveragePool2d | ReduceSum,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    before: list[Node],
    after: list[Node],
) -> bool:
    """Whether the elements that become one are those along ``axes``, in order: tried on each element's number."""
    numbers = np.arange(math.prod(shape), dtype=np.uint64).reshape(shape)
    pooled = (1, 2) if isinstance(op, AveragePool2d) else op.axes
    # Sums of numbers and of their squares, modulo 2^64, tell sets of elements apart.
    for values in (numbers, numbers * numbers):
        total = _moved(values, before).sum(axis=pooled, keepdims=True)
        if not np.array_equal(_moved(total, after).reshape(-1), values.sum(axis=axes).reshape(-1)):
            return False
    return True


def _moved(x: Array, movers: list[Node]) -> Array:
    for node in movers:
        attributes = node.op.attributes(all_fields=True)
        x = x.reshape(attributes["shape"]) if node.op.name == "reshape" else x.transpose(attributes["perm"])
    return x
