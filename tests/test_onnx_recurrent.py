"""RNN, GRU and LSTM against ONNX Runtime, float and on integers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from dnncc.errors import InvalidGraphError, QuantizationError, UnsupportedError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.types import Array
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.quantize import QuantizeOptions, integer_arguments, proven, quantize
from onnx import helper
from onnx_models import check_against_onnxruntime, floats, model

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
COUNT = {"RNN": 1, "GRU": 2, "LSTM": 3}
WITH_ALPHA = ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
WITH_BETA = ("Affine", "ScaledTanh", "HardSigmoid")
FUNCTIONS = ["Relu", "Tanh", "Sigmoid", "Softsign", *WITH_ALPHA]


def random_layer(rng: random.Random, kind: str) -> Any:
    steps, batch, features, units = (rng.randint(1, n) for n in (5, 3, 4, 4))
    direction = rng.choice(["forward", "reverse", "bidirectional"])
    count, gates = 1 + (direction == "bidirectional"), GATES[kind]
    constants = {
        "w": floats(count, gates * units, features) * np.float32(0.4),
        "r": floats(count, gates * units, units) * np.float32(0.4),
    }
    names = ["x", "w", "r", "", "", "", "", ""]
    optional: dict[int, tuple[str, Any]] = {
        3: ("b", floats(count, 2 * gates * units)),
        4: ("l", np.array([rng.randint(1, steps) for _ in range(batch)], np.int32)),
        5: ("h", floats(count, batch, units)),
    }
    if kind == "LSTM":
        optional[6] = ("c", floats(count, batch, units))
        optional[7] = ("p", floats(count, 3 * units))
    for index, (name, data) in optional.items():
        if rng.random() < 0.5:
            constants[name] = data if data.dtype == np.int32 else data * np.float32(0.3)
            names[index] = name
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if rng.random() < 0.3:
        attributes["clip"] = rng.choice([0.3, 1.5])
    if kind == "GRU":
        attributes["linear_before_reset"] = rng.randint(0, 1)
    if kind == "LSTM" and rng.random() < 0.3:
        attributes["input_forget"] = 1
    if rng.random() < 0.4:
        chosen = [rng.choice(FUNCTIONS) for _ in range(COUNT[kind] * count)]
        attributes["activations"] = chosen
        for name, takes in (("alpha", WITH_ALPHA), ("beta", WITH_BETA)):
            values = [round(rng.uniform(0.2, 0.9), 2) for f in chosen if f in takes]
            if values:
                attributes[f"activation_{name}"] = values
    outputs = ["y", "y_h", "y_c"][: 3 if kind == "LSTM" else 2]
    kept = [o for o in outputs if rng.random() < 0.6] or ["y_h"]
    node = helper.make_node(kind, names, outputs, name="node", **attributes)
    return model([node], {"x": [steps, batch, features]}, constants, kept, rng.choice([7, 14, 22]))


@pytest.mark.parametrize("kind", GATES)
def test_layers(kind: str) -> None:
    rng = random.Random(7)
    for _ in range(60):
        graph = check_against_onnxruntime(random_layer(rng, kind), 1e-4, 1e-5)
        # Time is a loop of the operator, not nodes.
        assert len(graph.find(kind.lower())) <= 2


@pytest.mark.parametrize("kind", GATES)
def test_weights_may_be_inputs(kind: str) -> None:
    shapes = {
        "x": [3, 2, 4],
        "w": [1, GATES[kind] * 3, 4],
        "r": [1, GATES[kind] * 3, 3],
        "b": [1, GATES[kind] * 6],
    }
    node = helper.make_node(kind, [*shapes], ["y"], name="node", hidden_size=3)
    check_against_onnxruntime(model([node], shapes, {}, ["y"]), 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("attributes", "shapes", "error"),
    [
        ({"direction": "sideways"}, {}, InvalidGraphError),
        ({"activations": ["Sigmoid", "Tanh"]}, {}, UnsupportedError),
        ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, {}, UnsupportedError),
        ({"hidden_size": 4}, {}, InvalidGraphError),
        ({}, {"w": (1, 12, 3)}, InvalidGraphError),
        ({}, {"r": (1, 11, 3)}, InvalidGraphError),
        ({}, {"b": (1, 12)}, InvalidGraphError),
        ({}, {"h": (2, 2, 3)}, InvalidGraphError),
        ({}, {"p": (1, 3)}, InvalidGraphError),
    ],
)
def test_forms_that_are_refused(
    attributes: dict[str, Any], shapes: dict[str, Any], error: type[Exception]
) -> None:
    sizes = {"w": (1, 12, 4), "r": (1, 12, 3), "b": (1, 24), "h": (1, 2, 3), "c": (1, 2, 3), "p": (1, 9)}
    constants = {name: floats(*(shapes.get(name) or size)) for name, size in sizes.items()}
    names = ["x", "w", "r", "b", "", "h", "c", "p"]
    node = helper.make_node("LSTM", names, ["y"], name="node", **attributes)
    with pytest.raises(error):
        load_onnx(model([node], {"x": [5, 2, 4]}, constants, ["y"]))


# -- integers ------------------------------------------------------------------------------------------------


def keyword_net(kind: str, units: int = 24, steps: int = 30, **attributes: Any) -> Any:
    """A recurrent layer and a classifier on every step, weights as trained networks have them."""
    count = 1 + (attributes.get("direction") == "bidirectional")
    gates, rng = GATES[kind], np.random.default_rng(3)

    def uniform(*shape: int) -> Array:
        return (rng.uniform(-1.5, 1.5, shape) / np.sqrt(units)).astype(np.float32)

    constants = {
        "w": uniform(count, gates * units, 10),
        "r": uniform(count, gates * units, units),
        "b": uniform(count, 2 * gates * units),
        "shape": np.array([steps, count * units]),
        "wo": rng.normal(0, 1, (count * units, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node(kind, ["xt", "w", "r", "b"], ["y"], hidden_size=units, **attributes),
        helper.make_node("Transpose", ["y"], ["q"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["q", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "wo"], ["z"]),
    ]
    return model(nodes, {"x": [1, steps, 10]}, constants, ["z"])


@pytest.mark.parametrize(
    ("kind", "attributes", "decibels"),
    [
        ("LSTM", {}, 32),
        ("LSTM", {"direction": "bidirectional", "input_forget": 1}, 32),
        ("GRU", {}, 34),
        ("GRU", {"linear_before_reset": 1, "direction": "reverse"}, 34),
        ("RNN", {}, 32),
        ("RNN", {"activations": ["Relu"]}, 32),
    ],
    ids=str,
)
def test_integer_layers_follow_the_float_ones(kind: str, attributes: dict[str, Any], decibels: float) -> None:
    """Signal to quantization noise on samples that calibration has not seen, states fed back over 30 steps."""
    graph = load_onnx(keyword_net(kind, **attributes))
    Pipeline.parse("simplify").run(graph)
    x = np.random.default_rng(0).normal(0, 1, (24, 30, 10)).astype(np.float32)
    integer = quantize(graph.clone(), {"x": x[:16]}, QuantizeOptions())
    assert proven(integer)
    assert any(node.op.name == f"{kind.lower()}_int" for node in integer.nodes)
    noise = signal = 0.0
    for sample in x[16:]:
        (wanted,) = interpret(graph, [sample[None]])
        (found,) = interpret(integer, integer_arguments(integer, {"x": sample[None]}, 0))
        noise += float(((found * integer.outputs[0].type.scale - wanted) ** 2).sum())
        signal += float((wanted**2).sum())
    assert 10 * np.log10(signal / noise) >= decibels


@pytest.mark.parametrize(
    ("kind", "attributes", "reason"),
    [
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "leave [-1, 1]"),
        ("GRU", {"activations": ["Tanh", "Tanh"]}, "can be negative"),
    ],
)
def test_cells_without_an_integer_form(kind: str, attributes: dict[str, Any], reason: str) -> None:
    graph = load_onnx(keyword_net(kind, **attributes))
    Pipeline.parse("simplify").run(graph)
    x = np.random.default_rng(0).normal(0, 1, (4, 30, 10)).astype(np.float32)
    with pytest.raises(QuantizationError) as caught:
        quantize(graph, {"x": x})
    assert reason in caught.value.culprits[0].reason
