"""Models that cannot be read: one error with everything that is wrong, never a traceback."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Example
from dnncc.errors import (
    DnnccError,
    ExternalDataError,
    InvalidGraphError,
    UnreadableModelError,
    UnsupportedError,
)
from dnncc.frontends.onnx import load_onnx
from onnx import TensorProto, helper
from onnx_models import floats, model, one_node

node = helper.make_node


def culprits(proto: onnx.ModelProto | Path, kind: type[DnnccError]) -> list[str]:
    """The names of what an error of exactly this kind complains about."""
    with pytest.raises(DnnccError) as caught:
        load_onnx(proto)
    assert type(caught.value) is kind, caught.value
    return [culprit.name for culprit in caught.value.culprits]


# -- files --------------------------------------------------------------------------------------


def test_missing_file_folder_and_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    for name in ("missing.onnx", ".", "empty.onnx", "a\0b", "x" * 5000):
        with pytest.raises(UnreadableModelError):
            load_onnx(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind the administrator")
def test_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.onnx"
    path.write_bytes(one_node("Relu", {"x": [1]}).SerializeToString())
    path.chmod(0)
    with pytest.raises(UnreadableModelError):
        load_onnx(path)


@pytest.mark.parametrize(
    "content", [b"not a model", b"\x00" * 100, b"PK\x03\x04" + bytes(range(256)), b"{}", b"\n"]
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnreadableModelError):
        load_onnx(path)


def test_truncated_files(tmp_path: Path, digits: Example) -> None:
    whole = digits.model.read_bytes()
    path = tmp_path / "model.onnx"
    for length in range(1, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DnnccError):
            load_onnx(path)


@pytest.mark.parametrize("name", [b"input_x", b"Softmax", b"axis", b"node", b"symbol", b"axes", b"test"])
def test_names_that_are_no_text(tmp_path: Path, name: bytes) -> None:
    raw = one_node("Softmax", {"input_x": ["symbol"]}, {"axes": floats(1)}, axis=0).SerializeToString()
    assert name in raw
    raw = raw.replace(name, name[:-2] + b"\xff\xfe")
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    with pytest.raises(UnreadableModelError):
        load_onnx(path)


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_opsets_that_are_too_old_or_too_new(opset: int) -> None:
    with pytest.raises(UnsupportedError, match=f"opset {opset}") as caught:
        load_onnx(one_node("Relu", {"x": [1]}, opset=opset))
    assert ("version_converter" in caught.value.help) == (opset < 7)


def test_a_model_that_does_not_say_its_opset_is_too_old() -> None:
    proto = one_node("Relu", {"x": [1]})
    del proto.opset_import[:]
    assert culprits(proto, UnsupportedError) == []


# -- wiring -------------------------------------------------------------------------------------


def test_dangling_operands_are_all_listed() -> None:
    nodes = [
        node("Add", ["x", "nowhere"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="fine"),
        node("Add", ["b", "lost"], ["y"], name="second"),
    ]
    assert culprits(model(nodes, {"x": [1]}, {}, ["y", "z"]), InvalidGraphError) == ["first", "second", "z"]


def test_a_cycle_is_named_without_what_is_behind_it() -> None:
    nodes = [
        node("Relu", ["x"], ["before"], name="before"),
        node("Add", ["before", "c"], ["b"], name="one"),
        node("Relu", ["b"], ["c"], name="two"),
        node("Relu", ["c"], ["y"], name="behind"),
    ]
    assert culprits(model(nodes, {"x": [1]}, {}, ["y"]), InvalidGraphError) == ["one", "two"]


def test_names_that_are_defined_twice() -> None:
    relus = [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]
    assert culprits(model(relus, {"x": [1]}, {}, ["y"]), InvalidGraphError) == ["y"]
    assert culprits(model([node("Relu", ["x"], ["x"])], {"x": [1]}, {}, ["x"]), InvalidGraphError) == ["x"]
    once = [node("Relu", ["x"], ["w"])]
    assert culprits(model(once, {"x": [1]}, {"w": floats(1)}, ["w"]), InvalidGraphError) == ["w"]
    twice = one_node("Relu", {"x": [1]})
    twice.graph.input.append(twice.graph.input[0])
    assert culprits(twice, InvalidGraphError) == ["x"]
    weights = model([node("Add", ["x", "w"], ["y"])], {"x": [1]}, {"w": floats(1)}, ["y"])
    weights.graph.initializer.append(weights.graph.initializer[0])
    assert culprits(weights, InvalidGraphError) == ["w"]
    outputs = model(relus[:1], {"x": [1]}, {}, ["y", "y"])
    assert culprits(outputs, InvalidGraphError) == ["y"]


def test_a_graph_needs_outputs() -> None:
    assert culprits(model([node("Relu", ["x"], ["y"])], {"x": [1]}, {}, []), InvalidGraphError) == ["test"]


# -- nodes --------------------------------------------------------------------------------------


def test_unsupported_nodes_are_all_listed() -> None:
    nodes = [
        node("TfIdfVectorizer", ["x"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="fine"),
        node("Fancy", ["b"], ["c"], name="second", domain="com.example"),
        node("Relu", ["x"], ["d"], name="third", slope=1.0),
        node("Sum", ["b", "c", "d"], ["e"], name="also fine"),
        node("Det", ["e"], ["y"]),
    ]
    proto = model(nodes, {"x": [1]}, {}, ["y"])
    with pytest.raises(UnsupportedError) as caught:
        load_onnx(proto)
    found = [(culprit.name, culprit.op) for culprit in caught.value.culprits]
    assert found == [
        ("first", "TfIdfVectorizer"),
        ("second", "com.example.Fancy"),
        ("third", "Relu"),
        ("Det_5", "Det"),
    ]
    assert caught.value.exit_code == 1
    assert all(name in caught.value.render() for name, _ in found)


@pytest.mark.parametrize(
    "kind",
    [TensorProto.STRING, TensorProto.FLOAT8E4M3FN],
)
def test_inputs_of_other_types(kind: int) -> None:
    proto = one_node("Relu", {"x": [1]})
    proto.graph.input[0].type.tensor_type.elem_type = kind
    assert culprits(proto, UnsupportedError) == ["x"]


def test_inputs_that_are_no_tensors() -> None:
    proto = one_node("Relu", {"x": [1]})
    proto.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1]))
    assert culprits(proto, UnsupportedError) == ["x"]
    proto.graph.input[0].ClearField("type")
    assert culprits(proto, UnsupportedError) == ["x"]


def test_constants_of_other_types() -> None:
    nodes = [node("Add", ["x", "w"], ["y"])]
    proto = model(nodes, {"x": [1]}, {"w": np.array([1], np.complex64)}, ["y"])
    assert culprits(proto, UnsupportedError) == ["w"]
    proto = model(nodes, {"x": [1]}, {}, ["y"])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("i", 7, [1], [0]), [1]
    )
    proto.graph.sparse_initializer.append(sparse)
    assert culprits(proto, UnsupportedError) == ["w"]


Form = tuple[str, dict[str, list[int]], dict[str, Any], dict[str, Any]]
W = floats(1, 2, 3, 3)
INVALID: list[Form] = [
    ("Add", {"a": [2], "b": [3]}, {}, {}),
    ("Add", {"a": [2]}, {}, {}),
    ("Add", {"a": [2]}, {"b": np.array([1, 2])}, {}),
    ("Conv", {"x": [1, 3, 5, 5]}, {"w": W}, {}),
    ("Conv", {"x": [1, 2, 2, 2]}, {"w": W}, {}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W, "b": floats(2)}, {}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"group": 0}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"kernel_shape": [2, 2]}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"pads": [1, 1]}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"strides": [0, 1]}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"strides": 1}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"dilations": [1, 1, 1]}),
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": W}, {"auto_pad": "MOSTLY"}),
    ("MaxPool", {"x": [1, 2, 5, 5]}, {}, {}),
    ("MaxPool", {"x": [1, 2, 5, 5]}, {}, {"kernel_shape": [0, 1]}),
    ("Gemm", {"a": [2, 3], "b": [4, 5]}, {}, {}),
    ("Gemm", {"a": [2, 3], "b": [3, 4], "c": [5, 4]}, {}, {}),
    ("Gemm", {"a": [2, 3, 1], "b": [3, 4]}, {}, {}),
    ("MatMul", {"a": [2, 3]}, {"b": floats(4, 5)}, {}),
    ("MatMul", {"a": []}, {"b": floats(4, 5)}, {}),
    ("Softmax", {"x": [2, 3]}, {}, {"axis": 2}),
    ("Softmax", {"x": [2, 3]}, {}, {"axis": 1.0}),
    ("Concat", {"a": [2], "b": [2]}, {}, {}),
    ("Concat", {"a": [2, 1], "b": [2, 2]}, {}, {"axis": 0}),
    ("Reshape", {"x": [4]}, {"s": np.array([3, -1])}, {}),
    ("Reshape", {"x": [4]}, {"s": np.array([-1, -1])}, {}),
    ("Reshape", {"x": [4]}, {"s": np.array([4, 0])}, {}),
    ("Reshape", {"x": [4]}, {"s": np.array([-2])}, {}),
    ("Squeeze", {"x": [1, 2]}, {"axes": np.array([1])}, {}),
    ("Unsqueeze", {"x": [2]}, {"axes": np.array([0, 0])}, {}),
    ("Unsqueeze", {"x": [2]}, {"axes": np.array([5])}, {}),
    ("Transpose", {"x": [2, 3]}, {}, {"perm": [0, 0]}),
    ("Pad", {"x": [2]}, {"p": np.array([1])}, {}),
    (
        "Slice",
        {"x": [2]},
        {"s": np.array([0]), "e": np.array([1]), "a": np.array([0]), "t": np.array([0])},
        {},
    ),
    ("BatchNormalization", {"x": [1, 2]}, {n: floats(3) for n in "abcd"}, {}),
    ("Clip", {"x": [2]}, {"lo": np.float32([1, 2])}, {}),
    ("Clip", {"x": [2]}, {"lo": np.float32(np.nan)}, {}),
    ("Flatten", {"x": [2]}, {}, {"axis": 3}),
    ("ReduceMean", {"x": [2]}, {}, {"axes": [1]}),
    ("Expand", {"x": [2]}, {"s": np.array([3])}, {}),
]


@pytest.mark.parametrize(("op_type", "inputs", "constants", "attributes"), INVALID, ids=lambda v: str(v)[:30])
def test_nodes_that_make_no_sense(
    op_type: str, inputs: dict[str, list[int]], constants: dict[str, Any], attributes: dict[str, Any]
) -> None:
    assert culprits(one_node(op_type, inputs, constants, **attributes), InvalidGraphError) == ["node"]


def test_constants_that_would_not_fit_into_memory() -> None:
    nodes = [
        node("ConstantOfShape", ["a"], ["b"], name="huge"),
        node("Expand", ["one", "a"], ["c"], name="huge too"),
        node("Range", ["zero", "end", "step"], ["d"], name="long"),
        node("Cast", ["d"], ["e"], to=1),
        node("Sum", ["x", "b", "c", "e"], ["y"]),
    ]
    scalars = {"zero": np.array(0), "end": np.array(2**62), "step": np.array(1)}
    constants = {"a": np.array([2**40, 2**20]), "one": floats(1), **scalars}
    assert culprits(model(nodes, {"x": [1]}, constants, ["y"]), UnsupportedError) == [
        "huge",
        "huge too",
        "long",
    ]


# -- data ---------------------------------------------------------------------------------------


def with_weights(tensor: TensorProto) -> onnx.ModelProto:
    proto = model([node("Add", ["x", "w"], ["y"])], {"x": [1]}, {}, ["y"])
    proto.graph.initializer.append(tensor)
    return proto


@pytest.mark.parametrize("dims", [[3], [-2], [2, 2], [2**40, 2**40]])
def test_data_that_does_not_fit_its_dimensions(dims: list[int]) -> None:
    for tensor in (
        helper.make_tensor("w", 1, [2], [1, 2]),
        helper.make_tensor("w", 1, [2], bytes(8), raw=True),
    ):
        tensor.dims[:] = dims
        assert culprits(with_weights(tensor), InvalidGraphError) == ["w"]


def external(**entries: str) -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return with_weights(tensor)


EXTERNAL: list[dict[str, str]] = [
    {"location": "missing.bin"},
    {"location": "short.bin"},
    {"location": "good.bin", "offset": "4"},
    {"location": "good.bin", "offset": "-4"},
    {"location": "good.bin", "offset": "four"},
    {"location": "good.bin", "length": "4"},
    {"location": "good.bin", "length": "99999999999"},
    {"location": "../outside.bin"},
    {"location": "folder/../../outside.bin"},
    {"location": "link.bin"},
    {"location": "loop.bin"},
    {"location": "folder"},
    {"location": ""},
    {"location": "a\0b"},
    {"location": "x" * 5000},
    {},
]


@pytest.mark.parametrize("entries", EXTERNAL, ids=lambda e: str(e)[:40])
def test_external_data_that_cannot_be_used(tmp_path: Path, entries: dict[str, str]) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(bytes(8))
    (folder / "good.bin").write_bytes(bytes(8))
    (folder / "short.bin").write_bytes(bytes(7))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    path = folder / "model.onnx"
    path.write_bytes(external(location="good.bin").SerializeToString())
    load_onnx(path)
    path.write_bytes(external(**entries).SerializeToString())
    assert culprits(path, ExternalDataError) == ["w"]


def test_external_data_by_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "good.bin").write_bytes(bytes(8))
    path = tmp_path / "sub" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(external(location=str(tmp_path / "good.bin")).SerializeToString())
    assert culprits(path, ExternalDataError) == ["w"]


def test_external_data_of_a_model_without_a_folder() -> None:
    assert culprits(external(location="good.bin"), ExternalDataError) == ["w"]


# -- damage -------------------------------------------------------------------------------------


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def insert(data: bytearray, rng: random.Random) -> None:
    data.insert(rng.randrange(len(data)), rng.randrange(256))


def remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 9)]


def exchange(data: bytearray, rng: random.Random) -> None:
    size = rng.randrange(1, 17)
    a, b = (rng.randrange(len(data) - size) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


MUTATIONS: Sequence[Callable[[bytearray, random.Random], None]] = (flip, overwrite, insert, remove, exchange)


def varied() -> onnx.ModelProto:
    """Many operators, attributes and shape arithmetic in few bytes, so that damage hits what matters."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], strides=[1, 2], pads=[1, 0, 1, 1], kernel_shape=[2, 2]),
        node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
        node("Clip", ["n", "zero", "six"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 1], ceil_mode=1),
        node("AveragePool", ["m"], ["a"], kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        node("Pad", ["a", "pads"], ["p"]),
        node("Shape", ["p"], ["s"]),
        node("Slice", ["s", "i0", "i1"], ["h"]),
        node("Concat", ["h", "minus"], ["t"], axis=0),
        node("Reshape", ["p", "t"], ["f"]),
        node("Gemm", ["f", "g"], ["l"], transB=0, alpha=0.5),
        node("Softmax", ["l"], ["y"], axis=1),
    ]
    constants = {
        "w": floats(2, 2, 2, 2),
        "b": floats(2),
        "v": np.ones(2, np.float32),
        "zero": np.float32(0),
        "six": np.float32(6),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "i0": np.array([0]),
        "i1": np.array([1]),
        "minus": np.array([-1]),
    }
    rows = 2 * 5 * 3
    return model(nodes, {"x": ["N", 2, 4, 4]}, constants | {"g": floats(rows, 3)}, ["y"])


@pytest.mark.parametrize("small", [True, False])
def test_damaged_files(tmp_path: Path, digits: Example, small: bool) -> None:
    whole = varied().SerializeToString() if small else digits.model.read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole)
    load_onnx(path)
    rng = random.Random(2024)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(150 if small else 40):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            rng.choice(MUTATIONS)(data, rng)
        path.write_bytes(data)
        try:
            load_onnx(path)
            outcomes["read"] += 1
        except DnnccError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0
