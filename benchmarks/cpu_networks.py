"""The networks that the CPU target is measured on, as ONNX files with seeded random weights where none are shipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from benchmarks.networks import find_networks

LIGHT = ("resnet50", "squeezenet", "densenet121", "inception_v1", "shufflenet", "vgg19")
TINY = ("kws", "ic", "vww", "ad")
NAMES = ("resnet50", "squeezenet", "mobilenetv2", "kws", "ic", "vww")
_OPSET = 13


def find(name: str, folder: Path) -> Path | None:
    """The ONNX file of a network, made in ``folder`` if need be; None if its data are not here."""
    if name in TINY:
        found, _ = find_networks([name])
        return found[0].model if found else None
    path = folder / f"{name}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(mobilenet_v2() if name == "mobilenetv2" else light(name), path)
    return path


def light(name: str) -> onnx.ModelProto:
    """One of the onnx wheel's architectures, whose weights are constant there, with random ones."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(folder / f"light_{name}.onnx")
    rng = np.random.default_rng(0)
    shapes = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    made, kept = [], []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(d) for d in shapes[node.input[0]])
            made.append(numpy_helper.from_array(_filled(model, node.output[0], shape, rng), node.output[0]))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    initializers = [i for i in model.graph.initializer if i.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend([*initializers, *made])
    inputs = [i for i in model.graph.input if i.name not in shapes]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 8
    return version_converter.convert_version(model, _OPSET)


def _filled(
    model: onnx.ModelProto, name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Weights that keep magnitudes; a batch normalization's variance and scale are near one, the rest near zero."""
    for node in model.graph.node:
        if name in node.input:
            position = list(node.input).index(name)
            if node.op_type == "BatchNormalization" and position in (1, 4):
                return rng.uniform(0.5, 1.5, shape).astype(np.float32)
            break
    if len(shape) < 2:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return (rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))).astype(np.float32)


def mobilenet_v2(size: int = 224) -> onnx.ModelProto:
    """MobileNetV2 at width 1 (Sandler et al. 2018, table 2), batch normalization folded, random weights."""
    builder = _Builder()
    x, c = builder.conv("x", 3, 32, 3, 2), 32
    for expansion, channels, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(repeats):
            step = stride if index == 0 else 1
            y = builder.conv(x, c, c * expansion, 1) if expansion > 1 else x
            y = builder.conv(y, c * expansion, c * expansion, 3, step, groups=c * expansion)
            y = builder.conv(y, c * expansion, channels, 1, relu=False)
            x = builder.node("Add", [x, y]) if step == 1 and c == channels else y
            c = channels
    x = builder.conv(x, c, 1280, 1)
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x])])
    weights = builder.weight((1000, 1280)), builder.weight((1000,))
    y = builder.node("Gemm", [x, *weights], transB=1)
    return builder.model(("x", (1, 3, size, size)), (y, (1, 1000)))


class _Builder:
    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: Sequence[str], **attributes: object) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def weight(self, shape: tuple[int, ...]) -> str:
        scale = 0.1 if len(shape) == 1 else math.sqrt(2 / math.prod(shape[1:]))
        name = f"w{len(self._weights)}"
        data = (scale * self._rng.standard_normal(shape)).astype(np.float32)
        self._weights.append(numpy_helper.from_array(data, name))
        return name

    def scalar(self, value: float) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def conv(
        self, x: str, c: int, o: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> str:
        weights = self.weight((o, c // groups, kernel, kernel)), self.weight((o,))
        y = self.node(
            "Conv",
            [x, *weights],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return self.node("Clip", [y, self.scalar(0.0), self.scalar(6.0)]) if relu else y

    def model(
        self, given: tuple[str, tuple[int, ...]], result: tuple[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        borders = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in (given, result)]
        graph = helper.make_graph(self._nodes, "mobilenetv2", *borders, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
