"""Whole models: real networks against ONNX Runtime, and what becomes of names, shapes and data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Example
from dnncc.errors import UnknownShapeError, UnsupportedError, UsageError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph
from dnncc.ir.verify import verify
from onnx import TensorProto, helper, numpy_helper
from onnx_models import check_against_onnxruntime, feeds_for, floats, model, run_onnxruntime

TINY = {"kws": 2_656_768, "ic": 12_501_632, "vww": 7_489_664, "ad": 264_192}
# The onnx package's own, with constants for weights; multiply-accumulates as their papers give them.
LIGHT = {"squeezenet": 349_151_936, "shufflenet": 124_664_528}


@pytest.mark.parametrize("name", TINY)
def test_mlperf_tiny(name: str, data_dir: Path) -> None:
    path = data_dir / "mlperf-tiny" / f"{name}.onnx"
    proto = onnx.load(path)
    graph = load_onnx(path)
    verify(graph)
    assert graph.name == name
    assert graph.macs() == TINY[name]
    for seed in range(3):
        feeds = feeds_for(graph, seed)
        (ours,), (theirs,) = interpret(graph, [*feeds.values()]), run_onnxruntime(proto, feeds)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_keywords_are_recognized(data_dir: Path) -> None:
    samples = np.load(data_dir / "mlperf-tiny" / "kws01.npz")
    graph = load_onnx(data_dir / "mlperf-tiny" / "kws.onnx")
    x = ((samples["x"].astype(np.float32) - 83) * 0.5847029089927673).reshape(-1, 1, 1, 49, 10)
    guesses = [int(np.argmax(interpret(graph, [sample])[0])) for sample in x[:200]]
    assert np.mean(np.array(guesses) == samples["y"][:200]) > 0.88


def test_digits(digits: Example) -> None:
    graph = check_against_onnxruntime(onnx.load(digits.model))
    assert (graph.inputs[0].name, graph.inputs[0].type.shape) == ("image", (1, 1, 8, 8))
    assert (graph.outputs[0].name, graph.outputs[0].type.shape) == ("logits", (1, 10))


@pytest.mark.parametrize("name", LIGHT)
def test_light_models(name: str) -> None:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    proto = onnx.load(folder / f"light_{name}.onnx")
    graph = check_against_onnxruntime(proto, atol=1e-4)
    assert graph.macs() == LIGHT[name]


# -- dimensions ---------------------------------------------------------------------------------


def symbolic(*shapes: list[Any]) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(len(shapes))]
    return model([helper.make_node("Sum", names, ["y"])], dict(zip(names, shapes, strict=True)), {}, ["y"])


def test_the_batch_becomes_one() -> None:
    assert load_onnx(symbolic(["N", 3])).inputs[0].type.shape == (1, 3)
    assert load_onnx(symbolic([None, 3])).inputs[0].type.shape == (1, 3)
    # What has the batch's symbol has its size.
    assert load_onnx(symbolic(["N", 3], [3, "N", 1])).outputs[0].type.shape == (3, 1, 3)


def test_a_fixed_batch_stays() -> None:
    assert check_against_onnxruntime(symbolic([4, 3])).outputs[0].type.shape == (4, 3)


def test_dimensions_are_given_by_symbol_or_by_position() -> None:
    dims = {"H": 5, "x0.2": 2}
    graph = check_against_onnxruntime(symbolic(["N", "H", None]), dims=dims)
    assert graph.outputs[0].type.shape == (1, 5, 2)
    assert load_onnx(symbolic(["N", 3]), {"N": 8}).inputs[0].type.shape == (8, 3)


def test_unknown_dimensions_are_all_listed() -> None:
    with pytest.raises(UnknownShapeError) as caught:
        load_onnx(symbolic(["N", "H", 3], ["N", None, "W"]))
    assert [culprit.name for culprit in caught.value.culprits] == ["x0", "x1"]
    assert "--dim H=VALUE --dim W=VALUE --dim x1.1=VALUE" in caught.value.help


def test_an_input_without_a_shape_is_unknown() -> None:
    proto = symbolic([2])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnknownShapeError):
        load_onnx(proto)


@pytest.mark.parametrize("dims", [{"M": 2}, {"N": 0}, {"N": -1}])
def test_wrong_dimensions_are_a_usage_error(dims: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        load_onnx(symbolic(["N", 3]), dims)


# -- names --------------------------------------------------------------------------------------


def all_names(graph: Graph) -> Iterator[str]:
    yield from (value.name for value in graph.values())


def test_names_are_kept_and_made_unique() -> None:
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["Conv_1"], name="same"),
        node("Conv", ["Conv_1", "w"], ["c"]),
        node("Relu", ["c"], ["c_conv2d"], name="same"),
        node("Flatten", ["c_conv2d"], ["y"], name="Conv_1_transpose"),
    ]
    proto = model(nodes, {"x": [1, 2, 3, 3]}, {"w": floats(1, 2, 3, 3)}, ["y"])
    graph = load_onnx(proto)
    verify(graph)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert len(set(all_names(graph))) == len([*all_names(graph)])
    named = {node.name: node.op.name for node in graph.nodes}
    assert (named["same"], named["same_1"], named["Conv_1"]) == ("relu", "relu", "conv2d")
    assert {"x", "Conv_1", "c", "c_conv2d", "y"} <= set(all_names(graph))
    assert load_onnx(proto).name == "test"
    assert load_onnx(proto, name="net").name == "net"


def test_outputs_keep_their_names() -> None:
    """Whether they are inputs, constants, or the same value several times."""
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Identity", ["r"], ["a"]),
        node("Identity", ["r"], ["b"]),
        node("Identity", ["x"], ["c"]),
        node("Identity", ["w"], ["d"]),
        node("Add", ["r", "w"], ["e"]),
    ]
    proto = model(nodes, {"x": [2]}, {"w": floats(2)}, ["a", "b", "c", "d", "e", "r"])
    check_against_onnxruntime(proto)
    check_against_onnxruntime(model([], {"x": [2]}, {}, ["x"]))


def test_what_nobody_reads_does_not_matter() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("NonZero", ["x"], ["unused"]),
        helper.make_node("Relu", ["z"], ["unused too"]),
    ]
    graph = load_onnx(model(nodes, {"x": [2], "z": [3]}, {"w": floats(1)}, ["y"]))
    assert [value.name for value in graph.inputs] == ["x", "z"]
    assert [node.op.name for node in graph.nodes] == ["relu"]


def test_nodes_may_come_in_any_order() -> None:
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    graph = load_onnx(model(nodes, {"x": [2]}, {}, ["y"]))
    assert [node.output.name for node in graph.nodes] == ["a", "y"]


def test_the_given_model_is_not_changed() -> None:
    proto = symbolic(["N", 3])
    before = proto.SerializeToString()
    load_onnx(proto)
    assert proto.SerializeToString() == before


# -- constants ----------------------------------------------------------------------------------


def test_initializers_that_are_inputs_too_are_constants() -> None:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [2], "w": [2]}, {"w": floats(2)}, ["y"])
    proto.ir_version = 3
    graph = load_onnx(proto)
    assert [value.name for value in graph.inputs] == ["x"]
    assert np.array_equal(interpret(graph, [floats(2)])[0], 2 * floats(2))


FLOATING = [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16]
HALVES = np.array([1.5, -0.25, 65504, 6e-8], np.float32)


def weights_as(kind: int, raw: bool) -> onnx.TensorProto:
    numpy_type = helper.tensor_dtype_to_np_dtype(kind)
    values = HALVES[:2].astype(numpy_type)
    if raw:
        return helper.make_tensor("w", kind, [2], values.tobytes(), raw=True)
    return helper.make_tensor("w", kind, [2], values.astype(np.float64))


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", FLOATING)
def test_weights_of_any_floating_type_become_f32(kind: int, raw: bool) -> None:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": [2]}, {}, ["y"])
    proto.graph.initializer.append(weights_as(kind, raw))
    proto.graph.input[0].type.tensor_type.elem_type = kind
    (found,) = interpret(load_onnx(proto), [np.zeros(2, np.float32)])
    assert found.tolist() == [1.5, -0.25]


def test_half_precision_weights_cast_to_single() -> None:
    nodes = [helper.make_node("Cast", ["h"], ["w"], to=1), helper.make_node("Add", ["x", "w"], ["y"])]
    graph = check_against_onnxruntime(model(nodes, {"x": [4]}, {"h": HALVES.astype(np.float16)}, ["y"]))
    assert [node.op.name for node in graph.nodes] == ["add"]
    rounded = [helper.make_node("Cast", ["f"], ["h"], to=10), *nodes]
    check_against_onnxruntime(model(rounded, {"x": [4]}, {"f": floats(4) / 3}, ["y"]), rtol=0, atol=0)


def test_doubles_that_single_precision_cannot_hold_are_unsupported() -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    with pytest.raises(UnsupportedError, match="too large"):
        load_onnx(model(nodes, {"x": [2]}, {"w": np.array([1e39, 1])}, ["y"]))
    graph = load_onnx(model(nodes, {"x": [2]}, {"w": np.array([np.inf, 1 / 3])}, ["y"]))
    (constant,) = (v for v in graph.values() if isinstance(v, Const))
    assert constant.data.tolist() == [np.inf, np.float32(1 / 3)]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
@pytest.mark.parametrize("raw", [False, True])
def test_integers_arrive_as_they_are(dtype: str, raw: bool) -> None:
    values = np.array([0, 1, 1, 0] if dtype == "bool" else [np.iinfo(dtype).min, 0, 1, 2], dtype)
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    data = values.tobytes() if raw else values
    nodes = [helper.make_node("Cast", ["w"], ["f"], to=1), helper.make_node("Add", ["x", "f"], ["y"])]
    proto = model(nodes, {"x": [4]}, {}, ["y"])
    proto.graph.initializer.append(helper.make_tensor("w", kind, [4], data, raw))
    (found,) = interpret(load_onnx(proto), [np.zeros(4, np.float32)])
    assert np.array_equal(found, values.astype(np.float32))


def test_external_data(tmp_path: Path) -> None:
    weights = floats(3, 4)
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 3]}, {"w": weights}, ["y"])
    (tmp_path / "data").mkdir()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="data/weights.bin", size_threshold=0)
    graph = load_onnx(path)
    x = floats(1, 3)
    np.testing.assert_allclose(interpret(graph, [x])[0], x @ weights, rtol=1e-5)
    assert graph.name == "model"
    assert numpy_helper.to_array(onnx.load(path).graph.initializer[0]).tolist() == weights.tolist()
