"""Equalization leaves the function as it is; bias correction brings means back."""

from __future__ import annotations

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.types import Array
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.clip import Clip
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.relu import Relu
from dnncc.passes.pipeline import run_passes
from dnncc.passes.quantize import QuantizeOptions, equalize
from dnncc.passes.quantize.metrics import layer_errors
from quantize_graphs import Net


def uneven(channels: int) -> Array:
    """Factors from 1/30 to 30."""
    return np.exp(np.linspace(-3.4, 3.4, channels))


def depthwise_net() -> tuple[Net, Value]:
    """Convolution, depthwise, pointwise, with channels of very different ranges, and what lies between."""
    net = Net((1, 8, 8, 3))
    c = 6
    w = net.rng.standard_normal((c, 3, 3, 3)) * uneven(c).reshape(-1, 1, 1, 1)
    x = net.emit(Conv2d(pads=(1,) * 4), net.inputs[0], net.const(w), net.const(uneven(c)), name="dense")
    x = net.emit(MaxPool2d((2, 2), (2, 2)), net.emit(Relu(), x))
    w = net.rng.standard_normal((c, 3, 3, 1)) / uneven(c).reshape(-1, 1, 1, 1)
    x = net.emit(Conv2d(pads=(1,) * 4, groups=c), x, net.const(w), net.const(np.ones(c)), name="depthwise")
    x = net.emit(AveragePool2d((2, 2)), net.emit(Relu(), x))
    w = net.rng.standard_normal((4, 1, 1, c // 2))
    b = net.const(np.zeros(4))
    return net, net.emit(Conv2d(groups=2), x, net.const(w), b, name="grouped")


def data(graph: Graph, node: str, operand: int) -> Array:
    (value,) = (n.inputs[operand] for n in graph.nodes if n.name == node)
    assert isinstance(value, Const)
    return value.data


def sqnr(a: Array, b: Array) -> float:
    return float(10 * np.log10((a.astype(float) ** 2).sum() / ((a.astype(float) - b) ** 2).sum()))


def test_the_network_computes_the_same() -> None:
    net, y = depthwise_net()
    net.graph.outputs = [y]
    before = net.graph.clone()
    assert equalize(net.graph)
    for sample in net.samples["x0"]:
        assert sqnr(interpret(before, [sample[None]])[0], interpret(net.graph, [sample[None]])[0]) > 120


def test_ranges_of_both_sides_become_equal() -> None:
    net, y = depthwise_net()
    net.graph.outputs = [y]
    equalize(net.graph)
    r1 = np.abs(data(net.graph, "dense", 1)).reshape(6, -1).max(axis=1)
    r2 = np.abs(data(net.graph, "depthwise", 1)).reshape(6, -1).max(axis=1)
    r3 = np.abs(data(net.graph, "grouped", 1)).reshape(2, 2, 3).max(axis=1).reshape(-1)
    assert np.allclose(r1, r2, rtol=0.01) and np.allclose(r2, r3, rtol=0.01)
    assert not equalize(net.graph)


def test_equalization_makes_uneven_layers_quantize_well() -> None:
    net, y = depthwise_net()
    errors = {}
    for on in (False, True):
        q = net.quantized(y, options=QuantizeOptions(equalize=on, bias_correction=False))
        errors[on] = layer_errors(net.graph, q, net.samples)[-1].sqnr
    assert errors[True] > errors[False] + 3


def test_a_clip_or_a_second_reader_stops_equalization() -> None:
    net = Net((1, 4, 4, 2))
    x = net.emit(Clip(0.0, 6.0), net.conv(net.inputs[0], 4, name="a", scale=3.0))
    net.graph.outputs = [net.conv(x, 2, name="b", scale=0.01)]
    assert not equalize(net.graph)
    net = Net((1, 4, 4, 2))
    x = net.conv(net.inputs[0], 4, name="a", scale=3.0)
    net.graph.outputs = [net.conv(x, 2, name="b", scale=0.01), x]
    assert not equalize(net.graph)


def test_it_is_a_pass_of_its_own() -> None:
    net, y = depthwise_net()
    net.graph.outputs = [y]
    other = net.graph.clone()
    equalize(net.graph)
    assert run_passes("equalize", other)
    assert str(other) == str(net.graph)


@pytest.mark.parametrize("weights", [8, 3])
def test_bias_correction_brings_the_means_back(weights: int) -> None:
    net = Net((1, 6, 6, 3), samples=32)
    x = net.emit(Relu(), net.conv(net.inputs[0], 8, name="a"), name="r")
    y = net.conv(x, 5, name="y")

    def bias(q: Graph) -> float:
        """The largest mean error of an output channel, in steps of the output."""
        errors = []
        for index in range(32):
            (floats,) = interpret(net.graph, [net.samples["x0"][index][None]])
            errors.append(floats / q.outputs[0].type.scale - net.all_values(q, index)["y"])
        return float(np.abs(np.mean(errors, axis=(0, 1, 2, 3))).max())

    plain, corrected = (
        net.quantized(y, options=QuantizeOptions(observer="minmax", weights=weights, bias_correction=on))
        for on in (False, True)
    )
    # What rounding to the output's grid leaves averages out; clipping cannot happen with min-max ranges.
    assert bias(corrected) < min(0.1, bias(plain))
