"""Models cut at values and nodes: the part is the same as in the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from commandline import dnncc
from dnncc.errors import UnknownShapeError, UsageError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from onnx import TensorProto, helper
from onnx_models import floats, model


def chain() -> onnx.ModelProto:
    """x -> a -> b -> c, d beside it, and an operator behind that nobody knows."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("Add", ["a", "w"], ["b"], name="second"),
        helper.make_node("Mul", ["b", "x"], ["c"], name="third"),
        helper.make_node("Add", ["a", "a"], ["d"], name="aside"),
        helper.make_node("Mystery", ["c", "d"], ["y"], name="tail", domain="com.acme"),
    ]
    return model(nodes, {"x": [1, 4]}, {"w": floats(1, 4)}, ["y"])


def whole(outputs: list[str]) -> onnx.ModelProto:
    """The same without the tail, for ONNX Runtime."""
    proto = chain()
    del proto.graph.node[-1], proto.graph.output[:]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in outputs
    )
    return proto


def test_outputs_by_value_and_by_node() -> None:
    x = floats(1, 4, seed=3)
    expected = onnxruntime.InferenceSession(whole(["c", "d"]).SerializeToString()).run(None, {"x": x})
    graph = load_onnx(chain(), outputs=["c", "aside"])
    assert [v.name for v in graph.outputs] == ["c", "d"]
    for ours, theirs in zip(interpret(graph, [x]), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_inputs_in_the_middle() -> None:
    graph = load_onnx(chain(), inputs=["b"], outputs=["c"])
    assert [v.name for v in graph.inputs] == ["x", "b"]
    assert [n.name for n in graph.nodes] == ["third"]
    x, b = floats(1, 4), floats(1, 4, seed=1)
    np.testing.assert_allclose(interpret(graph, [x, b])[0], x * b)


def test_a_node_whose_result_is_given_disappears() -> None:
    graph = load_onnx(chain(), inputs=["first"], outputs=["second", "aside"])
    assert [v.name for v in graph.inputs] == ["a"]
    assert [n.name for n in graph.nodes] == ["second", "aside"]


def test_every_unknown_name_is_reported() -> None:
    with pytest.raises(UsageError) as caught:
        load_onnx(chain(), outputs=["thrid", "c", "nothing"])
    assert [c.name for c in caught.value.culprits] == ["thrid", "nothing"]
    assert "third" in str(caught.value)


def test_an_input_behind_an_unknown_operator_has_no_shape() -> None:
    proto = chain()
    proto.graph.node.append(helper.make_node("Relu", ["y"], ["z"], name="last"))
    proto.graph.output[0].name = "z"
    proto.graph.output[0].type.Clear()
    with pytest.raises(UnknownShapeError) as caught:
        load_onnx(proto, inputs=["y"], outputs=["z"])
    assert [c.name for c in caught.value.culprits] == ["y"]


def test_from_the_command_line(tmp_path: Path) -> None:
    onnx.save(chain(), tmp_path / "net.onnx")
    refused = dnncc("inspect", str(tmp_path / "net.onnx"), "--json")
    assert refused.status == 1
    done = dnncc("inspect", str(tmp_path / "net.onnx"), "--outputs", "c,d", "--json")
    assert done.status == 0
    assert [o["name"] for o in done.document["outputs"]] == ["c", "d"]
    done = dnncc(
        "compile", str(tmp_path / "net.onnx"), "--outputs", "c", "--inputs", "a", "--target", "host-c",
        "-o", str(tmp_path / "net"), "--json",
    )  # fmt: skip
    assert done.status == 0
    assert dnncc("validate", str(tmp_path / "net"), "--json").document["match"]
