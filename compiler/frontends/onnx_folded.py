"""ONNX operators that leave no trace: they pass a value on, or they are calculated while the model is read.

The latter are the arithmetic on shapes that exporters leave in a model; their operands must be constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value


@onnx_op("Identity")
def import_identity(g: Importer, node: OnnxNode) -> Value:
    return node.value(0)


@onnx_op("Dropout")
def import_dropout(g: Importer, node: OnnxNode) -> Sequence[Value]:
    """The operand, and a mask that keeps all of it."""
    x = node.value(0)
    node.ignore("ratio", "seed")
    node.optional(1)  # the ratio: it matters in training only
    training = node.optional_array(2)
    if training is not None and training.any():
        ratio = node.optional_array(1)
        if ratio is None or ratio.any():
            raise node.unsupported("training mode (export the model for inference)")
    if node.n_outputs < 2:
        return [x]
    g.limit(x.type.shape)
    return [x, g.const("mask", np.ones(x.type.shape, bool if node.opset >= 10 else x.type.dtype.numpy))]


@onnx_op("Constant")
def import_constant(g: Importer, node: OnnxNode) -> Value:
    if node.has("value"):
        return g.const("value", node.tensor("value"))
    if node.has("value_float"):
        return g.const("value", np.array(node.float("value_float"), np.float32))
    if node.has("value_floats"):
        return g.const("value", np.array(node.floats("value_floats"), np.float32))
    if node.has("value_int"):
        return g.const("value", np.array(node.int("value_int"), np.int64))
    if node.has("value_ints"):
        return g.const("value", np.array(node.ints("value_ints"), np.int64))
    raise node.unsupported("a constant that is neither dense nor numeric")


@onnx_op("Shape")
def import_shape(g: Importer, node: OnnxNode) -> Value:
    shape = node.value(0).type.shape
    start = node.int("start", 0)
    end = node.int("end") if node.has("end") else len(shape)
    return g.const("shape", np.array(shape[start:end], np.int64))


@onnx_op("Size")
def import_size(g: Importer, node: OnnxNode) -> Value:
    return g.const("size", np.array(node.value(0).type.size, np.int64))


@onnx_op("ConstantOfShape")
def import_constant_of_shape(g: Importer, node: OnnxNode) -> Value:
    shape = tuple(int(d) for d in node.array(0).reshape(-1))
    fill = node.tensor("value") if node.has("value") else np.zeros(1, np.float32)
    if any(d < 0 for d in shape) or fill.size != 1:
        raise node.invalid(f"shape {shape} filled with {fill.size} values")
    g.limit(shape)
    return g.const("constant", np.full(shape, fill.reshape(()), fill.dtype))


@onnx_op("Range")
def import_range(g: Importer, node: OnnxNode) -> Value:
    start, limit, step = (node.array(i) for i in range(3))
    numbers = np.array([a.reshape(-1)[0] for a in (start, limit, step) if a.size == 1])
    if numbers.size != 3 or not np.isfinite(numbers).all() or not step.any():
        raise node.invalid("a range without three numbers, or with a step of 0")
    first, end, by = (v.reshape(()).item() for v in (start, limit, step))
    count = max(math.ceil((end - first) / by), 0)
    g.limit((count,))
    return g.const("range", (first + by * np.arange(count)).astype(start.dtype))
