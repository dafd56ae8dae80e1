"""Models that are quantized already: against ONNX Runtime's unoptimised execution, in steps of each output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import onnx
import pytest
from conftest import Example
from dnncc.errors import UnsupportedError
from dnncc.frontends.onnx import load_onnx, supported_op_types
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph
from dnncc.ir.types import Array, DType
from dnncc.ir.verify import verify, verify_integer
from dnncc.passes.pipeline import run_passes
from dnncc.passes.quantize import QuantizeOptions, integer_arguments, proven, quantize
from onnx import TensorProto, helper, numpy_helper
from quantized_models import FORMS, cnn, inputs, mlp, quantized, unoptimised

runtime: Any = pytest.importorskip("onnxruntime.quantization")
QDQ = runtime.QuantFormat.QDQ
U8, S8, S16, U16 = (getattr(runtime.QuantType, n) for n in ("QUInt8", "QInt8", "QInt16", "QUInt16"))


def adopted(model: onnx.ModelProto, io: str = "int8") -> Graph:
    """The integer graph of a model that gives all its scales: calibration would fail on these samples."""
    graph = load_onnx(model)
    run_passes("simplify", graph)
    samples = {v.name: np.full((1, *v.type.shape), np.nan, np.float32) for v in graph.inputs}
    q = quantize(graph, samples, QuantizeOptions(io=io))
    verify(q)
    verify_integer(q)
    assert proven(q)
    return q


def steps_apart(model: onnx.ModelProto, q: Graph, samples: list[Array]) -> Array:
    """By how many steps each output value differs from ONNX Runtime's."""
    session = unoptimised(model)
    (name,) = [v.name for v in q.inputs]
    found = []
    for x in samples:
        ours = interpret(q, integer_arguments(q, {name: x}, 0))
        for value, y, real in zip(q.outputs, ours, session.run(None, {name: x}), strict=True):
            quantization = value.type.quantization
            assert quantization is not None
            theirs = np.rint(real / np.float64(value.type.scale)) + quantization.zero_point
            found.append((theirs - y).reshape(-1))
    return np.abs(np.concatenate(found))


@pytest.mark.parametrize("form", FORMS)
def test_cnn(form: str) -> None:
    model = cnn()
    q_model = quantized(model, inputs(model, 8, 1), **FORMS[form])
    apart = steps_apart(q_model, adopted(q_model), inputs(model, 40, 2))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.02


@pytest.mark.parametrize("form", FORMS)
def test_mlp(form: str) -> None:
    model = mlp()
    q_model = quantized(model, inputs(model, 8, 1), **FORMS[form])
    apart = steps_apart(q_model, adopted(q_model), inputs(model, 40, 2))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.05


@pytest.mark.parametrize("activations", [S16, U16])
def test_16_bit_activations(activations: Any) -> None:
    model = mlp()
    del model.graph.node[-1]  # softmax
    model.graph.node[-1].output[0] = "y"
    options = {"quant_format": QDQ, "activation_type": activations, "weight_type": S8}
    q_model = quantized(model, inputs(model, 8, 1), **options)
    q = adopted(q_model)
    assert {v.type.dtype for v in (*q.inputs, *q.outputs)} == {DType.I16}
    # Finer than what float32 keeps of the sums: a step is 2^-16 of the range.
    assert steps_apart(q_model, q, inputs(model, 40, 2)).max() <= 2


def test_the_models_own_numbers_are_kept() -> None:
    model = cnn()
    q_model = quantized(model, inputs(model, 8, 1), **FORMS["qdq-u8u8-tensor"])
    q = adopted(q_model)
    given = {t.name: numpy_helper.to_array(t) for t in q_model.graph.initializer}
    (x,) = q.inputs
    assert x.type.scale == given["x_scale"] and x.type.quantization is not None
    # The same integers, moved to i8.
    assert x.type.quantization.zero_point == int(given["x_zero_point"]) - 128
    first = q.find("conv2d")[0].inputs[1]
    assert isinstance(first, Const) and first.type.quantization is not None
    weights = given["w1_quantized"].astype(int) - int(given["w1_zero_point"])
    assert np.array_equal(first.data, weights.transpose(0, 2, 3, 1))
    assert set(first.type.quantization.scale) == {float(given["w1_scale"])}


