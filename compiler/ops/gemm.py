"""ONNX Gemm: alpha * A' @ B' + beta * C, built from linear or from matmul, mul and add."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ops.add import Add
from dnncc.ops.elementwise import broadcast_shape
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.mul import Mul

if TYPE_CHECKING:
    from dnncc.ir.graph import Value


@onnx_op("Gemm")
def import_gemm(g: Importer, node: OnnxNode) -> Value:
    from dnncc.ir.graph import Const

    a, b, c = node.value(0), node.value(1), node.optional(2)
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    if a.type.rank != 2 or b.type.rank != 2:
        raise node.invalid(f"a matrix product of {a.type} and {b.type}")
    if node.int("transA", 0):
        a = g.transpose(a, (1, 0))
    transposed = bool(node.int("transB", 0))
    product = (a.type.shape[0], b.type.shape[0 if transposed else 1])
    if c is not None and broadcast_shape(product, c.type.shape) != product:
        raise node.invalid(f"{c.type} does not broadcast to {product}")
    if beta == 0:
        c = None
    elif c is not None:
        c = _scaled(g, c, beta)
    if not isinstance(b, Const):
        y = _scaled(g, g.emit(Matmul(), [a, g.transpose(b, (1, 0)) if transposed else b]), alpha)
        return y if c is None else g.emit(Add(), [y, c])
    weights = _scaled(g, b if transposed else g.transpose(b, (1, 0)), alpha)
    channels = weights.type.shape[0]
    bias = np.zeros(channels, np.float32)
    if isinstance(c, Const) and c.type.size in (1, channels) and c.type.size == (c.type.shape or (1,))[-1]:
        # One number per channel, whatever its rank: what is left is the bias.
        bias, c = np.broadcast_to(c.data.reshape(-1), channels).copy(), None
    y = g.emit(Linear(), [a, weights, g.const("bias", bias)])
    return y if c is None else g.emit(Add(), [y, c])


def _scaled(g: Importer, value: Value, factor: float) -> Value:
    return value if factor == 1 else g.emit(Mul(), [value, g.const("factor", np.array(factor, np.float32))])
