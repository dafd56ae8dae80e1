"""ONNX operators that leave no trace: they pass a value on, or they are calculated while the model is read.

The latter are the arithmetic on shapes that exporters leave in a model; their operands must be constants.
"""

from __future__ import annotations

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.elementwise import broadcast_shape


@onnx_op("Identity")
def import_identity(g: Importer, node: OnnxNode) -> Value:
    return node.value(0)


@onnx_op("Dropout")
def import_dropout(g: Importer, node: OnnxNode) -> Value:
    node.ignore("ratio", "seed")
    node.optional(1)  # the ratio: it matters in training only
    training = node.optional_array(2)
    if training is not None and training.any():
        raise node.unsupported("training mode (export the model for inference)")
    return node.value(0)


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


@onnx_op("Gather")
def import_gather(g: Importer, node: OnnxNode) -> Value:
    data, indices = node.array(0), node.array(1)
    axis = node.axis(node.int("axis", 0), data.ndim)
    size = data.shape[axis]
    if indices.dtype.kind != "i" or ((indices < -size) | (indices >= size)).any():
        raise node.invalid(f"indices outside {size} elements")
    g.limit((*data.shape[:axis], *data.shape[axis + 1 :], *indices.shape))
    return g.const("gather", np.take(data, indices, axis))


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
    if start.dtype.kind != "i" or not start.size == limit.size == step.size == 1 or not step.any():
        raise node.unsupported("a range that is not of integers")
    numbers = range(*(int(v.reshape(())) for v in (start, limit, step)))
    g.limit((len(numbers),))
    return g.const("range", np.array(numbers, start.dtype))


@onnx_op("Expand")
def import_expand(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    shape = broadcast_shape(x.type.shape, tuple(int(d) for d in node.array(1).reshape(-1)))
    if shape == x.type.shape:
        return x
    if any(d < 0 for d in shape):
        raise node.invalid(f"shape {shape}")
    g.limit(shape)
    return g.const("expand", np.broadcast_to(node.array(0), shape))