@pytest.mark.parametrize(("target", "on"), [("host-c", "host"), ("stm32f4", "emulator")])
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_generated_code(target: str, on: str, io: str, tmp_path: Path) -> None:
    model = cnn(3, "AveragePool")
    q_model = quantized(model, inputs(model, 8, 1), **FORMS["qdq-u8u8-tensor"])
    compilation = dnncc.compile(q_model, target=target, io=io, output=tmp_path / "net")
    assert not [w for w in compilation.warnings if "made up" in w]
    found = dnncc.validate(tmp_path / "net", on=on, samples=6)
    assert found.match and found.values == 60
    header = (tmp_path / "net" / "net.h").read_text()
    assert ("ZERO_POINT" in header) == (io == "int8")


def test_digits(digits: Example) -> None:
    """The committed example, quantized by ONNX Runtime: accuracy, and the border in floats."""
    archive = np.load(digits.test)
    images = [x[None] for x in archive["image"]]
    calibration = [x[None] for x in np.load(digits.calibration)["image"]]
    model = onnx.load(digits.model)
    q_model = quantized(model, calibration, **FORMS["qdq-u8s8-channel"])
    q = adopted(q_model)
    apart = steps_apart(q_model, q, images[:60])
    # Averages of four are halves every fourth time: rounded up here, to even or either way there.
    assert apart.max() <= 1 and (apart > 0).mean() <= 0.35
    classes = [interpret(q, integer_arguments(q, {"image": x}, 0))[0].argmax() for x in images]
    assert np.mean(classes == archive["label"]) >= 0.98


def test_the_compile_says_how_far_it_is_from_the_model(digits: Example) -> None:
    calibration = [x[None] for x in np.load(digits.calibration)["image"]]
    q_model = quantized(onnx.load(digits.model), calibration, **FORMS["qdq-u8s8-channel"])
    rows = dnncc.compile(q_model, target="host-c").agreement
    assert {"logits", "average_DequantizeLinear_Output"} <= {r.value for r in rows}
    # Operands being equal, nothing but the middle between two integers is decided otherwise.
    assert all(r.steps <= 1 and r.total <= 2 for r in rows)
    assert sum(r.differing for r in rows) <= 0.001 * sum(r.elements for r in rows)
    assert all(r.reason for r in rows)
    # A model without grids of its own has nothing to agree with.
    assert dnncc.compile(digits.model, target="host-c", calibrate=digits.calibration).agreement == ()


def test_a_node_that_is_further_away_is_named() -> None:
    """16-bit probabilities: the integer softmax is made for 8 bits."""
    model = mlp()
    options = {"quant_format": QDQ, "activation_type": S16, "weight_type": S8}
    q_model = quantized(model, inputs(model, 8, 1), **options)
    compilation = dnncc.compile(
        q_model, target="host-c", calibrate={"x": np.concatenate(inputs(model, 4, 3))}
    )
    (warning,) = [w for w in compilation.warnings if "away from the model" in w]
    assert (
        "Softmax" not in warning and "steps of 'y'" in warning and "exponentials come from a table" in warning
    )


