"""MobileNetV2 (Sandler et al., CVPR 2018, table 2) at 224 x 224, with random weights: what it costs is what counts."""

from __future__ import annotations

import numpy as np
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import Op
from dnncc.ops.clip import Clip
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.reshape import Reshape
from dnncc.ops.transpose import Transpose

_BLOCKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, channels, repetitions, stride of the first."""


class _Builder:
    def __init__(self, pixels: int) -> None:
        self.rng = np.random.default_rng(0)
        image = Value("x", TensorType(DType.F32, (1, 3, pixels, pixels)))
        self.graph = Graph("mobilenet_v2", [image])
        self.first = self.emit(Transpose((0, 2, 3, 1)), image)

    def emit(self, op: Op, *inputs: Value) -> Value:
        return self.graph.append(op, inputs, f"{op.name}{len(self.graph.nodes)}")

    def weights(self, *shape: int) -> Value:
        scale = (2 / max(int(np.prod(shape[1:])), 1)) ** 0.5
        return self.graph.const("w", (scale * self.rng.standard_normal(shape)).astype(np.float32))

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        relu: bool = True,
    ) -> Value:
        c = x.type.shape[3]
        pad = kernel // 2
        op = Conv2d((stride, stride), (pad, pad, pad, pad), groups=c if depthwise else 1)
        w = self.weights(channels, kernel, kernel, 1 if depthwise else c)
        y = self.emit(op, x, w, self.graph.const("b", np.zeros(channels, np.float32)))
        return self.emit(Clip(0.0, 6.0), y) if relu else y


def mobilenet_v2(pixels: int = 224) -> Graph:
    """The float network, normalizations folded."""
    net = _Builder(pixels)
    x = net.conv(net.first, 32, 3, 2)
    for expansion, channels, repetitions, stride in _BLOCKS:
        for block in range(repetitions):
            c = x.type.shape[3]
            y = net.conv(x, expansion * c) if expansion > 1 else x
            y = net.conv(y, expansion * c, 3, stride if block == 0 else 1, depthwise=True)
            y = net.conv(y, channels, relu=False)
            x = net.emit(Add(), y, x) if block else y
    x = net.conv(x, 1280)
    x = net.emit(AveragePool2d(x.type.shape[1:3]), x)  # type: ignore[arg-type]
    bias = net.graph.const("b", np.zeros(1000, np.float32))
    net.graph.outputs = [net.emit(Linear(), net.emit(Reshape((1, 1280)), x), net.weights(1000, 1280), bias)]
    return net.graph
