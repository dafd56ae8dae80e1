"""Operators on integers that carry their scales with them, as ONNX Runtime's QOperator format has them.

Each is its float operator between dequantizations and a quantization, which is what the standard says of it; passes
make integers of that again, as they do of the QDQ format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from dnncc.frontends.onnx_quantized import MICROSOFT, dequantized, quantized
from dnncc.frontends.onnx_registry import ONNX_OPS, Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Quantization
from dnncc.ops.dequantize_linear import DequantizeLinear
from dnncc.ops.mul import Mul


class _WithOperands:
    """A node as another operator's importer sees it: the same attributes, other operands."""

    def __init__(self, node: OnnxNode, operands: Sequence[Value | None]) -> None:
        self._node, self._operands = node, list(operands)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    @property
    def n_inputs(self) -> int:
        return len(self._operands)

    def optional(self, index: int) -> Value | None:
        return self._operands[index] if index < len(self._operands) else None

    def value(self, index: int) -> Value:
        value = self.optional(index)
        if value is None:
            raise self._node.invalid(f"operand {index} is missing")
        return value


def _import_as(op_type: str, g: Importer, node: OnnxNode, *operands: Value | None) -> Value:
    """What the importer of a float operator makes of other operands."""
    if op_type not in ONNX_OPS:
        raise node.unsupported(f"it is a {op_type}, which is not supported")
    found = ONNX_OPS[op_type](g, cast(OnnxNode, _WithOperands(node, operands)))
    assert isinstance(found, Value), f"{op_type} has one result"
    return found


def _operand(g: Importer, node: OnnxNode, index: int, axis: int = 1) -> Value:
    """Operands (x, scale, zero point) from ``index`` on, dequantized."""
    return dequantized(g, node, node.value(index), node.value(index + 1), node.optional(index + 2), axis)


def _result(g: Importer, node: OnnxNode, y: Value, index: int) -> Value:
    """``y`` quantized to the operands (scale, zero point) from ``index`` on."""
    return quantized(g, node, y, node.value(index), node.optional(index + 1), 1)


def _bias(g: Importer, node: OnnxNode, index: int, x_scale: Value, w_scale: Value) -> Value | None:
    """An i32 bias [O], in units of the product of both scales."""
    bias = node.optional(index)
    if bias is None:
        return None
    scales = [g.reshape(s, (s.type.size,)) for s in (x_scale, w_scale)]
    if isinstance(bias, Const) and all(isinstance(s, Const) for s in scales):
        # In float64: the product of the scales is not rounded.
        x, w = (cast(Const, s).data.astype(np.float64) for s in scales)
        steps = np.broadcast_to(x * w, bias.type.shape)
        known = Quantization(tuple(float(s) for s in steps), 0)
        return g.const("bias", (bias.data * steps).astype(np.float32), known)
    scale = g.emit(Mul(), scales)
    zero = g.const("bias_zero", np.zeros((), np.int32))
    return g.emit(DequantizeLinear(), [bias, scale, zero])


@onnx_op("QLinearConv")
def import_qlinear_conv(g: Importer, node: OnnxNode) -> Value:
    x, w = _operand(g, node, 0), _operand(g, node, 3, 0)
    y = _import_as("Conv", g, node, x, w, _bias(g, node, 8, node.value(1), node.value(4)))
    return _result(g, node, y, 6)


def _qlinear_matmul(g: Importer, node: OnnxNode) -> Value:
    a, b = _operand(g, node, 0, -2), _operand(g, node, 3, -1)
    return _result(g, node, _import_as("MatMul", g, node, a, b), 6)


@onnx_op("QLinearMatMul")
def import_qlinear_matmul(g: Importer, node: OnnxNode) -> Value:
    return _qlinear_matmul(g, node)


@onnx_op("QLinearMatMul", domain=MICROSOFT)
def import_microsoft_qlinear_matmul(g: Importer, node: OnnxNode) -> Value:
    return _qlinear_matmul(g, node)


