"""Small float models, and what ONNX Runtime's quantizer and its unoptimised execution make of them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from dnncc.ir.types import Array
from onnx import TensorProto, helper, numpy_helper

FORMS: dict[str, dict[str, Any]] = {
    "qdq-u8s8-channel": {
        "quant_format": "QDQ",
        "activation_type": "QUInt8",
        "weight_type": "QInt8",
        "per_channel": True,
    },
    "qdq-s8s8-channel": {
        "quant_format": "QDQ",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "per_channel": True,
    },
    "qdq-u8s8-tensor": {"quant_format": "QDQ", "activation_type": "QUInt8", "weight_type": "QInt8"},
    "qdq-u8u8-tensor": {"quant_format": "QDQ", "activation_type": "QUInt8", "weight_type": "QUInt8"},
    "qdq-s8s8-symmetric": {
        "quant_format": "QDQ",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "extra_options": {"ActivationSymmetric": True},
    },
    "qop-s8s8-channel": {
        "quant_format": "QOperator",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "per_channel": True,
    },
    # Without VNNI, ONNX Runtime's products of u8 and s8 saturate 16 bits unless weights have 7.
    "qop-u8s8-channel": {
        "quant_format": "QOperator",
        "activation_type": "QUInt8",
        "weight_type": "QInt8",
        "per_channel": True,
        "reduce_range": True,
    },
    "qop-u8u8-tensor": {"quant_format": "QOperator", "activation_type": "QUInt8", "weight_type": "QUInt8"},
    "qop-s8s8-symmetric": {
        "quant_format": "QOperator",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "extra_options": {"ActivationSymmetric": True},
    },
}
"""Options of ONNX Runtime's quantizer; its types by name."""


def cnn(seed: int = 0, pool: str = "MaxPool") -> onnx.ModelProto:
    """Convolutions (plain, depthwise, strided, 1x1), a residual sum, a concatenation, pools, a classifier."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    shapes = {
        "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (8, 8, 1, 1), "b3": (8,),
        "w4": (16, 16, 3, 3), "b4": (16,), "w5": (16, 10), "b5": (10,),
    }  # fmt: skip
    constants = {name: weights(*shape) for name, shape in shapes.items()}
    constants |= {"lo": np.array(0, np.float32), "hi": np.array(6, np.float32)}
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        node("Clip", ["c2", "lo", "hi"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["c3"]),
        node("Add", ["c3", "r1"], ["a"]),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node(pool, ["a"], ["q"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Concat", ["p", "q"], ["cc"], axis=1),
        node("Conv", ["cc", "w4", "b4"], ["c4"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c4"], ["r4"]),
        node("GlobalAveragePool", ["r4"], ["g"]),
        node("Flatten", ["g"], ["f"], axis=1),
        node("Gemm", ["f", "w5", "b5"], ["y"]),
    ]
    return _model(nodes, [1, 3, 12, 12], [1, 10], constants)


def mlp(seed: int = 0) -> onnx.ModelProto:
    """Matrix products with and without biases, a product of two activations, a softmax."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (12, 16), "b1": (16,), "w2": (16, 16), "b2": (16,), "w3": (16, 5)}
    constants = {n: (rng.standard_normal(s) * 0.4).astype(np.float32) for n, s in shapes.items()}
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w1"], ["m1"]),
        node("Add", ["m1", "b1"], ["h1"]),
        node("Gemm", ["h1", "w2", "b2"], ["h2"]),
        node("Mul", ["h1", "h2"], ["h3"]),
        node("MatMul", ["h3", "w3"], ["m3"]),
        node("Softmax", ["m3"], ["y"], axis=-1),
    ]
    return _model(nodes, [1, 12], [1, 5], constants)


def _model(
    nodes: Sequence[Any], x: list[int], y: list[int], constants: dict[str, Array], opset: int = 13
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def inputs(model: onnx.ModelProto, count: int, seed: int) -> list[Array]:
    """Samples that are not centred, so that grids are asymmetric."""
    rng = np.random.default_rng(seed)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return [(rng.standard_normal(shape) * 2 + 0.5).astype(np.float32) for _ in range(count)]


def quantized(
    model: onnx.ModelProto, samples: Sequence[Array | dict[str, Array]], **options: Any
) -> onnx.ModelProto:
    """``onnxruntime.quantization.quantize_static``; the options are its own, its types also by name."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    kinds = {"quant_format": QuantFormat, "activation_type": QuantType, "weight_type": QuantType}
    options = {k: kinds[k][v] if k in kinds and isinstance(v, str) else v for k, v in options.items()}

    name = model.graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(samples)

        def get_next(self) -> dict[str, Array] | None:
            x = next(self.rest, None)
            return x if x is None or isinstance(x, dict) else {name: x}

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder, "float.onnx"), Path(folder, "quantized.onnx")
            onnx.save(model, source)
            quantize_static(source, result, Reader(), **options)
            return onnx.load(result)
    finally:
        logging.disable(level)


def unoptimised(model: onnx.ModelProto) -> Any:
    """A session of ONNX Runtime that executes the nodes as they are."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
