"""Random small networks as ONNX models: the layers of real ones, in sizes and combinations that nobody would choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx_models import model

Shape = tuple[int, ...]


class _Network:
    """Grows a model layer by layer; ``values`` are the NCHW values so far and ``shapes`` the shapes of all."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes: dict[str, Shape] = {"x": (1, self.size(1, 8), self.size(1, 12), self.size(1, 12))}
        self.values = ["x"]

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def weights(self, *shape: int, fan_in: int = 1) -> str:
        array = self.rng.normal(0, 1 / math.sqrt(fan_in), shape)
        if len(shape) > 1 and self.one_of(True, False):
            array *= 10.0 ** self.rng.uniform(-1, 1, (shape[0], *(1 for _ in shape[1:])))  # channels differ
        return self.constant(array.astype(np.float32))

    def emit(self, op: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [name], name=f"{op.lower()}{len(self.nodes)}", **attributes)
        )
        self.shapes[name] = shape
        return name

    def alike(self, x: str, kept: slice) -> str:
        """A value whose shape agrees with x's in some axes."""
        found = [v for v in self.values if self.shapes[v][kept] == self.shapes[x][kept]]
        return str(self.rng.choice(found))

    # -- layers: from an NCHW value to one -----------------------------------------------------------------------------

    def window(
        self, x: str, largest: int
    ) -> tuple[dict[str, list[int]], tuple[int, int], tuple[int, int]] | None:
        """Attributes, kernel and output of a window that every position of the image has a tap of; or None."""
        image = self.shapes[x][2:]
        kernel = [min(self.size(1, largest), size) for size in image]
        strides = [self.size(1, 3) if self.one_of(True, False) else 1 for _ in image]
        pads = [self.size(0, k // 2) for k in kernel] + [self.size(0, k // 2) for k in kernel]
        dilations = [
            2 if k > 1 and 2 * (k - 1) < size and self.one_of(True, False, False) else 1
            for k, size in zip(kernel, image, strict=True)
        ]
        output = []
        for axis in (0, 1):
            extent = dilations[axis] * (kernel[axis] - 1) + 1
            room = image[axis] + pads[axis] + pads[axis + 2] - extent
            if (
                room < 0
                or room // strides[axis] * strides[axis] >= image[axis] + pads[axis]
                or extent <= pads[axis]
            ):
                return None
            output.append(room // strides[axis] + 1)
        attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}
        return attributes, (kernel[0], kernel[1]), (output[0], output[1])

    def conv(self, x: str) -> str:
        c = self.shapes[x][1]
        found = self.window(x, self.one_of(1, 3, 3, 5))
        if found is None:
            return self.pointwise(x)
        attributes, kernel, output = found
        groups = self.one_of(1, 1, *(g for g in (2, 3) if c % g == 0))
        o = groups * self.size(1, 6)
        w = self.weights(o, c // groups, *kernel, fan_in=c // groups * math.prod(kernel))
        operands = [x, w, self.weights(o)] if self.one_of(True, True, False) else [x, w]
        return self.emit("Conv", operands, (1, o, *output), group=groups, **attributes)

    def depthwise(self, x: str) -> str:
        c = self.shapes[x][1]
        found = self.window(x, self.one_of(3, 3, 5))
        if found is None:
            return self.pointwise(x)
        attributes, kernel, output = found
        o = c * self.one_of(1, 1, 1, 2)
        w = self.weights(o, 1, *kernel, fan_in=math.prod(kernel))
        return self.emit("Conv", [x, w, self.weights(o)], (1, o, *output), group=c, **attributes)

    def pointwise(self, x: str) -> str:
        _, c, h, w = self.shapes[x]
        o = self.one_of(4, 8, 12, self.size(1, 12))
        return self.emit("Conv", [x, self.weights(o, c, 1, 1, fan_in=c), self.weights(o)], (1, o, h, w))

    def normalization(self, x: str) -> str:
        c = self.shapes[x][1]
        variance = self.constant(self.rng.uniform(0.2, 2, c).astype(np.float32))
        operands = [x, self.weights(c), self.weights(c), self.weights(c), variance]
        return self.emit("BatchNormalization", operands, self.shapes[x])

    def activation(self, x: str) -> str:
        if self.one_of(True, True, False):
            return self.emit("Relu", [x], self.shapes[x])
        lo, hi = self.one_of((0.0, 6.0), (0.0, 1.0), (-1.0, 1.0), (0.5, 2.0))
        bounds = [self.constant(np.array(bound, np.float32)) for bound in (lo, hi)]
        return self.emit("Clip", [x, *bounds], self.shapes[x])

    def residual(self, x: str) -> str:
        return self.emit(
            self.one_of("Add", "Add", "Sub", "Mul"), [x, self.alike(x, slice(None))], self.shapes[x]
        )

    def shift_and_scale(self, x: str) -> str:
        _, c, h, w = self.shapes[x]
        shape = self.one_of((), (c, 1, 1), (1, c, 1, 1), (1, 1, h, w), (1, c, h, w))
        operands = [x, self.weights(*shape)] if shape else [x, self.constant(np.array(0.7, np.float32))]
        return self.emit(
            self.one_of("Add", "Mul", "Sub"), self.one_of(operands, operands[::-1]), self.shapes[x]
        )

    def concat(self, x: str) -> str:
        axis = self.one_of(1, 1, 2, 3)
        others = [v for v in self.values if _without(self.shapes[v], axis) == _without(self.shapes[x], axis)]
        parts = [x, *self.rng.choice(others, self.size(1, 3))]
        shape = list(self.shapes[x])
        shape[axis] = sum(self.shapes[p][axis] for p in parts)
        return self.emit("Concat", parts, tuple(shape), axis=axis)

    def pool(self, x: str) -> str:
        found = self.window(x, self.one_of(2, 3))
        if found is None:
            return self.activation(x)
        attributes, _, output = found
        shape = (*self.shapes[x][:2], *output)
        if self.one_of(True, False):
            return self.emit("MaxPool", [x], shape, **attributes)
        del attributes["dilations"]
        found_without = self.window_shape(x, attributes)
        if found_without is None:
            return self.activation(x)
        return self.emit(
            "AveragePool", [x], (*shape[:2], *found_without), count_include_pad=self.size(0, 1), **attributes
        )

    def window_shape(self, x: str, attributes: dict[str, list[int]]) -> tuple[int, int] | None:
        """The output of an undilated window, None if a position has no tap in the image."""
        output = []
        for axis, size in enumerate(self.shapes[x][2:]):
            kernel, stride = attributes["kernel_shape"][axis], attributes["strides"][axis]
            before, after = attributes["pads"][axis], attributes["pads"][axis + 2]
            count = (size + before + after - kernel) // stride + 1
            if (count - 1) * stride >= size + before:
                return None
            output.append(count)
        return output[0], output[1]

    def border(self, x: str) -> str:
        pads = [
            0,
            0,
            *(self.size(0, 2) for _ in range(2)),
            0,
            self.one_of(0, 0, 1),
            *(self.size(0, 2) for _ in range(2)),
        ]
        shape = tuple(d + pads[i] + pads[i + 4] for i, d in enumerate(self.shapes[x]))
        value = self.constant(np.array(self.one_of(0.0, 0.0, 0.5), np.float32))
        return self.emit("Pad", [x, self.constant(np.array(pads)), value], shape)

    def crop(self, x: str) -> str:
        axis = self.one_of(1, 2, 3)
        size = self.shapes[x][axis]
        start, step = self.size(0, size - 1), self.size(1, 2)
        stop = self.size(start + 1, size)
        operands = [self.constant(np.array([n])) for n in (start, stop, axis, step)]
        shape = list(self.shapes[x])
        shape[axis] = len(range(start, stop, step))
        return self.emit("Slice", [x, *operands], tuple(shape))

    def gate(self, x: str) -> str:
        _, c, _, _ = self.shapes[x]
        pooled = self.emit("GlobalAveragePool", [x], (1, c, 1, 1))
        weight = self.emit(
            "Conv", [pooled, self.weights(c, c, 1, 1, fan_in=c), self.weights(c)], (1, c, 1, 1)
        )
        bounds = [self.constant(np.array(bound, np.float32)) for bound in (0.0, 1.0)]
        return self.emit("Mul", [x, self.emit("Clip", [weight, *bounds], (1, c, 1, 1))], self.shapes[x])

    def shuffle(self, x: str) -> str:
        _, c, h, w = self.shapes[x]
        groups = next((g for g in (3, 2) if c % g == 0), 1)
        split = self.constant(np.array([1, groups, c // groups, h, w]))
        y = self.emit("Reshape", [x, split], (1, groups, c // groups, h, w))
        y = self.emit("Transpose", [y], (1, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        return self.emit("Reshape", [y, self.constant(np.array([1, c, h, w]))], (1, c, h, w))

    def mixing(self, x: str) -> str:
        """Positions attend to one another: two activations are multiplied."""
        _, c, h, w = self.shapes[x]
        flat = self.emit("Reshape", [x, self.constant(np.array([1, c, h * w]))], (1, c, h * w))
        turned = self.emit("Transpose", [flat], (1, h * w, c), perm=[0, 2, 1])
        scores = self.emit("MatMul", [turned, flat], (1, h * w, h * w))
        scores = self.emit(
            "Mul", [scores, self.constant(np.array(1 / math.sqrt(c), np.float32))], (1, h * w, h * w)
        )
        scores = self.emit("Softmax", [scores], (1, h * w, h * w), axis=self.one_of(1, 2))
        mixed = self.emit("MatMul", [scores, turned], (1, h * w, c))
        back = self.emit("Transpose", [mixed], (1, c, h * w), perm=[0, 2, 1])
        return self.emit("Reshape", [back, self.constant(np.array([1, c, h, w]))], (1, c, h, w))

    # -- heads ---------------------------------------------------------------------------------------------------------

    def head(self, x: str) -> str:
        if self.one_of(True, False):
            x = self.emit(self.one_of("GlobalAveragePool", "GlobalMaxPool"), [x], (*self.shapes[x][:2], 1, 1))
        size = math.prod(self.shapes[x])
        y = self.emit("Flatten", [x], (1, size), axis=1)
        for _ in range(self.size(1, 2)):
            out = self.one_of(4, 10, self.size(1, 12))
            y = self.emit(
                "Gemm", [y, self.weights(out, size, fan_in=size), self.weights(out)], (1, out), transB=1
            )
            size = out
            y = self.emit("Relu", [y], (1, out)) if self.one_of(True, False) else y
        return self.emit("Softmax", [y], (1, size), axis=1) if self.one_of(True, False) else y


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def random_network(seed: int) -> onnx.ModelProto:
    """A network of 3 to 10 random layers with an input x and one or two outputs."""
    net = _Network(seed)
    layers: list[Callable[[str], str]] = [net.conv, net.conv, net.depthwise, net.depthwise, net.pointwise]
    layers += [
        net.activation,
        net.activation,
        net.normalization,
        net.residual,
        net.residual,
        net.concat,
        net.pool,
    ]
    layers += [net.pool, net.border, net.crop, net.gate, net.shuffle, net.shift_and_scale, net.mixing]
    for _ in range(net.size(3, 10)):
        x = str(net.rng.choice(net.values[-3:]))
        layer = net.one_of(*layers)
        if layer == net.mixing and math.prod(net.shapes[x][2:]) > 40:
            layer = net.pool
        y = layer(x)
        if math.prod(net.shapes[y]) <= 4096:
            net.values.append(y)
    outputs = [net.head(net.values[-1]) if net.one_of(True, True, False) else net.values[-1]]
    if len(net.values) > 2 and net.one_of(True, False, False):
        outputs.append(str(net.rng.choice(net.values[1:])))
    return model(net.nodes, {"x": net.shapes["x"]}, net.constants, list(dict.fromkeys(outputs)))
