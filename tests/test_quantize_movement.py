"""Integer networks that move, resize, rank and choose: right to a step, and bit-exact in generated C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import onnx
import pytest
from dnncc.calibration import synthetic_samples
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, DType
from dnncc.ir.verify import verify_integer
from dnncc.passes.pipeline import run_passes
from dnncc.passes.quantize import QuantizeOptions, integer_arguments, proven, quantize
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.runner import open_runner
from onnx import helper
from onnx_models import floats, model

node = helper.make_node
SHAPE = [1, 4, 6, 6]


def ids(*values: Any) -> Array:
    return np.array(values, np.int64)


def one(op_type: str, *operands: str, **attributes: Any) -> onnx.NodeProto:
    return node(op_type, ["a", *operands], ["b"], name="moved", **attributes)


EMPTY = np.zeros(0, np.float32)
DOUBLE = np.array([1, 1, 2, 2], np.float32)
FORMS: dict[str, tuple[onnx.NodeProto, dict[str, Array]]] = {
    "nearest": (one("Resize", "r", "s"), {"r": EMPTY, "s": DOUBLE}),
    "other nearest": (one("Resize", "r", "s"), {"r": EMPTY, "s": np.array([1, 1, 1.5, 0.5], np.float32)}),
    "linear": (one("Resize", "r", "s", mode="linear"), {"r": EMPTY, "s": DOUBLE}),
    "cubic": (
        one("Resize", "r", "s", mode="cubic"),
        {"r": EMPTY, "s": np.array([1, 1, 1.7, 0.6], np.float32)},
    ),
    "reflect": (one("Pad", "p", mode="reflect"), {"p": ids(0, 0, 1, 2, 0, 0, 1, 1)}),
    "edge": (one("Pad", "p", mode="edge"), {"p": ids(0, 0, 1, -1, 0, 0, 1, 1)}),
    "gather": (one("Gather", "i", axis=1), {"i": ids(3, 0, 0, 2)}),
    "backwards": (one("Slice", "s", "e", "k", "t"), {"s": ids(9), "e": ids(-9), "k": ids(3), "t": ids(-1)}),
    "tile": (one("Tile", "r"), {"r": ids(1, 2, 1, 2)}),
    "expand": (one("Expand", "s"), {"s": ids(3, 4, 6, 6)}),
    "blocks": (one("DepthToSpace", blocksize=2), {}),
    "elements": (one("GatherElements", "i", axis=2), {"i": np.arange(72).reshape(1, 2, 6, 6) % 6}),
    "tuples": (one("GatherND", "i"), {"i": ids([0, 1], [0, 3])}),
    "triangle": (one("Trilu"), {}),
    "scatter": (one("ScatterND", "i", "u"), {"i": ids([0, 1]), "u": floats(1, 6, 6)}),
    "scattered sums": (
        one("ScatterND", "i", "u", reduction="add"),
        {"i": ids([0, 1], [0, 1]), "u": floats(2, 6, 6)},
    ),
    "reversed": (one("ReverseSequence", "n", batch_axis=1, time_axis=2), {"n": ids(1, 3, 6, 2)}),
}


def network(form: onnx.NodeProto, constants: dict[str, Array], opset: int = 18) -> onnx.ModelProto:
    """A convolution, what is tested, and something after it."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["a"]),
        form,
        node("Add", ["b", "b"], ["y"], name="twice"),
    ]
    return model(nodes, {"x": SHAPE}, {"w": floats(4, 4, 3, 3), **constants}, ["y"], opset)


def integer(proto: onnx.ModelProto, options: QuantizeOptions | None = None) -> tuple[Graph, Graph, Any]:
    graph = load_onnx(proto)
    run_passes("simplify", graph)
    samples = synthetic_samples(graph, 8, 0)
    found = quantize(graph, samples, options or QuantizeOptions())
    verify_integer(found)
    assert proven(found)
    return graph, found, samples


@pytest.mark.parametrize("name", FORMS)
def test_integer_forms_stay_near_the_float_network(name: str) -> None:
    graph, found, samples = integer(network(*FORMS[name]))
    (y,) = found.outputs
    for index in range(4):
        (wanted,) = interpret(graph, [samples[v.name][index][None] for v in graph.inputs])
        (result,) = interpret(found, integer_arguments(found, samples, index))
        error = np.abs(result * y.type.scale - wanted)
        assert error.max() <= 4 * y.type.scale, (name, error.max() / y.type.scale)


@pytest.mark.parametrize("name", ["nearest", "reflect", "gather", "tile", "blocks", "reversed"])
def test_what_only_moves_is_not_requantized(name: str) -> None:
    moved, plain = (integer(network(form, held))[1] for form, held in (FORMS[name], (one("Identity"), {})))
    assert len(moved.find("requantize")) == len(plain.find("requantize"))
    assert len(moved.nodes) > len(plain.nodes)


