"""Parallel linear branches become one convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import DType
from dnncc.ops.conv2d import Conv2d
from dnncc.passes.affine import affine
from dnncc.passes.base import Pass
from dnncc.passes.depth.kernel import Kernel, parallel
from dnncc.passes.match import Rewriter, rewrite


@dataclass(frozen=True)
class MergeBranches(Pass):
    """conv2d(x) + conv2d(x), conv2d(x) + x, and conv2d(x) + x * s + t become one conv2d with padded, added kernels.

    In float, where nobody else reads the branches, and where the one has no more multiplications than the branches.
    Exact but for rounding. Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021, section 3.3.
    """

    name: ClassVar[str] = "merge-branches"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {"add": _rule})


@dataclass(frozen=True)
class _Branch:
    x: Value
    kernel: Kernel
    node: Node | None


def _rule(rewriter: Rewriter, node: Node) -> bool:
    a, b = node.inputs
    if a.type != b.type or a.type.dtype is not DType.F32 or a.type.rank != 4:
        return False
    convolutions = [
        (v, other) for v, other in ((a, b), (b, a)) if rewriter.sole_producer(v, "conv2d") is not None
    ]
    for conv, other in convolutions:
        first = _convolution(rewriter, conv)
        second = None if first is None else _branch(rewriter, other, first.x)
        if (
            first is None
            or first.node is None
            or second is None
            or first.kernel.op.strides != second.kernel.op.strides
        ):
            continue
        kernel = parallel(first.kernel, second.kernel)
        parameters = kernel.parameters()
        if parameters is None or _work(kernel) > _work(first.kernel) + _work(second.kernel):
            continue
        old = [v for v in first.node.inputs[1:] if isinstance(v, Const)]
        constants = [rewriter.renewed(v, array) for v, array in zip(old, parameters, strict=True)]
        y = rewriter.insert(node, kernel.op, [first.x, *constants], node.output, first.node.name)
        return rewriter.replace(node.output, y)
    return False


def _convolution(rewriter: Rewriter, value: Value) -> _Branch | None:
    node = rewriter.sole_producer(value, "conv2d")
    kernel = None if node is None else Kernel.of(node)
    return None if node is None or kernel is None else _Branch(node.inputs[0], kernel, node)


def _branch(rewriter: Rewriter, value: Value, x: Value) -> _Branch | None:
    """What leads from ``x`` to ``value``, if it is linear."""
    found = _convolution(rewriter, value)
    return found if found is not None and found.x is x else _scaled(rewriter, value, x)


def _scaled(rewriter: Rewriter, value: Value, x: Value) -> _Branch | None:
    """``x`` itself, or with scales and offsets per channel, in any number of steps."""
    channels = x.type.shape[-1]
    scale, offset = np.ones(channels), np.zeros(channels)
    while value is not x:
        node = rewriter.sole_producer(value)
        step = None if node is None else affine(node)
        if step is None:
            return None
        s, t = (v.reshape(-1, v.shape[-1]) for v in (step.scale, step.offset))
        if not all(np.array_equal(v, np.broadcast_to(v[0], v.shape)) for v in (s, t)):
            return None
        value, scale, offset = step.x, scale * s[0], offset + scale * t[0]
    return _Branch(x, Kernel(Conv2d(groups=channels), scale.reshape(-1, 1, 1, 1), offset), None)


def _work(kernel: Kernel) -> int:
    """Multiplications for one position; none for the identity, which costs an addition."""
    return math.prod(kernel.weights.shape)
