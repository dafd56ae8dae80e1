"""The elementwise families, reductions and normalizations against ONNX Runtime, over opsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.types import Array
from onnx import helper
from onnx_models import check_against_onnxruntime, floats, model, one_node

SHAPE = {"x": [2, 3, 4]}
UNARY: dict[str, tuple[int, dict[str, Any]]] = {
    # since which opset, attributes
    "Abs": (7, {}), "Neg": (7, {}), "Sign": (9, {}), "Floor": (7, {}), "Ceil": (7, {}), "Round": (11, {}),
    "Exp": (7, {}), "Erf": (9, {}), "Sin": (7, {}), "Cos": (7, {}), "Tan": (7, {}), "Atan": (7, {}),
    "Sinh": (9, {}), "Cosh": (9, {}), "Tanh": (7, {}), "Asinh": (9, {}), "Reciprocal": (7, {}),
    "Sigmoid": (7, {}), "HardSigmoid": (7, {"alpha": 0.3, "beta": 0.4}), "HardSwish": (14, {}), "Mish": (18, {}),
    "Softplus": (7, {}), "Softsign": (7, {}), "Gelu": (20, {}), "Elu": (7, {"alpha": 1.5}),
    "Selu": (7, {"alpha": 1.5, "gamma": 1.2}), "Celu": (12, {"alpha": 0.7}), "LeakyRelu": (7, {"alpha": 0.2}),
    "ThresholdedRelu": (10, {"alpha": 0.6}), "Shrink": (9, {"lambd": 0.8, "bias": 0.3}),
}  # fmt: skip
OPSETS = [7, 9, 11, 13, 18, 20, 22]


@pytest.mark.parametrize("op_type", UNARY)
def test_functions_of_one_number(op_type: str) -> None:
    since, attributes = UNARY[op_type]
    for opset in sorted({since, *(o for o in OPSETS if o >= since)}):
        check_against_onnxruntime(one_node(op_type, SHAPE, None, None, opset, **attributes))
    check_against_onnxruntime(one_node(op_type, SHAPE, None, None, max(since, 20)))


@pytest.mark.parametrize("op_type", ["Asin", "Acos", "Atanh", "Acosh", "Log", "Sqrt"])
def test_functions_with_a_domain(op_type: str) -> None:
    """Behind a function whose results lie in it."""
    inside = "Softplus" if op_type in ("Acosh", "Log", "Sqrt") else "Sigmoid"
    nodes = [helper.make_node(inside, ["x"], ["h"])]
    last = "h"
    if op_type == "Acosh":
        nodes.append(helper.make_node("Add", ["h", "one"], ["g"]))
        last = "g"
    nodes.append(helper.make_node(op_type, [last], ["y"]))
    constants: dict[str, Array] = {"one": np.ones(1, np.float32)} if op_type == "Acosh" else {}
    for opset in (9, 13, 22):
        check_against_onnxruntime(model(nodes, SHAPE, constants, ["y"], opset))


def test_gelu_by_tanh() -> None:
    check_against_onnxruntime(one_node("Gelu", SHAPE, None, None, 20, approximate="tanh"))


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Mean", "Sum"])
@pytest.mark.parametrize("opset", [8, 13, 14])
def test_arithmetic_broadcasts(op_type: str, opset: int) -> None:
    for other in ([4], [3, 1], [2, 3, 4], [1], []):
        check_against_onnxruntime(one_node(op_type, {"x": [2, 3, 4], "z": other}, None, None, opset))
        check_against_onnxruntime(one_node(op_type, {"x": [2, 3, 4]}, {"c": floats(*other)}, None, opset))
        check_against_onnxruntime(
            one_node(op_type, {"x": [2, 3, 4]}, {"c": floats(*other)}, ["c", "x"], opset)
        )
    if op_type in ("Min", "Max", "Mean", "Sum"):
        check_against_onnxruntime(one_node(op_type, {"x": [3], "z": [2, 1], "w": [2, 3]}, None, None, opset))
        check_against_onnxruntime(one_node(op_type, {"x": [3]}, None, None, opset))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 1.7, np.array([1.0, 2.5])])
@pytest.mark.parametrize("opset", [7, 12, 13, 15])
def test_powers(exponent: Any, opset: int) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["p"]), helper.make_node("Pow", ["p", "e"], ["y"])]
    constants = {"e": np.asarray(exponent, np.float32)}
    check_against_onnxruntime(model(nodes, {"x": [3, 2]}, constants, ["y"], opset))


@pytest.mark.parametrize("op_type", ["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons_choose(op_type: str) -> None:
    nodes = [
        helper.make_node(op_type, ["x", "z"], ["c"]),
        helper.make_node("Not", ["c"], ["n"]),
        helper.make_node("Or", ["n", "t"], ["o"]),
        helper.make_node("Xor", ["o", "c"], ["e"]),
        helper.make_node("And", ["e", "n"], ["a"]),
        helper.make_node("Where", ["a", "x", "z"], ["y"]),
    ]
    truth = np.array([True, False, False, True])
    for opset in (12, 16):
        check_against_onnxruntime(model(nodes, {"x": [3, 4], "z": [4]}, {"t": truth}, ["y"], opset))


@pytest.mark.parametrize("shape", [[3, 1, 1], [1], [3, 4, 5], [5], [2, 3, 4, 5]])
@pytest.mark.parametrize("opset", [7, 9, 16])
def test_prelu(shape: list[int], opset: int) -> None:
    check_against_onnxruntime(one_node("PRelu", {"x": [2, 3, 4, 5]}, {"s": floats(*shape)}, None, opset))


REDUCTIONS = ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]


@pytest.mark.parametrize("op_type", [*REDUCTIONS, "ReduceLogSumExp", "ReduceMean", "ReduceLogSum"])
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
def test_reductions(op_type: str, opset: int) -> None:
    operand = opset >= (13 if op_type == "ReduceSum" else 18)
    for axes in (None, [0], [-1], [1, 2], [0, -1], [0, 1, 2]):
        for keepdims in (0, 1):
            attributes: dict[str, Any] = {"keepdims": keepdims}
            constants = {"axes": np.array(axes)} if operand and axes is not None else {}
            if not operand and axes is not None:
                attributes["axes"] = axes
            nodes = [helper.make_node("Exp", ["x"], ["p"])]  # a logarithm needs positive sums
            nodes.append(helper.make_node(op_type, ["p", *constants], ["y"], **attributes))
            check_against_onnxruntime(model(nodes, SHAPE, constants, ["y"], opset), rtol=1e-4)
    if operand:
        check_against_onnxruntime(one_node(op_type, {"x": [2, 3]}, None, None, opset, noop_with_empty_axes=0))


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMax", "ReduceMean"])
def test_reductions_over_no_axes(op_type: str) -> None:
    graph = load_onnx(one_node(op_type, SHAPE, None, None, 18, noop_with_empty_axes=1))
    assert {node.op.name for node in graph.nodes} <= {"copy"}


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_indices_of_extremes(op_type: str, opset: int) -> None:
    for axis in range(3) if opset < 11 else range(-3, 3):
        for keepdims in (0, 1):
            for last in (0, 1) if opset >= 12 else (0,):
                attributes = {"select_last_index": last} if opset >= 12 else {}
                nodes = [
                    helper.make_node("Floor", ["x"], ["f"]),
                    helper.make_node(op_type, ["f"], ["i"], axis=axis, keepdims=keepdims, **attributes),
                    helper.make_node("Cast", ["i"], ["y"], to=onnx.TensorProto.FLOAT),
                ]
                check_against_onnxruntime(model(nodes, {"x": [3, 4, 5]}, {}, ["y"], opset))


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sum(exclusive: int, reverse: int) -> None:
    for axis in (0, 1, -1):
        constants = {"axis": np.array(axis, np.int64)}
        check_against_onnxruntime(
            one_node("CumSum", SHAPE, constants, None, 14, exclusive=exclusive, reverse=reverse)
        )


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_softmax_and_its_kin(op_type: str, opset: int) -> None:
    for axis in range(3) if opset < 11 else range(-3, 3):
        check_against_onnxruntime(one_node(op_type, SHAPE, None, None, opset, axis=axis))
    check_against_onnxruntime(one_node(op_type, SHAPE, None, None, opset))


@pytest.mark.parametrize("axis", [-1, 1, 2, 0])
def test_layer_normalization(axis: int) -> None:
    shape = [2, 3, 4, 5]
    constants = {"scale": floats(*shape[axis:]), "bias": floats(*shape[axis:], seed=1)}
    check_against_onnxruntime(one_node("LayerNormalization", {"x": shape}, constants, None, 17, axis=axis))
    del constants["bias"]
    check_against_onnxruntime(one_node("LayerNormalization", {"x": shape}, constants, None, 17, axis=axis))


def test_layer_normalization_gives_its_statistics() -> None:
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y", "mean", "inverse"], epsilon=1e-3)
    constants = {"s": floats(5), "b": floats(5, seed=1)}
    check_against_onnxruntime(model([node], {"x": [2, 3, 5]}, constants, ["y", "mean", "inverse"], 17))


@pytest.mark.parametrize("shape", [[2, 3, 4, 5], [1, 3, 7], [2, 3, 2, 2, 3]])
@pytest.mark.parametrize("opset", [7, 22])
def test_instance_normalization(shape: list[int], opset: int) -> None:
    constants = {"scale": floats(3), "bias": floats(3, seed=1)}
    check_against_onnxruntime(one_node("InstanceNormalization", {"x": shape}, constants, None, opset))


def test_group_normalization() -> None:
    """With a scale per channel; opset 18 has one per group, which the conformance suite covers."""
    constants = {"scale": floats(6), "bias": floats(6, seed=1)}
    check_against_onnxruntime(
        one_node("GroupNormalization", {"x": [2, 6, 3, 4]}, constants, None, 21, num_groups=3)
    )


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_lp_normalization(p: int, axis: int) -> None:
    for opset in (7, 22):
        check_against_onnxruntime(one_node("LpNormalization", SHAPE, None, None, opset, p=p, axis=axis))


@pytest.mark.parametrize("axes", [None, [0, 2, 3], [1], [2, 3]])
def test_mean_variance_normalization(axes: list[int] | None) -> None:
    attributes = {} if axes is None else {"axes": axes}
    for opset in (9, 13):
        check_against_onnxruntime(
            one_node("MeanVarianceNormalization", {"x": [2, 3, 4, 5]}, None, None, opset, **attributes)
        )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    attributes = {"alpha": 0.2, "beta": 0.6, "bias": 1.5}
    for opset in (7, 13):
        check_against_onnxruntime(
            one_node("LRN", {"x": [2, 6, 3, 4]}, None, None, opset, size=size, **attributes)
        )


def test_integers_wrap_as_in_onnxruntime() -> None:
    """A hash of integers: products and sums modulo 2^32, shifts, bits, casts."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT32),
        helper.make_node("Mul", ["i", "k"], ["m"]),
        helper.make_node("Add", ["m", "k"], ["s"]),
        helper.make_node("Sub", ["s", "i"], ["d"]),
        helper.make_node("Cast", ["d"], ["u"], to=onnx.TensorProto.UINT32),
        helper.make_node("BitShift", ["u", "n"], ["r"], direction="RIGHT"),
        helper.make_node("Cast", ["r"], ["b"], to=onnx.TensorProto.UINT8),
        helper.make_node("Cast", ["b"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    constants = {"k": np.array(2_000_000_011, np.int32), "n": np.array(13, np.uint32)}
    check_against_onnxruntime(model(nodes, {"x": [64]}, constants, ["y"], 14))


def test_transposes_pass_reductions_and_normalizations() -> None:
    """Between convolutions nothing is transposed."""
    from dnncc.passes.pipeline import Pipeline

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "s", "b"], ["n"]),
        helper.make_node("Mish", ["n"], ["m"]),
        helper.make_node("ReduceMax", ["m", "axes"], ["g"], keepdims=1),
        helper.make_node("Mul", ["m", "g"], ["f"]),
        helper.make_node("Conv", ["f", "w"], ["y"]),
    ]
    constants = {"w": floats(3, 3, 2, 2), "s": floats(3), "b": floats(3, seed=1), "axes": np.array([2, 3])}
    graph = check_against_onnxruntime(model(nodes, {"x": [1, 3, 6, 6]}, constants, ["y"], 18), rtol=1e-4)
    Pipeline.parse("simplify").run(graph)
    transposes = graph.find("transpose")
    assert len(transposes) == 2 and transposes[-1].output in graph.outputs


@pytest.mark.parametrize(
    ("op_type", "expected"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf), ("ReduceSum", 0.0)]
)
def test_reductions_of_nothing(op_type: str, expected: float) -> None:
    """A constant without elements, as exporters leave in a model: the standard says what comes of it."""
    constants = {"c": np.zeros((2, 0), np.float32), "axes": np.array([1])}
    nodes = [
        helper.make_node(op_type, ["c", "axes"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    graph = load_onnx(model(nodes, {"x": [2]}, constants, ["y"], 20))
    assert interpret(graph, [np.zeros(2, np.float32)])[0].tolist() == [expected] * 2