def run(proto: Any, folder: Path, **options: Any) -> None:
    """Compiled for the host, an artifact gives the interpreter's integers."""
    done = dnncc.compile(proto, target="host-c", output=folder, **options)
    runner = open_runner(Bundle.open(folder), "host", None, None, "-O1")
    for arguments in done.samples:
        for ours, theirs in zip(runner.run(arguments), interpret(done.graph, arguments), strict=True):
            if ours.dtype.kind == "f":
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
            else:
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("names", [list(FORMS)[:6], list(FORMS)[6:12], list(FORMS)[12:]], ids=["a", "b", "c"])
def test_generated_code_is_bit_exact(names: list[str], tmp_path: Path) -> None:
    """Several forms side by side in one network."""
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["a"])]
    constants, outputs = {"w": floats(4, 4, 3, 3)}, []
    for name in names:
        form, held = FORMS[name]
        key = name.replace(" ", "_")
        renamed = onnx.NodeProto()
        renamed.CopyFrom(form)
        renamed.name = key
        renamed.input[1:] = [f"{key}_{n}" for n in form.input[1:]]
        renamed.output[:] = [f"{key}_b"]
        nodes += [renamed, node("Add", [f"{key}_b"] * 2, [f"{key}_y"], name=f"{key}_twice")]
        constants |= {f"{key}_{n}": a for n, a in held.items()}
        outputs.append(f"{key}_y")
    run(model(nodes, {"x": SHAPE}, constants, outputs, 18), tmp_path / "net")


def head() -> onnx.ModelProto:
    """A detection head: boxes and scores from one convolution, the best boxes, and where they are."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        node("Reshape", ["c", "flat"], ["f"]),
        node("Split", ["f", "parts"], ["raw", "s"], axis=1),
        node("Relu", ["raw"], ["r"]),
        node("Transpose", ["r"], ["boxes"], perm=[0, 2, 1]),
        node(
            "NonMaxSuppression",
            ["boxes", "s", "n", "iou", "least"],
            ["chosen"],
            name="nms",
            center_point_box=1,
        ),
        node("TopK", ["s", "k"], ["best", "where"], axis=2, name="top"),
    ]
    constants = {"w": floats(6, 4, 3, 3), "flat": ids(1, 6, 36), "parts": ids(4, 2), "n": ids(5), "k": ids(3)}
    constants |= {"iou": np.float32([0.4]), "least": np.float32([0.1])}
    proto = model(nodes, {"x": SHAPE}, constants, ["chosen", "best", "where"], 13)
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    proto.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return proto


def test_a_detection_head_is_integers_only(tmp_path: Path) -> None:
    _, found, _ = integer(head())
    types = [v.type for v in found.outputs]
    assert [t.dtype for t in types] == [DType.I64, DType.I8, DType.I64]
    assert types[0].shape == (10, 3)
    assert all(not v.type.dtype.is_float for v in found.values())
    run(head(), tmp_path / "int8")
    run(head(), tmp_path / "float", dtype="float32")


def test_a_table_lookup_is_integers_only(tmp_path: Path) -> None:
    """Run-time indices, also such as no embedding has, into a quantized table."""
    nodes = [
        node("Gather", ["table", "i"], ["e"], name="lookup"),
        node("MatMul", ["e", "w"], ["y"], name="dense"),
    ]
    proto = model(nodes, {"i": [1, 5]}, {"table": floats(11, 8), "w": floats(8, 3)}, ["y"])
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    _, found, _ = integer(proto)
    assert found.find("gather")[0].inputs[0].type.dtype is DType.I8
    run(proto, tmp_path / "net")
    runner = open_runner(Bundle.open(tmp_path / "net"), "host", None, None, "-O1")
    wild = [ids([-(2**63), 2**63 - 1, -1, 10, 11])]
    done = dnncc.compile(proto, target="host-c")
    np.testing.assert_array_equal(runner.run(wild)[0], interpret(done.graph, wild)[0])


def test_integer_interpolation_keeps_what_is_constant() -> None:
    """Dyadic weights add up exactly: a plane stays a plane of the same integers' value."""
    _, found, _ = integer(network(*FORMS["cubic"]))
    (resampled,) = found.find("resample")
    one_everywhere = np.full(resampled.inputs[0].type.shape, 77, resampled.inputs[0].type.dtype.numpy)
    (y,) = resampled.op.reference(one_everywhere, *(v.data for v in resampled.inputs[1:]))  # type: ignore[attr-defined]
    ratio = resampled.inputs[0].type.scale / resampled.output.type.scale
    assert (y == 77 * ratio).all() and float(ratio).is_integer()