@onnx_op("QGemm", domain=MICROSOFT)
def import_qgemm(g: Importer, node: OnnxNode) -> Value:
    """Without the scale of a result, that is float."""
    alpha, transposed = node.float("alpha", 1.0), node.int("transB", 0)
    a, b = _operand(g, node, 0), _operand(g, node, 3, 0 if transposed else 1)
    scale = node.value(1)
    if alpha != 1.0:
        scale = g.emit(Mul(), [scale, g.const("alpha", np.array(alpha, np.float32))])
    bias = _bias(g, node, 6, scale, node.value(4))
    y = _import_as("Gemm", g, node, a, b, bias)
    return y if node.optional(7) is None else _result(g, node, y, 7)


def _binary(g: Importer, node: OnnxNode, op_type: str) -> Value:
    a, b = _operand(g, node, 0), _operand(g, node, 3)
    return _result(g, node, _import_as(op_type, g, node, a, b), 6)


def _unary(g: Importer, node: OnnxNode, op_type: str) -> Value:
    return _result(g, node, _import_as(op_type, g, node, _operand(g, node, 0)), 3)


def _pool(g: Importer, node: OnnxNode, op_type: str) -> Value:
    x = _operand(g, node, 0)
    last = bool(node.int("channels_last", 0))
    if last:
        x = g.transpose(x, (0, x.type.rank - 1, *range(1, x.type.rank - 1)))
    y = _import_as(op_type, g, node, x)
    if last:
        y = g.transpose(y, (0, *range(2, y.type.rank), 1))
    return _result(g, node, y, 3)


@onnx_op("QLinearAdd", domain=MICROSOFT)
def import_qlinear_add(g: Importer, node: OnnxNode) -> Value:
    return _binary(g, node, "Add")


@onnx_op("QLinearMul", domain=MICROSOFT)
def import_qlinear_mul(g: Importer, node: OnnxNode) -> Value:
    return _binary(g, node, "Mul")


@onnx_op("QLinearSigmoid", domain=MICROSOFT)
def import_qlinear_sigmoid(g: Importer, node: OnnxNode) -> Value:
    return _unary(g, node, "Sigmoid")


@onnx_op("QLinearLeakyRelu", domain=MICROSOFT)
def import_qlinear_leaky_relu(g: Importer, node: OnnxNode) -> Value:
    return _unary(g, node, "LeakyRelu")


@onnx_op("QLinearAveragePool", domain=MICROSOFT)
def import_qlinear_average_pool(g: Importer, node: OnnxNode) -> Value:
    return _pool(g, node, "AveragePool")


@onnx_op("QLinearGlobalAveragePool", domain=MICROSOFT)
def import_qlinear_global_average_pool(g: Importer, node: OnnxNode) -> Value:
    return _pool(g, node, "GlobalAveragePool")


@onnx_op("QLinearReduceMean", domain=MICROSOFT)
def import_qlinear_reduce_mean(g: Importer, node: OnnxNode) -> Value:
    return _unary(g, node, "ReduceMean")


@onnx_op("QLinearSoftmax", domain=MICROSOFT)
def import_qlinear_softmax(g: Importer, node: OnnxNode) -> Value:
    node.ignore(
        "opset"
    )  # it says what the axis means, which matters for operands of more than two dimensions
    if node.int("opset", 13) < 13 and node.value(0).type.rank > 2:
        raise node.unsupported("a softmax of opset 12 or older over more than two dimensions")
    return _unary(g, node, "Softmax")


@onnx_op("QLinearConcat", domain=MICROSOFT)
def import_qlinear_concat(g: Importer, node: OnnxNode) -> Value:
    """Operands: scale and zero point of the result, then x, scale and zero point of each part."""
    parts = [_operand(g, node, i) for i in range(2, node.n_inputs, 3)]
    return _result(g, node, _import_as("Concat", g, node, *parts), 0)
