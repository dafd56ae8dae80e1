"""One spelling for what can be spelled in several ways, so that other passes know fewer cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import DType
from dnncc.ops.accumulate import product_type
from dnncc.ops.add import Add
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.linear import Linear
from dnncc.ops.moved import moved_quantization
from dnncc.ops.mul import Mul
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.transpose import Transpose
from dnncc.passes.affine import affine
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite


@dataclass(frozen=True)
class Canonicalise(Pass):
    """Normal forms:

    - matmul by a constant matrix is linear with a zero bias;
    - batch_norm is mul and add (run after ``fold-batch-norm``);
    - the constant operand of add and mul comes second, and x - c is x + (-c) for floats;
    - what does nothing disappears: concat of one operand, pad by nothing, cast to x's own type, pools of 1x1.
    """

    name: ClassVar[str] = "canonicalise"

    def run(self, graph: Graph) -> None:
        pools = dict.fromkeys(("max_pool2d", "average_pool2d"), _drop_pool)
        rewrite(
            graph,
            {
                "matmul": _linear,
                "batch_norm": _multiply_add,
                "add": _constant_second,
                "mul": _constant_second,
                "sub": _add_negative,
                "concat": _drop_single,
                "pad": _drop_pad,
                "cast": _drop_cast,
                **pools,
            },
        )


def _linear(rewriter: Rewriter, node: Node) -> bool:
    x, w = node.inputs
    if not isinstance(w, Const) or w.type.rank != 2 or isinstance(x, Const) or x.type.rank < 2:
        return False
    weights = rewriter.renewed(w, w.data.T, moved_quantization(Transpose((1, 0)), [w]))
    zeros = np.zeros(w.type.shape[1], product_type(x.type, w.type).numpy)
    node.op, node.inputs = Linear(), [x, weights, rewriter.graph.const(f"{node.name}_bias", zeros)]
    return True


def _multiply_add(rewriter: Rewriter, node: Node) -> bool:
    a = affine(node)
    if a is None or not isinstance(node.op, BatchNorm):
        return False
    # The parameters vary along the channel axis only: keep that axis, and one element of the others.
    one = tuple(slice(None) if i == node.op.axis else slice(0, 1) for i in range(a.x.type.rank))
    scale, offset = (
        rewriter.graph.const(f"{node.name}_{word}", field[one].astype(np.float32))
        for word, field in (("scale", a.scale), ("offset", a.offset))
    )
    product = rewriter.insert(node, Mul(), [a.x, scale], node.output)
    node.op, node.inputs = Add(), [product, offset]
    return True


def _constant_second(rewriter: Rewriter, node: Node) -> bool:
    a, b = node.inputs
    if not isinstance(a, Const) or isinstance(b, Const):
        return False
    node.inputs = [b, a]
    return True


def _add_negative(rewriter: Rewriter, node: Node) -> bool:
    x, c = node.inputs
    if not isinstance(c, Const) or isinstance(x, Const) or c.type.dtype is not DType.F32:
        return False
    node.op, node.inputs = Add(), [x, rewriter.renewed(c, -c.data)]
    return True


def _drop_single(rewriter: Rewriter, node: Node) -> bool:
    return len(node.inputs) == 1 and rewriter.replace(node.output, node.inputs[0])


def _drop_pad(rewriter: Rewriter, node: Node) -> bool:
    return node.output.type.shape == node.inputs[0].type.shape and rewriter.replace(
        node.output, node.inputs[0]
    )


def _drop_cast(rewriter: Rewriter, node: Node) -> bool:
    return node.output.type.dtype is node.inputs[0].type.dtype and rewriter.replace(
        node.output, node.inputs[0]
    )


def _drop_pool(rewriter: Rewriter, node: Node) -> bool:
    op = node.op
    nothing = isinstance(op, Pool2d) and op.kernel == op.strides == (1, 1) and not any(op.pads)
    return nothing and rewriter.replace(node.output, node.inputs[0])
