"""Inputs and outputs that are integers or booleans: they stay what they are, quantized or not, on every machine."""

from __future__ import annotations

from pathlib import Path

import dnncc
import numpy as np
import onnx
import pytest
from dnncc.calibration import load_samples
from dnncc.errors import CalibrationError
from dnncc.frontends.onnx import load_onnx
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.host import run_sanitized
from onnx import TensorProto, helper, numpy_helper


def mixed() -> onnx.ModelProto:
    """An integer, a boolean and a float path side by side."""
    nodes = [
        helper.make_node("Reshape", ["ids", "shape"], ["table"]),
        helper.make_node("Transpose", ["table"], ["columns"], perm=[1, 0]),
        helper.make_node("Transpose", ["mask"], ["flipped"], perm=[1, 0]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [6]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, [3, 2]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("columns", TensorProto.INT64, [3, 2]),
            helper.make_tensor_value_info("flipped", TensorProto.BOOL, [2, 3]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4]),
        ],
        [numpy_helper.from_array(np.array([2, 3]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def samples() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    ids = rng.integers(-(2**62), 2**62, (4, 6))
    return {
        "ids": ids,
        "mask": rng.integers(0, 2, (4, 3, 2)).astype(bool),
        "x": rng.normal(0, 1, (4, 4)).astype(np.float32),
    }


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("on", ["host", "emulator", "interpreter"])
def test_integers_and_booleans_pass_through(dtype: str, on: str, tmp_path: Path) -> None:
    given = samples()
    dnncc.compile(mixed(), target="stm32f4", dtype=dtype, calibrate=given, output=tmp_path / "net")
    assert dnncc.validate(tmp_path / "net", on=on, data=given).match
    found = dnncc.run(tmp_path / "net", given, on=on)
    assert np.array_equal(found["columns"], given["ids"].reshape(4, 2, 3).transpose(0, 2, 1))
    assert np.array_equal(found["flipped"], given["mask"].transpose(0, 2, 1))
    assert [found[name].dtype.name for name in ("columns", "flipped", "y")] == ["int64", "bool", "float32"]
    np.testing.assert_allclose(found["y"], np.maximum(given["x"], 0), atol=0.02)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("ids", np.zeros((4, 6), np.float32), "is float32; expected int64"),
        ("mask", np.full((4, 3, 2), 2), "holds values that bool does not"),
        ("x", np.zeros((4, 4), np.int64), "is int64; expected float32"),
    ],
)
def test_samples_of_another_kind(name: str, data: Array, problem: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        load_samples(samples() | {name: data}, load_onnx(mixed()))
    assert [c.name for c in caught.value.culprits] == [name]
    assert problem in str(caught.value)


def test_constants_of_every_type_are_exact(tmp_path: Path) -> None:
    """The ends of each integer type, and floats that C has no literals for."""
    x = Value("x", TensorType(DType.F32, (1,)))
    graph = Graph("constants", [x])
    wanted = {}
    for dtype in DType:
        if dtype.is_float:
            values = [0.1, -0.0, 1e-45, 3.4e38, np.inf, -np.inf, np.nan]
        else:
            values = [dtype.min, dtype.max, 0, 1]
        wanted[dtype.value] = np.array(values, dtype.numpy)
        graph.outputs.append(graph.const(dtype.value, wanted[dtype.value]))
    dnncc.compile(graph, target="host-c", dtype="float32", output=tmp_path / "net")
    found = dnncc.run(tmp_path / "net", {"x": np.zeros((1, 1), np.float32)}, on="host", raw=True)
    for array, (name, expected) in zip(found.values(), wanted.items(), strict=True):
        np.testing.assert_array_equal(array[0], expected, err_msg=name)
        assert np.array_equal(np.signbit(array[0]), np.signbit(expected))


@pytest.mark.parametrize("elements", [3, 5])
def test_integers_of_64_bits_lie_aligned(elements: int, tmp_path: Path) -> None:
    """A buffer of 4 bytes before one of 64-bit integers: C leaves the access to a misaligned one undefined."""
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["ones"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["ones", "axis"], ["counts"]),
        helper.make_node("Where", ["positive", "counts", "ones"], ["kept"]),
        helper.make_node("CumSum", ["kept", "axis"], ["sums"], reverse=1),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [elements])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [elements])],
        [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.array(0), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    compilation = dnncc.compile(model, target="host-c", dtype="float32", output=tmp_path / "net")
    plan = compilation.program.plan
    assert plan.alignment == 8
    wide = [offset for value, offset in plan.offsets.items() if value.type.dtype is DType.I64]
    assert wide and all(offset % 8 == 0 for offset in wide)
    x = np.array([1, -1, 2, 3, -2][:elements], np.float32)
    ((found,),) = run_sanitized(Bundle.open(tmp_path / "net"), [[x]])
    counts = np.cumsum(x > 0)
    kept = np.where(x > 0, counts, 0)
    assert found.tolist() == np.cumsum(kept[::-1])[::-1].tolist()
