"""Small ONNX models for tests, and the comparison of an imported one with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.ir.verify import verify
from onnx import helper, numpy_helper

onnxruntime.set_default_logger_severity(4)


def one_node(
    op_type: str,
    inputs: Mapping[str, Sequence[Any]],
    constants: Mapping[str, Array] | None = None,
    operands: Sequence[str] | None = None,
    opset: int = 13,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node: its inputs' shapes, its constants, and the operands' order if not inputs first."""
    constants = constants or {}
    node = helper.make_node(op_type, operands or [*inputs, *constants], ["y"], name="node", **attributes)
    return model([node], inputs, constants, ["y"], opset)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    constants: Mapping[str, Array],
    outputs: Sequence[str],
    opset: int = 13,
) -> onnx.ModelProto:
    """A model of float inputs with these shapes; its outputs are declared without any."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(0, 2, shape).astype(np.float32)


def feeds_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Random samples for a graph's inputs."""
    return {v.name: floats(*v.type.shape, seed=seed + i) for i, v in enumerate(graph.inputs)}


def run_onnxruntime(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Each node by itself, as the model says.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    results: list[Array] = session.run(None, dict(feeds))
    return results


def check_against_onnxruntime(
    proto: onnx.ModelProto, rtol: float = 1e-5, atol: float = 1e-5, dims: Mapping[str, int] | None = None
) -> Graph:
    """Import, verify, interpret, and compare every output with ONNX Runtime's."""
    graph = load_onnx(proto, dims)
    verify(graph)
    assert [v.name for v in graph.outputs] == [v.name for v in proto.graph.output]
    feeds = feeds_for(graph)
    found = interpret(graph, [feeds[v.name] for v in graph.inputs])
    for ours, theirs in zip(found, run_onnxruntime(proto, feeds), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
    return graph
