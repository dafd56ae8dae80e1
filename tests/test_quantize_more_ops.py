"""Integer forms of the logarithm of softmax, local response normalization, and products with calculated weights."""

from __future__ import annotations

import numpy as np
import pytest
from dnncc.errors import QuantizationError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.arg import Hardmax
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.log_softmax import LogSoftmax
from dnncc.ops.log_softmax_int import LogSoftmaxInt, log_table
from dnncc.ops.lrn import Lrn
from dnncc.ops.reduce import ReduceProd
from dnncc.ops.reshape import Reshape
from dnncc.ops.roi_align import RoiAlign
from dnncc.ops.softmax_int import exponential_table
from quantize_graphs import Net, named, ops


def errors(net: Net, q: Graph, name: str = "y") -> Array:
    """Against the float network on all samples, in steps of the output."""
    found = []
    for index in range(8):
        (floats,) = interpret(net.graph, [net.samples[v.name][index][None] for v in net.graph.inputs])
        y = net.all_values(q, index)[name].astype(float)
        found.append(y - floats / named(q, name).type.scale)
    return np.abs(np.stack(found))


@pytest.mark.parametrize("length", [1, 2, 10, 200, 2048])
@pytest.mark.parametrize(("scale", "fraction"), [(0.05, 10), (0.5, 13), (2.0, 13)])
def test_log_softmax_is_within_its_bound(length: int, scale: float, fraction: int) -> None:
    rng = np.random.default_rng(length)
    x = np.concatenate([rng.integers(-128, 128, (50, length)), np.full((1, length), 7)]).astype(np.int8)
    step = scale / (1 << fraction)
    op = LogSoftmaxInt(1, fraction)
    (y,) = op.reference(x, exponential_table(scale, 256, length), log_table(step))
    reals = x * scale
    reals = reals - reals.max(axis=1, keepdims=True)
    exact = reals - np.log(np.exp(reals).sum(axis=1, keepdims=True))
    assert np.abs(y * step - exact).max() <= length / 2.0**20 + 2.0**-19 + 16 * step


def test_log_softmax_in_a_network() -> None:
    net = Net((1, 20))
    q = net.quantized(net.emit(LogSoftmax(1), net.linear(net.inputs[0], 10), name="y"))
    assert ops(q) == ["linear", "requantize", "log_softmax_int", "requantize"]
    assert q.nodes[1].output.type.dtype is DType.I16
    # The linear layer's own rounding, of 8-bit weights and inputs, is in it.
    assert errors(net, q).max() < 1.5
    direct = Net((1, 3, 7))
    q = direct.quantized(direct.emit(LogSoftmax(1), direct.inputs[0], name="y"))
    assert ops(q) == ["log_softmax_int", "requantize"]
    assert errors(direct, q).max() < 1.5


def test_hardmax_is_exact() -> None:
    net = Net((1, 7))
    q = net.quantized(net.emit(Hardmax(1), net.inputs[0], name="y"))
    x = net.all_values(q)[q.inputs[0].name]
    y = net.all_values(q)["y"] * q.outputs[0].type.scale
    assert y.argmax() == x.argmax() and y.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("axis", [1, 3])
def test_local_response_normalization(size: int, axis: int) -> None:
    net = Net((1, 6, 4, 5))
    q = net.quantized(net.emit(Lrn(axis, size, 0.5, 0.75, 2.0), net.inputs[0], name="y"))
    assert "sum_pool2d" in ops(q) and "interpolate" in ops(q)
    values = net.all_values(q)
    x = values[q.inputs[0].name] * q.inputs[0].type.scale
    (exact,) = Lrn(axis, size, 0.5, 0.75, 2.0).reference(x.astype(np.float32))
    assert np.abs(values["y"] - exact / q.outputs[0].type.scale).max() <= 0.55


def test_a_response_that_may_be_infinite_is_refused() -> None:
    net = Net((1, 6, 4, 5))
    with pytest.raises(QuantizationError, match=r"y \(lrn\): bias 0.0 and alpha 1.0"):
        net.quantized(net.emit(Lrn(1, 3, 1.0, 0.75, 0.0), net.inputs[0], name="y"))


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_with_calculated_weights(groups: int) -> None:
    net = Net((1, 5, 6, 4), (1, 3 * 3 * 4 // groups * 2))
    w = net.emit(Reshape((2, 3, 3, 4 // groups)), net.inputs[1])
    op = Conv2d(pads=(1, 1, 1, 1), groups=groups)
    q = net.quantized(net.emit(op, net.inputs[0], w, net.const(np.array([1.0, -2.0])), name="y"))
    assert ops(q)[-2:] == ["conv2d", "requantize"]
    assert errors(net, q).max() < 4


def test_linear_with_calculated_weights() -> None:
    net = Net((1, 7), (1, 21))
    w = net.emit(Reshape((3, 7)), net.inputs[1])
    q = net.quantized(net.emit(Linear(), net.inputs[0], w, net.const(np.zeros(3)), name="y"))
    assert errors(net, q).max() < 4


def test_everything_without_an_integer_form_is_named_before_anything_is_converted() -> None:
    net = Net((1, 4, 5, 6), (3, 4), (1, 8))
    entries = net.graph.const("entries", np.zeros(3, np.int64))
    boxes = net.emit(RoiAlign((2, 2)), net.inputs[0], net.inputs[1], entries, name="boxes")
    product = net.emit(ReduceProd((1,)), net.inputs[2], name="product")
    with pytest.raises(QuantizationError) as error:
        net.quantized(boxes, product)
    assert [c.name for c in error.value.culprits] == ["boxes", "product"]
    assert all(isinstance(v, Value) for v in net.graph.outputs)