def test_what_a_later_clamp_cuts_off_does_not_differ() -> None:
    """The clamp is made early, or by a node of its own: the agreement is the same."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalMaxPool", ["x"], ["m"]),
            helper.make_node("Clip", ["m", "lo", "hi"], ["c"]),
            helper.make_node("Reshape", ["c", "shape"], ["r"]),
            helper.make_node("Gemm", ["r", "w"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(np.float32(-0.5), "lo"),
            numpy_helper.from_array(np.float32(0.75), "hi"),
            numpy_helper.from_array(np.array([1, 8]), "shape"),
            numpy_helper.from_array(np.random.default_rng(0).normal(0, 1, (8, 3)).astype(np.float32), "w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    q_model = quantized(model, inputs(model, 8, 1), **FORMS["qdq-s8s8-symmetric"])
    rows = dnncc.compile(q_model, target="host-c").agreement
    assert rows and all(r.steps <= 1 for r in rows)


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["qdq-u8s8-channel", "qop-s8s8-channel"])
def test_keywords_keep_their_accuracy(form: str, data_dir: Path) -> None:
    """Imported against ONNX Runtime's execution of the same quantized model: accuracy within 0.3 points."""
    archive = np.load(data_dir / "mlperf-tiny" / "kws01.npz")
    x = (archive["x"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
    x = x.reshape(-1, 1, 1, 49, 10)
    q_model = quantized(onnx.load(data_dir / "mlperf-tiny" / "kws.onnx"), list(x[:100]), **FORMS[form])
    q, session, labels = adopted(q_model), unoptimised(q_model), archive["y"][100:]
    (name,) = [v.name for v in q.inputs]
    ours = [interpret(q, integer_arguments(q, {name: s}, 0))[0].argmax() for s in x[100:]]
    theirs = [session.run(None, {name: s})[0].argmax() for s in x[100:]]
    assert abs(np.mean(ours == labels) - np.mean(theirs == labels)) <= 0.003
    assert np.mean(np.equal(ours, theirs)) >= 0.995


def test_what_is_not_quantized_is_calibrated() -> None:
    model = cnn()
    q_model = quantized(
        model, inputs(model, 8, 1), **FORMS["qdq-u8s8-channel"], op_types_to_quantize=["Conv"]
    )
    graph = load_onnx(q_model)
    compilation = dnncc.compile(q_model, target="host-c")
    (warning,) = compilation.warnings
    assert "gives no scales for" in warning and "y" in warning
    samples = {"x": np.concatenate(inputs(model, 16, 5))}
    calibrated = dnncc.compile(q_model, target="host-c", calibrate=samples)
    assert not calibrated.warnings
    q = calibrated.graph
    (x,) = graph.inputs
    real = unoptimised(q_model).run(None, {x.name: samples["x"][:1]})[0]
    (y,) = interpret(q, integer_arguments(q, samples, 0))
    assert np.abs(y * q.outputs[0].type.scale - real).max() <= 6 * q.outputs[0].type.scale


# -- nodes one by one -----------------------------------------------------------------------------


def one(
    nodes: list[Any],
    x: tuple[int, list[int]],
    y: tuple[int, list[int]],
    constants: dict[str, Array],
    opset: int = 13,
    domain: str = "com.microsoft",
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", *y)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


GRID = {
    "s": np.float32(0.05), "z": np.uint8(117), "t": np.float32(0.09), "u": np.uint8(31), "v": np.uint8(0),
    "p": np.float32(1 / 256),
}  # fmt: skip
B = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 5), np.uint8)
XSZ, BSZ, OUT = ["x", "s", "z"], ["b", "t", "u"], ["t", "u"]
CONTRIB = {
    "QLinearAdd": ([*XSZ, *BSZ, "s", "z"], {}),
    "QLinearMul": ([*XSZ, *BSZ, "s", "z"], {}),
    "QLinearConcat": (["t", "u", *XSZ, *BSZ], {"axis": 1}),
    "QLinearAveragePool": ([*XSZ, *OUT], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}),
    "QLinearGlobalAveragePool": ([*XSZ, *OUT], {"channels_last": 0}),
    "QLinearSigmoid": ([*XSZ, "p", "v"], {}),
    "QLinearLeakyRelu": ([*XSZ, *OUT], {"alpha": 0.3}),
    "QLinearSoftmax": ([*XSZ, "p", "v"], {"axis": -1, "opset": 13}),
}


