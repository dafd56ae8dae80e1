"""Padding as a node of its own becomes the padding of the operator after it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from dnncc.ir.graph import Graph, Node
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.pad import Pad
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.window import Pads
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, non_negative, rewrite

_WINDOWED = ("conv2d", "average_pool2d", "sum_pool2d", "max_pool2d")


@dataclass(frozen=True)
class FoldPad(Pass):
    """A pad of height and width goes into the conv2d or pool after it:

    - zeros into conv2d, sum_pool2d, and average_pool2d if all its padding counts;
    - zeros into max_pool2d if x is not negative, or the lowest value in any case;
    - into another pad with the same value.
    """

    name: ClassVar[str] = "fold-pad"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {"pad": _into_pad, **dict.fromkeys(_WINDOWED, _into_window)})


def _into_pad(rewriter: Rewriter, node: Node) -> bool:
    inner = rewriter.producer(node.inputs[0], "pad")
    if inner is None or not isinstance(inner.op, Pad) or not isinstance(node.op, Pad):
        return False
    if inner.op.value != node.op.value:
        return False
    both = zip(inner.op.pads, node.op.pads, strict=True)
    node.op = replace(node.op, pads=tuple((a[0] + b[0], a[1] + b[1]) for a, b in both))
    node.inputs = [inner.inputs[0]]
    return True


def _into_window(rewriter: Rewriter, node: Node) -> bool:
    pad = rewriter.producer(node.inputs[0], "pad")
    if pad is None or not isinstance(pad.op, Pad) or not isinstance(node.op, Conv2d | Pool2d):
        return False
    batch, (top, bottom), (left, right), channels = pad.op.pads
    if batch != (0, 0) or channels != (0, 0) or not _fits(rewriter, pad, node.op):
        return False
    p = node.op.pads
    pads: Pads = (p[0] + top, p[1] + left, p[2] + bottom, p[3] + right)
    op = replace(node.op, pads=pads)
    if isinstance(op, AveragePool2d):
        op = replace(op, count_include_pad=True)
    inputs = [pad.inputs[0], *node.inputs[1:]]
    try:
        op.infer(*(v.type for v in inputs))
    except TypeMismatchError:
        # A pool does not take windows that lie in the padding entirely.
        return False
    node.op, node.inputs = op, inputs
    return True


def _fits(rewriter: Rewriter, pad: Node, op: Conv2d | Pool2d) -> bool:
    """Whether the padding is what ``op`` itself would put around its input."""
    x = pad.inputs[0]
    value = getattr(pad.op, "value", None)
    if isinstance(op, MaxPool2d):
        lowest = -math.inf if x.type.dtype.is_float else x.type.dtype.min
        return value == lowest or (value == 0 and non_negative(rewriter, x))
    if isinstance(op, AveragePool2d):
        return value == 0 and (op.count_include_pad or not any(op.pads))
    return value == 0 and isinstance(op, Conv2d | SumPool2d)
