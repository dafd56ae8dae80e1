"""Random small CNNs that can run in parts of the image, with everything that makes windows and borders differ."""

from __future__ import annotations

import numpy as np
from dnncc.calibration import synthetic_samples
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import Op
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.relu import Relu
from dnncc.ops.reshape import Reshape
from dnncc.ops.transpose import Transpose
from dnncc.passes.base import Surroundings
from dnncc.passes.pipeline import Pipeline


class Net:
    """A float graph from an NCHW input on; ``x`` is the last NHWC activation."""

    def __init__(self, seed: int, channels: int, height: int, width: int) -> None:
        self.rng = np.random.default_rng(seed)
        value = Value("x", TensorType(DType.F32, (1, channels, height, width)))
        self.graph = Graph(f"cnn{seed}", [value])
        self.x = self.emit(Transpose((0, 2, 3, 1)), value)

    def array(self, *shape: int) -> Array:
        fan = int(np.prod(shape[1:])) or 1
        return (self.rng.standard_normal(shape) / fan**0.5).astype(np.float32)

    def emit(self, op: Op, *inputs: Value) -> Value:
        return self.graph.append(op, inputs, f"{op.name}{len(self.graph.nodes)}")

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        strides: tuple[int, int] = (1, 1),
        dilations: tuple[int, int] = (1, 1),
        depthwise: bool = False,
        same: bool = True,
    ) -> Value:
        """With ReLU; ``same``: as much padding as keeps the size, else random amounts."""
        c = x.type.shape[3]
        channels = c if depthwise else channels
        pads = []
        for k, d in zip(kernel, dilations, strict=True):
            reach = d * (k - 1)
            pads.append(
                (reach // 2, reach - reach // 2) if same else tuple(self.rng.integers(0, reach + 1, 2))
            )
        (top, bottom), (left, right) = ((int(a), int(b)) for a, b in pads)
        groups = c if depthwise else 1
        w = self.graph.const("w", self.array(channels, *kernel, c // groups))
        b = self.graph.const("b", self.array(channels))
        op = Conv2d(strides, (top, left, bottom, right), dilations, groups)
        return self.emit(Relu(), self.emit(op, x, w, b))

    def finish(self) -> Graph:
        """A pool over everything and a classifier."""
        _, h, w, c = self.x.type.shape
        pooled = self.emit(AveragePool2d((h, w)), self.x)
        flat = self.emit(Reshape((1, c)), pooled)
        w1, b1 = self.graph.const("w", self.array(5, c)), self.graph.const("b", self.array(5))
        self.graph.outputs = [self.emit(Linear(), flat, w1, b1)]
        return self.graph


def random_cnn(seed: int) -> Graph:
    """A float network of a few blocks; every kind of layer that a stage may have occurs over a few seeds."""
    rng = np.random.default_rng(seed)

    def pick(*choices: int) -> int:
        return int(rng.choice(choices))

    net = Net(seed, pick(1, 3, 4), pick(9, 12, 17), pick(8, 11, 16))
    net.x = net.conv(net.x, pick(4, 6, 8), (3, 3), (pick(1, 2), pick(1, 2)), same=bool(pick(0, 1)))
    for _ in range(pick(2, 3, 4)):
        _, h, w, c = net.x.type.shape
        kind = pick(0, 1, 2, 3, 4, 5)
        if kind == 0:  # inverted residual
            y = net.conv(net.x, 2 * c)
            y = net.conv(y, 0, (3, 3), depthwise=True)
            net.x = net.emit(Add(), net.conv(y, c), net.x)
        elif kind == 1 and min(h, w) > 4:  # residual with a strided shortcut
            strides = (2, 2) if min(h, w) > 6 else (1, 1)
            y = net.conv(net.conv(net.x, c, (3, 3), strides), 2 * c, (3, 3))
            net.x = net.emit(Relu(), net.emit(Add(), y, net.conv(net.x, 2 * c, strides=strides)))
        elif kind == 2 and min(h, w) > 3:
            pads = (1, 0, 1, 1) if pick(0, 1) else (0, 0, 0, 0)
            net.x = net.emit(MaxPool2d((3, 2), (pick(1, 2), 1), pads), net.x)
        elif kind == 3 and min(h, w) > 3:
            include = bool(pick(0, 1))
            net.x = net.emit(AveragePool2d((3, 3), (1, pick(1, 2)), (1, 1, 1, 1), (1, 1), include), net.x)
        elif kind == 4 and min(h, w) > 4:  # branches of different windows
            parts = [
                net.conv(net.x, 4, (3, 3)),
                net.conv(net.x, 4),
                net.conv(net.x, 2, (1, 3), dilations=(1, 2)),
            ]
            net.x = net.emit(Concat(3), *parts)
        elif min(h, w) > 5:
            net.x = net.conv(
                net.x, pick(4, 5), (2, 3), (pick(1, 2), 1), (pick(1, 2), 1), same=bool(pick(0, 1))
            )
    return net.finish()


def quantized(graph: Graph) -> Graph:
    """Its integer form, with scales from noise."""
    samples = synthetic_samples(graph, 4, seed=1)
    integer = graph.clone()
    Pipeline.parse("simplify,quantize,cse,dce").bind(Surroundings(samples)).run(integer)
    return integer