@pytest.mark.parametrize("op_type", CONTRIB)
def test_operators_of_onnx_runtime(op_type: str) -> None:
    """Integers in, integers out, as these operators have them."""
    operands, attributes = CONTRIB[op_type]
    node = helper.make_node(op_type, operands, ["y"], domain="com.microsoft", **attributes)
    used = {name: a for name, a in {**GRID, "b": B}.items() if name in operands}
    model = one([node], (TensorProto.UINT8, [1, 4, 6, 5]), (TensorProto.UINT8, [1, None, None, None]), used)
    if (base := op_type.removeprefix("QLinear")) not in supported_op_types():
        with pytest.raises(UnsupportedError, match=f"it is a {base}"):
            load_onnx(model)
        return
    q = adopted(model)
    assert [v.type.dtype for v in (*q.inputs, *q.outputs)] == [DType.U8, DType.U8]
    assert all(v.type.quantization is None for v in (*q.inputs, *q.outputs))
    rng = np.random.default_rng(1)
    for _ in range(10):
        x = rng.integers(0, 256, (1, 4, 6, 5), np.uint8)
        (theirs,) = unoptimised(model).run(None, {"x": x})
        (ours,) = interpret(q, [x])
        assert np.abs(ours.astype(int) - theirs).max() <= 1


SELECTIONS = {
    "Max": (["xd", "bd"], {}),
    "Min": (["xd", "bd"], {}),
    "ReduceSum": (["xd", "axes"], {"keepdims": 1}),
    "ReduceMax": (["xd"], {"axes": [1]}),
    "Sub": (["xd", "bd"], {}),
    "Neg": (["xd"], {}),
    "Abs": (["xd"], {}),
    "HardSwish": (["xd"], {}),
    "Where": (["mask", "xd", "bd"], {}),
}


@pytest.mark.parametrize("op_type", SELECTIONS)
def test_zero_points_of_other_operators(op_type: str) -> None:
    operands, attributes = SELECTIONS[op_type]
    nodes = [
        helper.make_node("DequantizeLinear", XSZ, ["xd"]),
        helper.make_node("DequantizeLinear", BSZ, ["bd"]),
        helper.make_node(op_type, operands, ["r"], **attributes),
        helper.make_node("QuantizeLinear", ["r", "q", "u"], ["y"]),
    ]
    constants = {"b": B, "q": np.float32(0.11), **{n: GRID[n] for n in "sztu"}}
    constants |= {"axes": np.array([1])} if op_type == "ReduceSum" else {}
    constants |= {"mask": B > 128} if op_type == "Where" else {}
    shape = [1, 4, 6, 5]
    model = one(nodes, (TensorProto.UINT8, shape), (TensorProto.UINT8, [1, None, 6, 5]), constants, 14)
    q, rng = adopted(model), np.random.default_rng(1)
    for _ in range(5):
        x = rng.integers(0, 256, shape, np.uint8)
        (theirs,) = unoptimised(model).run(None, {"x": x})
        assert np.abs(interpret(q, [x])[0].astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("float_result", [True, False])
def test_qgemm(bias: bool, float_result: bool) -> None:
    rng = np.random.default_rng(0)
    w, b = rng.integers(-64, 64, (7, 9), np.int8), rng.integers(-9999, 9999, 7, np.int32)
    constants = {"s": np.float32(0.05), "z": np.uint8(117), "w": w, "b": b, "p": np.float32(0.02)}
    constants |= {"ws": rng.uniform(0.01, 0.02, 7).astype(np.float32), "wz": np.zeros(7, np.int8)}
    operands = ["x", "s", "z", "w", "ws", "wz", "b" if bias else ""]
    operands += [] if float_result else ["p", "z"]
    node = helper.make_node("QGemm", operands, ["y"], domain="com.microsoft", transB=1, alpha=0.5)
    kind = TensorProto.FLOAT if float_result else TensorProto.UINT8
    model = one([node], (TensorProto.UINT8, [1, 9]), (kind, [1, 7]), constants)
    x = rng.integers(0, 256, (1, 9), np.uint8)
    (theirs,) = unoptimised(model).run(None, {"x": x})
    if float_result:
        graph = load_onnx(model)
        np.testing.assert_allclose(interpret(graph, [x])[0], theirs, rtol=1e-4, atol=1e-4)
    else:
        (ours,) = interpret(adopted(model), [x])
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_integer_products_stay_integers(pads: list[int]) -> None:
    rng = np.random.default_rng(0)
    w = rng.integers(0, 256, (4, 3, 3, 3), np.uint8)
    nodes = [
        helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["c"], pads=pads),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s2", "z2"], ["y"]),
    ]
    constants = {"w": w, "xz": np.uint8(9), "wz": np.uint8(100), "s": np.float32(1e-3)}
    constants |= {"s2": np.float32(0.5), "z2": np.uint8(128)}
    size = 6 - 2 + 2 * pads[0]
    model = one(nodes, (TensorProto.UINT8, [1, 3, 6, 6]), (TensorProto.UINT8, [1, 4, size, size]), constants)
    q = adopted(model)
    for _ in range(5):
        x = rng.integers(0, 256, (1, 3, 6, 6), np.uint8)
        (theirs,) = unoptimised(model).run(None, {"x": x})
        assert np.abs(interpret(q, [x])[0].astype(int) - theirs).max() <= 1


