"""Random float graphs as ONNX imports are: NCHW values, transposes around every spatial operator."""

from __future__ import annotations

import numpy as np
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import Op
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.clip import Clip
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.relu import Relu
from dnncc.ops.reshape import Reshape
from dnncc.ops.softmax import Softmax
from dnncc.ops.sub import Sub
from dnncc.ops.transpose import Transpose

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class _Builder:
    """Grows a graph by random layers; ``values`` are the NCHW values so far."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shape = (1, int(self.rng.integers(1, 5)), int(self.rng.integers(1, 7)), int(self.rng.integers(1, 7)))
        x = Value("x", TensorType(DType.F32, shape))
        self.graph = Graph(f"random{seed}", [x])
        self.values = [x]

    def one_of(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def array(self, *shape: int) -> Array:
        # Eighths, so that products and sums of a few are exact and identities occur.
        return (self.rng.integers(-8, 9, shape) / 8).astype(np.float32)

    def const(self, array: Array) -> Value:
        return self.graph.const("c", array)

    def emit(self, op: Op, *inputs: Value) -> Value:
        return self.graph.append(op, inputs, op.name)

    def spatial(self, op: Op, x: Value, *parameters: Value) -> Value:
        y = self.emit(op, self.emit(Transpose(_TO_NHWC), x), *parameters)
        return self.emit(Transpose(_TO_NCHW), y)

    def conv2d(self, x: Value) -> Value:
        _, c, h, w = x.type.shape
        depthwise = self.one_of(0, 1) == 1
        o = c * self.one_of(1, 2) if depthwise else self.one_of(1, 2, 4)
        kh, kw = (int(self.rng.integers(1, min(3, size) + 1)) for size in (h, w))
        weights = self.const(self.array(o, kh, kw, 1 if depthwise else c))
        pads = (
            self.one_of(0, kh // 2),
            self.one_of(0, kw // 2),
            self.one_of(0, kh // 2),
            self.one_of(0, kw // 2),
        )
        op = Conv2d((self.one_of(1, 2), self.one_of(1, 2)), pads, (1, 1), c if depthwise else 1)
        return self.spatial(op, x, weights, self.const(self.array(o)))

    def batch_norm(self, x: Value) -> Value:
        c = x.type.shape[1]
        parameters = [self.array(c), self.array(c), self.array(c), np.abs(self.array(c)) + np.float32(0.5)]
        constants = [self.const(p) for p in parameters]
        if self.one_of(0, 1):
            return self.emit(BatchNorm(axis=1), x, *constants)
        return self.spatial(BatchNorm(axis=3), x, *constants)

    def pool(self, x: Value) -> Value:
        _, _, h, w = x.type.shape
        kernel = (self.one_of(1, min(2, h)), self.one_of(1, min(2, w), w))
        pads = (self.one_of(0, kernel[0] // 2), 0, 0, self.one_of(0, kernel[1] // 2))
        if self.one_of(0, 1):
            return self.spatial(MaxPool2d(kernel, kernel, pads), x)
        return self.spatial(AveragePool2d(kernel, kernel, pads, count_include_pad=bool(self.one_of(0, 1))), x)

    def pad(self, x: Value) -> Value:
        pads = ((0, 0), (0, self.one_of(0, 0, 1)), (self.one_of(0, 1), 1), (0, self.one_of(0, 1)))
        return self.emit(Pad(pads, self.one_of(0, 0, 0, 1)), x)

    def scalar(self, x: Value) -> Value:
        _, c, h, w = x.type.shape
        shapes: list[tuple[int, ...]] = [(), (c, 1, 1), (1, c, 1, 1), (1, 1, h, w)]
        array = self.array(*shapes[self.one_of(0, 1, 1, 2, 3)])
        constant = self.const(array if self.one_of(0, 1, 2) else np.full_like(array, self.one_of(0, 1)))
        op = [Add(), Mul(), Sub()][self.one_of(0, 1, 2)]
        return self.emit(op, constant, x) if self.one_of(0, 0, 1) else self.emit(op, x, constant)

    def activation(self, x: Value) -> Value:
        return self.emit(
            [Relu(), Clip(0.0, 6.0), Clip(-0.5, None), Clip(None, 1.0)][self.one_of(0, 0, 1, 2, 3)], x
        )

    def binary(self, x: Value) -> Value:
        alike = [v for v in self.values if v.type.shape == x.type.shape]
        return self.emit(
            [Add(), Sub(), Mul()][self.one_of(0, 0, 1, 2)], x, alike[self.rng.integers(len(alike))]
        )

    def concat(self, x: Value) -> Value:
        alike = [v for v in self.values if v.type.shape[2:] == x.type.shape[2:]]
        return self.emit(Concat(1), x, alike[self.rng.integers(len(alike))])

    def gate(self, x: Value) -> Value:
        _, c, h, w = x.type.shape
        pooled = self.spatial(AveragePool2d((h, w)), x)
        flat = self.emit(Reshape((1, c)), pooled)
        y = self.emit(Linear(), flat, self.const(self.array(c, c)), self.const(self.array(c)))
        return self.emit(Mul(), x, self.emit(Reshape((1, c, 1, 1)), y))

    def shuffle(self, x: Value) -> Value:
        _, c, h, w = x.type.shape
        if c % 2:
            return self.emit(Softmax(1), x)
        y = self.emit(Reshape((1, 2, c // 2, h, w)), x)
        return self.emit(Reshape((1, c, h, w)), self.emit(Transpose((0, 2, 1, 3, 4)), y))

    def head(self, x: Value) -> Value:
        flat = self.emit(Reshape((1, x.type.size)), x)
        if self.one_of(0, 1):
            flat = self.emit(Relu(), flat)
        if self.one_of(0, 1):
            flat = self.emit(Add(), flat, self.const(self.array(x.type.size)))
        y = self.emit(Matmul(), flat, self.const(self.array(x.type.size, 3)))
        return self.emit(Add(), y, self.const(self.array(3)))


def random_graph(seed: int, layers: int) -> Graph:
    """A graph of random layers with one to three outputs; every constant is an eighth of an integer."""
    b = _Builder(seed)
    kinds = [
        *(b.conv2d, b.conv2d, b.batch_norm, b.pool, b.pad, b.scalar, b.scalar, b.activation, b.activation),
        *(b.binary, b.concat, b.gate, b.shuffle),
    ]
    for _ in range(layers):
        recent = b.values[-3:]
        layer = kinds[b.rng.integers(len(kinds))]
        b.values.append(layer(recent[b.rng.integers(len(recent))]))
    b.graph.outputs = [b.head(b.values[-1]) if b.one_of(0, 1) else b.values[-1]]
    others = [v for v in b.values[1:-1] if v not in b.graph.outputs]
    if others and b.one_of(0, 1):
        b.graph.outputs.append(others[b.rng.integers(len(others))])
    b.graph.prune()
    return b.graph
