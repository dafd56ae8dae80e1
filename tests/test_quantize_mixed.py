"""Mixed precision: choices under a budget, against every other choice; what cannot be kept; replay."""

from __future__ import annotations

import itertools
from dataclasses import replace

import dnncc
import numpy as np
import pytest
from dnncc.calibration import Samples
from dnncc.errors import DoesNotFitError, UsageError
from dnncc.ir.graph import Const, Graph
from dnncc.ops.mul import Mul
from dnncc.ops.relu import Relu
from dnncc.ops.reshape import Reshape
from dnncc.ops.softmax import Softmax
from dnncc.passes.base import Surroundings
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.quantize import QuantizeOptions, quantize
from dnncc.passes.quantize.mixed import choose_bits, divergence
from quantize_graphs import Net


def network() -> tuple[Graph, Samples]:
    """Three layers of different sizes and a softmax."""
    net = Net((1, 3, 3, 3), samples=4)
    x = net.emit(Relu(), net.conv(net.inputs[0], 6, name="first"))
    x = net.emit(Relu(), net.conv(x, 8, kernel=1, name="second"))
    x = net.linear(net.emit(Reshape((1, 72)), x), 5, name="third")
    scale = net.const([0.05])
    net.graph.outputs = [net.emit(Softmax(axis=1), net.emit(Mul(), x, scale))]
    return net.graph, net.samples


def mixed(budget: str, **options: object) -> QuantizeOptions:
    return QuantizeOptions(bits="mixed", budget=budget, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", ["size=0.8", "size=0.3", "bops=0.5", "size=400"])
def test_the_choice_keeps_within_the_budget_and_few_others_are_better(budget: str) -> None:
    graph, samples = network()
    before = str(graph)
    found = choose_bits(graph, samples, mixed(budget, among=(8, 4)), quantize)
    assert str(graph) == before
    assert found.layers == ("first", "second", "third")
    assert found.best.used <= found.limit and found.best == found.tried[0]
    if found.kind == "size":
        sizes = [n.inputs[1].type.size for n in graph.find("conv2d", "linear")]
        assert found.best.used == sum(-(-s * b // 8) for s, b in zip(sizes, found.best.bits, strict=True))
    tried = {c.bits: c.divergence for c in found.tried}
    fitting = [
        bits for bits in itertools.product((8, 4), repeat=3) if _used(graph, found.kind, bits) <= found.limit
    ]
    # So small a network is searched completely.
    assert set(tried) <= set(fitting) and len(tried) >= len(fitting) - 2
    assert found.best.divergence == min(tried.values())


def _used(graph: Graph, kind: str, bits: tuple[int, ...]) -> float:
    layers = graph.find("conv2d", "linear")
    amounts = [n.inputs[1].type.size / 8 if kind == "size" else n.macs * 8 for n in layers]
    return sum(a * b for a, b in zip(amounts, bits, strict=True))


def test_the_widths_are_those_of_the_weights_and_can_be_replayed() -> None:
    graph, samples = network()
    pipeline = Pipeline.parse('quantize{bits=mixed,budget="size=0.7",among=(8,4)}').bind(
        Surroundings(samples)
    )
    chosen = graph.clone()
    pipeline.run(chosen)
    record = pipeline.passes[0].record()
    assert record["layers"] == ["first", "second", "third"] and record["tried"][0]["bits"] == record["bits"]
    text = str(pipeline.resolved())
    assert "mixed" not in text and "bits=(" in text
    replayed = graph.clone()
    Pipeline.parse(text).bind(Surroundings(samples)).run(replayed)
    assert str(replayed) == str(chosen)
    widths = Pipeline.parse(text).passes[0].bits  # type: ignore[attr-defined]
    assert set(widths) == {8, 4}
    for node, bits in zip(chosen.find("conv2d", "linear"), widths, strict=True):
        weights = node.inputs[1]
        assert isinstance(weights, Const)
        half = 1 << (bits - 1)
        assert -half <= weights.data.min() and weights.data.max() < half


def test_the_function_chooses_too() -> None:
    graph, samples = network()
    options = mixed("size=0.5", among=(8, 4))
    best = choose_bits(graph, samples, options, quantize).best
    expected = quantize(graph, samples, replace(options, bits=best.bits, budget=""))
    assert str(quantize(graph, samples, options)) == str(expected)


def test_a_budget_below_the_fewest_bits_names_the_largest_layer() -> None:
    graph, samples = network()
    with pytest.raises(DoesNotFitError, match="with 2 bits everywhere there are still") as caught:
        choose_bits(graph, samples, mixed("size=100"), quantize)
    assert [c.name for c in caught.value.culprits] == ["third"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": "mixed"}, "needs a budget"),
        ({"bits": "mixed", "budget": "cycles"}, "needs a budget"),
        ({"bits": "mixed", "budget": "size=half"}, "needs a budget"),
        ({"bits": "some"}, "unknown bits"),
        ({"bits": (8, 1)}, "not all 2 to 8"),
        ({"budget": "size=0.5"}, "goes with bits=mixed"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantizeOptions(**options)  # type: ignore[arg-type]


def test_widths_for_another_network_are_refused() -> None:
    graph, samples = network()
    with pytest.raises(UsageError, match="2 widths were given for 3 layers"):
        quantize(graph, samples, QuantizeOptions(bits=(8, 4)))


def test_divergence() -> None:
    p = [np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])]
    assert divergence(p, p) == pytest.approx(0.0, abs=2e-3)
    assert divergence(p, p[::-1]) > 0.3
    x = [np.array([[3.0, -4.0]])]
    assert divergence(x, [np.array([[3.0, -3.0]])]) == pytest.approx(1 / 25)


def test_a_compile_chooses_and_writes_down_what() -> None:
    graph, samples = network()
    arguments = {"target": "cortex-m4", "calibrate": samples}
    found = dnncc.compile(graph, weight_bits="mixed", budget={"size": 0.7}, **arguments)
    assert "mixed" not in found.pipeline and "bits=(" in found.pipeline
    replayed = dnncc.compile(graph, passes=found.pipeline, **arguments)
    assert str(replayed.graph) == str(found.graph)
    assert found.program.weights_bytes < dnncc.compile(graph, **arguments).program.weights_bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": "mixed"}, "need one budget"),
        ({"weight_bits": "mixed", "budget": {"size": 0.5, "bops": 0.5}}, "need one budget"),
        ({"budget": {"size": "20K"}}, "goes with mixed weight bits"),
        ({"weight_bits": "mixed", "budget": {"size": "some"}}, "budget cannot be kept"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], message: str) -> None:
    graph, samples = network()
    with pytest.raises(UsageError, match=message):
        dnncc.compile(graph, target="cortex-m4", calibrate=samples, **options)