def test_a_grid_chosen_at_run_time_is_fixed_by_calibration() -> None:
    w = np.random.default_rng(0).integers(-64, 64, (4, 3), np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        helper.make_node("MatMulInteger", ["q", "w", "qz"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "qs"], ["y"]),
    ]
    model = one(nodes, (TensorProto.FLOAT, [2, 4]), (TensorProto.FLOAT, [2, 3]), {"w": w})
    graph = load_onnx(model)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    (theirs,) = unoptimised(model).run(None, {"x": x})
    np.testing.assert_allclose(interpret(graph, [x])[0], theirs, rtol=1e-5, atol=1e-5)
    found = dnncc.compile(model, target="host-c", calibrate={"x": x[None]})
    assert any("grids that the model chooses while it runs are fixed" in note for note in found.warnings)
    assert next(n.op.name for n in found.graph.nodes if not n.op.is_view) == "linear"
    (y,) = interpret(found.graph, integer_arguments(found.graph, {"x": x[None]}, 0))
    scale = found.graph.outputs[0].type.scale
    assert np.abs(y * scale - theirs).max() <= scale


def test_what_onnxruntime_quantizes_dynamically(tmp_path: Path) -> None:
    """MLP with ``quantize_dynamic``: the same answers, and the host's C gives the interpreter's bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.5, (12, 16)).astype(np.float32),
        "b0": rng.normal(0, 0.5, 16).astype(np.float32),
        "w1": rng.normal(0, 0.5, (16, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"], name="first"),
        helper.make_node("Add", ["h", "b0"], ["s"], name="bias"),
        helper.make_node("Relu", ["s"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w1"], ["y"], name="second"),
    ]
    model = one(nodes, (TensorProto.FLOAT, [1, 12]), (TensorProto.FLOAT, [1, 5]), weights)
    onnx.save(model, tmp_path / "float.onnx")
    x = rng.standard_normal((64, 1, 12)).astype(np.float32)
    for kind in (QuantType.QInt8, QuantType.QUInt8):
        path = tmp_path / f"{kind}.onnx"
        quantize_dynamic(tmp_path / "float.onnx", path, weight_type=kind)
        session = unoptimised(onnx.load(path))
        theirs = np.stack([session.run(None, {"x": a})[0] for a in x])
        folder = tmp_path / str(kind)
        found = dnncc.compile(path, target="host-c", calibrate={"x": x}, output=folder)
        assert not found.graph.find("dynamic_scale")
        ours = dnncc.run(folder, {"x": x}, on="host")["y"].reshape(theirs.shape)
        noise, signal = float(((ours - theirs) ** 2).sum()), float((theirs**2).sum())
        assert 10 * np.log10(signal / noise) > 35
        assert dnncc.validate(folder, on="host", data={"x": x[:8]}).match


def test_a_convolution_on_a_grid_chosen_at_run_time() -> None:
    """The zero point goes into the bias, and around the image."""
    w = np.random.default_rng(0).integers(-64, 64, (4, 2, 3, 3), np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        helper.make_node("ConvInteger", ["q", "w", "qz"], ["m"], pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "qs"], ["y"]),
    ]
    model = one(nodes, (TensorProto.FLOAT, [1, 2, 5, 6]), (TensorProto.FLOAT, [1, 4, 5, 6]), {"w": w})
    x = np.random.default_rng(1).normal(1, 1, (1, 2, 5, 6)).astype(np.float32)
    (theirs,) = unoptimised(model).run(None, {"x": x})
    found = dnncc.compile(model, target="host-c", calibrate={"x": x})
    assert not found.graph.find("cast", "sub")[1:] and found.graph.find("pad")
    (y,) = interpret(found.graph, integer_arguments(found.graph, {"x": x}, 0))
    scale = found.graph.outputs[0].type.scale
    assert np.abs(y * scale - theirs).max() <= scale


@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DequantizeLinear"])
def test_blocks_are_refused(op_type: str) -> None:
    kinds = [TensorProto.FLOAT, TensorProto.INT8]
    a, b = kinds if op_type == "QuantizeLinear" else kinds[::-1]
    constants = {"s": np.full((2, 2), 0.1, np.float32), "z": np.zeros((2, 2), np.int8)}
    node = helper.make_node(op_type, ["x", "s", "z"], ["y"], block_size=2, axis=1)
    with pytest.raises(UnsupportedError, match="blocks"):
        load_onnx(one([node], (a, [2, 4]), (b, [2, 4]), constants, 21))


# -- QONNX ----------------------------------------------------------------------------------------

GENERAL = "qonnx.custom_op.general"


def quant(x: str, y: str, scale: str, bits: str, domain: str = GENERAL, **attributes: Any) -> Any:
    return helper.make_node("Quant", [x, scale, "zero", bits], [y], domain=domain, **attributes)


def rounded(x: Array, scale: Array | float, lo: int, hi: int) -> Array:
    """What QONNX says of ``Quant``, in float64."""
    return np.clip(np.rint(x / scale), lo, hi) * scale


@pytest.mark.parametrize("domain", [GENERAL, "finn.custom_op.general"])
def test_qonnx(domain: str) -> None:
    """4-bit activations and per-channel 3-bit weights, a truncated average, binary weights."""
    rng = np.random.default_rng(0)
    w, v = (
        rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        rng.standard_normal((5, 6)).astype(np.float32),
    )
    ws = np.abs(w).reshape(6, -1).max(axis=1).reshape(6, 1, 1, 1).astype(np.float32) / 3
    constants = {
        "w": w,
        "ws": ws,
        "v": v,
        "vs": np.float32(0.25),
        "zero": np.float32(0),
        "xs": np.float32(1 / 8),
    }
    constants |= {"as": np.float32(0.5), "ts": np.float32(0.5)}
    constants |= {f"b{n}": np.float32(n) for n in (3, 4, 6, 8)}
    nodes = [
        quant("x", "xq", "xs", "b8", domain, signed=1, narrow=0, rounding_mode="ROUND"),
        quant("w", "wq", "ws", "b3", domain, signed=1, narrow=1, rounding_mode="ROUND"),
        helper.make_node("Conv", ["xq", "wq"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        quant("r", "rq", "as", "b4", domain, signed=0, narrow=0, rounding_mode="ROUND"),
        helper.make_node("GlobalAveragePool", ["rq"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Mul", ["f", "n"], ["sum"]),
        helper.make_node(
            "Trunc", ["sum", "ts", "zero", "b8", "b6"], ["t"], domain=domain, rounding_mode="FLOOR", signed=0
        ),
        helper.make_node("BipolarQuant", ["v", "vs"], ["vq"], domain=domain),
        helper.make_node("Gemm", ["t", "vq"], ["m"], transB=1),
        quant("m", "y", "as", "b8", domain, signed=1, narrow=0, rounding_mode="ROUND"),
    ]
    constants["n"] = np.float32(16)
    model = one(
        nodes, (TensorProto.FLOAT, [1, 3, 6, 6]), (TensorProto.FLOAT, [1, 5]), constants, domain=domain
    )
    q = adopted(model)
    weights = [n.inputs[1] for n in q.find("conv2d", "linear")]
    assert [(c.data.min(), c.data.max()) for c in weights if isinstance(c, Const)] == [(-3, 3), (-1, 1)]
    wq, vq = rounded(w, ws, -3, 3), np.where(v >= 0, 0.25, -0.25)
    for k in range(20):
        x = (np.random.default_rng(k).standard_normal((1, 3, 6, 6)) * 2).astype(np.float32)
        xq = rounded(x, 1 / 8, -128, 127)
        windows = np.lib.stride_tricks.sliding_window_view(xq[0], (3, 3), (1, 2))
        r = np.maximum(np.einsum("chwij,ocij->ohw", windows, wq), 0)
        total = rounded(r, 0.5, 0, 15).sum(axis=(1, 2))
        t = np.floor(rounded(total, 0.5, 0, 255) / 0.5 / 4) * 0.5
        (ours,) = interpret(q, integer_arguments(q, {"x": x}, 0))
        assert np.abs(ours - rounded(vq @ t, 0.5, -128, 127) / 0.5).max() <= 1


def test_qonnx_signs_as_activations() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 8)).astype(np.float32),
        "one": np.float32(1),
        "zero": np.float32(0),
    }
    constants |= {"b8": np.float32(8), "s": np.float32(1 / 64), "b": np.zeros(4, np.float32)}
    nodes = [
        quant("x", "xq", "s", "b8", signed=1, narrow=0),
        helper.make_node("BipolarQuant", ["xq", "one"], ["xs"], domain=GENERAL),
        helper.make_node("BipolarQuant", ["w", "one"], ["ws"], domain=GENERAL),
        helper.make_node("Gemm", ["xs", "ws", "b"], ["m"], transB=1),
        helper.make_node("BipolarQuant", ["m", "one"], ["y"], domain=GENERAL),
    ]
    model = one(nodes, (TensorProto.FLOAT, [1, 8]), (TensorProto.FLOAT, [1, 4]), constants, domain=GENERAL)
    q = adopted(model)

    def sign(a: Array) -> Array:
        return np.where(a >= 0, 1, -1)

    for k in range(50):
        x = np.random.default_rng(k).integers(-3, 4, (1, 8)).astype(np.float32) / 64
        (ours,) = interpret(q, integer_arguments(q, {"x": x}, 0))
        assert np.array_equal(ours, sign(sign(x) @ sign(constants["w"]).T))


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"rounding_mode": "CEIL"}, "rounding mode 'CEIL'"),
        ({"bits": 24}, "24 bits"),
        ({"scale": [1, 2]}, "per channel"),
    ],
)
def test_qonnx_that_is_refused(attributes: dict[str, Any], problem: str) -> None:
    constants = {"s": np.array(attributes.pop("scale", [1]), np.float32), "zero": np.float32(0)}
    constants["b"] = np.float32(attributes.pop("bits", 8))
    node = quant("x", "y", "s", "b", **attributes)
    with pytest.raises(UnsupportedError, match=problem):
        load_onnx(
            one([node], (TensorProto.FLOAT, [1, 2]), (TensorProto.FLOAT, [1, 2]), constants, domain=GENERAL)
        )
