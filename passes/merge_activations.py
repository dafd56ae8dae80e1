"""Clamps in a row become one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from dnncc.ir.graph import Graph, Node
from dnncc.ops.base import Op
from dnncc.ops.clip import Bound, Clip
from dnncc.ops.relu import Relu
from dnncc.ops.requantize import Requantize
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, non_negative, rewrite


@dataclass(frozen=True)
class MergeActivations(Pass):
    """relu and clip after relu, clip or requantize make one clamp; relu of no negatives disappears."""

    name: ClassVar[str] = "merge-activations"

    def run(self, graph: Graph) -> None:
        rewrite(graph, dict.fromkeys(("relu", "clip"), _rule))


def _rule(rewriter: Rewriter, node: Node) -> bool:
    (x,) = node.inputs
    lo, hi = _bounds(node.op)
    if lo == 0 and hi is None and non_negative(rewriter, x) and rewriter.replace(node.output, x):
        return True
    inner = rewriter.sole_producer(x, "relu", "clip", "requantize")
    if inner is None:
        return False
    first = _bounds(inner.op)
    if not _ordered(first) or not _ordered((lo, hi)):
        return False
    # clamp(clamp(x, a, b), lo, hi) = clamp(x, clamp(a, lo, hi), clamp(b, lo, hi)); None is infinite.
    a = lo if first[0] is None else _clamp(first[0], lo, hi)
    b = hi if first[1] is None else _clamp(first[1], lo, hi)
    if isinstance(inner.op, Requantize):
        if not isinstance(a, int) or not isinstance(b, int) or not rewriter.replace(node.output, x):
            return False
        dtype = inner.op.dtype
        inner.op = replace(inner.op, lo=None if a == dtype.min else a, hi=None if b == dtype.max else b)
    else:
        number = float if x.type.dtype.is_float else int
        bounds = [None if bound is None else number(bound) for bound in (a, b)]
        node.op = Relu() if bounds == [0, None] else Clip(*bounds)
        node.inputs = [inner.inputs[0]]
    return True


def _bounds(op: Op) -> tuple[Bound, Bound]:
    if isinstance(op, Requantize):
        return op.range
    return (op.lo, op.hi) if isinstance(op, Clip) else (0, None)


def _ordered(bounds: tuple[Bound, Bound]) -> bool:
    return bounds[0] is None or bounds[1] is None or bounds[0] <= bounds[1]


def _clamp(bound: float, lo: Bound, hi: Bound) -> float:
    bound = bound if lo is None else max(bound, lo)
    return bound if hi is None else min(bound, hi)
