"""Networks for the FPGA target, and how they are folded in tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
from dnncc.fpga import fold
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.targets.hls.network import Network, build_network
from dnncc.targets.hls.parts import Part, load_part
from onnx import helper
from onnx_models import model


def weights(*shape: int, seed: int = 0) -> Array:
    fan_in = max(int(np.prod(shape[1:])), 1)
    return (np.random.default_rng([seed, *shape]).normal(0, 1, shape) / np.sqrt(fan_in)).astype(np.float32)


def mlp(sizes: Sequence[int] = (16, 24, 12, 5)) -> onnx.ModelProto:
    """Fully connected layers with rectifiers between them."""
    nodes, constants, value = [], {}, "x"
    for i, (columns, rows) in enumerate(itertools.pairwise(sizes)):
        constants |= {f"w{i}": weights(rows, columns, seed=i), f"b{i}": weights(rows, seed=i)}
        last = i == len(sizes) - 2
        nodes.append(
            helper.make_node(
                "Gemm", [value, f"w{i}", f"b{i}"], ["y" if last else f"s{i}"], f"fc{i}", transB=1
            )
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"s{i}"], [f"r{i}"], f"relu{i}"))
        value = f"r{i}"
    return model(nodes, {"x": [1, sizes[0]]}, constants, ["y"])


def everything() -> onnx.ModelProto:
    """Every kind of stage: windows, matrices, depthwise, both pools, residual, concatenation, softmax, forks."""
    constants = {
        "w0": weights(4, 3, 3, 3),
        "b0": weights(4),
        "w1": weights(4, 1, 3, 3, seed=1),
        "w2": weights(6, 8, 1, 1, seed=2),
        "w3": weights(6, 6, 2, 2, seed=3),
        "w4": weights(5, 6, seed=4),
        "b4": weights(5, seed=4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"], "relu"),
        helper.make_node(
            "Conv", ["r0", "w1"], ["c1"], "depthwise", group=4, strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node(
            "MaxPool", ["r0"], ["m1"], "maximum", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Concat", ["c1", "m1"], ["k2"], "concat", axis=1),
        helper.make_node("Conv", ["k2", "w2"], ["c2"], "pointwise"),
        helper.make_node("Conv", ["c2", "w3"], ["c3"], "dilated", pads=[1, 1, 1, 1], dilations=[2, 2]),
        helper.make_node("Add", ["c2", "c3"], ["a3"], "residual"),
        helper.make_node("Relu", ["a3"], ["r3"], "relu3"),
        helper.make_node("AveragePool", ["r3"], ["p"], "mean", kernel_shape=[3, 3]),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["g"], "classifier", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], "softmax", axis=1),
    ]
    return model(nodes, {"x": [1, 3, 6, 6]}, constants, ["y"])


def quantized(proto: onnx.ModelProto) -> Graph:
    """The integer graph, from made up samples."""
    from dnncc.driver import prepare
    from dnncc.options import resolve

    return prepare(proto, None, resolve("hls", {}), None, lambda text: None).graph


def network(proto: onnx.ModelProto) -> Network:
    return build_network(quantized(proto), "net")


ZU3EG: Part = load_part("hls:zu3eg")

__all__ = ["ZU3EG", "everything", "fold", "mlp", "network", "quantized", "weights"]
