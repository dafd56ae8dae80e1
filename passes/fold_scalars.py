"""Multiplications and additions of constants merge, and disappear in the layer beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.mul import Mul
from dnncc.passes.affine import fold_affine
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, constant_operand, rewrite


@dataclass(frozen=True)
class FoldScalars(Pass):
    """mul, add and sub of constants:

    - x * 1, x + 0 and x - 0 are x (for integers too);
    - before or after a conv2d or linear they change its weights and bias, where they are per channel;
    - (x * a) * b is x * (a*b), (x + a) + b is x + (a+b), and (x + a) * b is x*b + a*b, for floats.
    """

    name: ClassVar[str] = "fold-scalars"

    def run(self, graph: Graph) -> None:
        rewrite(graph, dict.fromkeys(("mul", "add", "sub"), _rule))


def _rule(rewriter: Rewriter, node: Node) -> bool:
    return _identity(rewriter, node) or fold_affine(rewriter, node) or _merge(rewriter, node)


def _identity(rewriter: Rewriter, node: Node) -> bool:
    operands = constant_operand(node)
    if operands is None or operands[0].type.shape != node.output.type.shape:
        return False
    x, c = operands
    if node.op.name == "sub" and node.inputs[0] is c:
        return False
    return bool(np.all(c.data == (node.op.name == "mul"))) and rewriter.replace(node.output, x)


def _merge(rewriter: Rewriter, node: Node) -> bool:
    operands = constant_operand(node)
    if operands is None or node.output.type.dtype is not DType.F32 or node.op.name == "sub":
        return False
    x, b = operands
    inner = rewriter.sole_producer(x, "mul", "add")
    inner_operands = None if inner is None else constant_operand(inner)
    if inner is None or inner_operands is None:
        return False
    y, a = inner_operands
    pair = (inner.op.name, node.op.name)
    c = None if pair == ("mul", "add") else _combined(np.add if node.op.name == "add" else np.multiply, a, b)
    if c is None:
        return False
    if pair == ("add", "mul"):
        node.op, y = Add(), rewriter.insert(node, Mul(), [y, b], x)
    node.inputs = [y, rewriter.renewed(a, c)]
    return True


def _combined(function: np.ufunc, a: Const, b: Const) -> Array | None:
    """``function(a, b)``, rounded once; None beyond f32."""
    with np.errstate(over="ignore"):
        c: Array = function(a.data.astype(np.float64), b.data.astype(np.float64)).astype(np.float32)
    return c if np.isfinite(c).all() else None
