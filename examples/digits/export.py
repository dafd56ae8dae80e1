"""Write a trained DigitsNetwork as ONNX, node by node.

torch.onnx folds BatchNorm into the convolutions; here it stays a node of its own, as in many models found in
the wild. Nodes are named after the PyTorch modules, initializers after their parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from network import ConvNorm, DigitsNetwork
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17


@dataclass
class GraphWriter:
    """Nodes in execution order, and their initializers; each method adds one and returns its name."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: nn.Parameter) -> str:
        array = np.ascontiguousarray(value.detach().numpy(), dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def conv_norm(self, name: str, block: ConvNorm, x: str) -> str:
        conv, norm = block.conv, block.norm
        x = self.node(
            "Conv",
            f"{name}.conv",
            [x, self.constant(f"{name}.conv.weight", conv.weight)],
            kernel_shape=list(conv.kernel_size),
            pads=list(conv.padding) * 2,
            group=conv.groups,
        )
        parameters = [
            self.constant(f"{name}.norm.{field_name}", getattr(norm, field_name))
            for field_name in ("weight", "bias", "running_mean", "running_var")
        ]
        return self.node("BatchNormalization", f"{name}.norm", [x, *parameters], epsilon=norm.eps)

    def relu(self, name: str, x: str) -> str:
        return self.node("Relu", f"{name}.relu", [x])


def to_onnx(network: DigitsNetwork) -> onnx.ModelProto:
    """The trained network, checked; input `image` [batch, 1, 8, 8], output `logits` [batch, 10], float32."""
    writer = GraphWriter()
    x = writer.relu("stem", writer.conv_norm("stem", network.stem, "image"))
    x = writer.relu("depthwise", writer.conv_norm("depthwise", network.depthwise, x))
    x = writer.relu("pointwise", writer.conv_norm("pointwise", network.pointwise, x))
    x = writer.node("MaxPool", "pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    y = writer.relu("first", writer.conv_norm("first", network.first, x))
    y = writer.conv_norm("second", network.second, y)
    x = writer.relu("residual", writer.node("Add", "residual.add", [x, y]))
    x = writer.node("AveragePool", "average", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = writer.node("Flatten", "flatten", [x], axis=1)
    weight = writer.constant("classifier.weight", network.classifier.weight)
    bias = writer.constant("classifier.bias", network.classifier.bias)
    writer.node("Gemm", "classifier", [x, weight, bias], transB=1)
    writer.nodes[-1].output[0] = "logits"

    graph = helper.make_graph(
        writer.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        writer.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="examples/digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def save(network: DigitsNetwork, path: Path) -> None:
    """Write `to_onnx(network)` to `path`."""
    onnx.save_model(to_onnx(network), path)
