"""The grid of an input: lattices, zero points, and where a zero point may be."""

from __future__ import annotations

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.pad import Pad
from dnncc.ops.reshape import Reshape
from dnncc.ops.transpose import Transpose
from dnncc.passes.quantize import QuantizeOptions, integer_arguments
from dnncc.passes.quantize.input_grid import lattice_step
from hypothesis import given
from hypothesis import strategies as st
from quantize_graphs import Net, ops

OPTIONS = QuantizeOptions(bias_correction=False)


def images(low: int, high: int, step: float, shape: tuple[int, ...] = (16, 5, 6, 4)) -> Array:
    """Integers from low to high, both included and present, times the step."""
    rng = np.random.default_rng(0)
    k = rng.integers(low, high + 1, shape)
    k.reshape(-1)[:2] = low, high
    return (k * step).astype(np.float32)


@given(
    st.floats(1e-6, 1e6),
    st.integers(-250, 250),
    st.integers(2, 255),
    st.integers(0, 2**31),
    st.integers(1, 40),
)
def test_a_lattice_is_found(step: float, low: int, span: int, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    k = rng.integers(low, low + span + 1, (3, count))
    # Neighbours, so that the step itself occurs, and both ends.
    k.reshape(-1)[:3] = low, low + 1, low + span
    found = lattice_step((k * step).astype(np.float32))
    assert found == pytest.approx(step, rel=1e-4) or (low == -1 and span == 2) or count == 1


def test_steps_that_never_occur_alone_are_found() -> None:
    assert lattice_step(np.array([[0.0, 2.0, 5.0, 9.0]])) == pytest.approx(1.0)


def test_a_lattice_without_zero_or_with_too_many_values_is_none() -> None:
    assert lattice_step(np.array([[0.5, 1.5, 2.5, 9.5]]) + 0.13) is None
    assert lattice_step(np.arange(300.0)[None]) is None
    assert lattice_step(np.random.default_rng(0).standard_normal((2, 300))) is None
    assert lattice_step(np.zeros((2, 9))) is None


@pytest.mark.parametrize(
    ("low", "high", "zero"),
    [(0, 255, -128), (-211, 43, 83), (-100, 100, 0), (0, 16, 0), (-255, 0, 127), (-128, 127, 0)],
)
def test_data_that_come_from_integers_are_exact(low: int, high: int, zero: int) -> None:
    step = 0.5847029089927673
    net = Net((1, 5, 6, 4))
    net.samples["x0"] = images(low, high, step)
    q = net.quantized(net.conv(net.inputs[0], 3, name="y"), options=OPTIONS)
    kind = q.inputs[0].type
    assert kind.dtype is DType.I8 and kind.quantization is not None
    assert kind.quantization.zero_point == zero
    for index in range(16):
        (x,) = integer_arguments(q, net.samples, index)
        back = (x.astype(np.float64) - zero) * kind.scale
        assert np.abs(back - net.samples["x0"][index]).max() <= 1e-4 * step


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 0, 1)])
def test_a_zero_point_costs_nothing_and_changes_nothing(pads: tuple[int, int, int, int]) -> None:
    """The sum with the zero point in bias and padding is the sum of the real inputs, exactly."""
    net = Net((1, 5, 6, 4))
    net.samples["x0"] = images(-211, 43, 0.25)
    w, b = net.const(net.rng.standard_normal((3, 3, 3, 4))), net.const(net.rng.standard_normal(3))
    y = net.emit(Conv2d((2, 1), pads), net.inputs[0], w, b, name="y")
    q = net.quantized(y, options=OPTIONS)
    assert ops(q) == (["pad"] if any(pads) else []) + ["conv2d", "requantize"]
    node = q.find("conv2d")[0]
    shifted: dict[str, Array] = {}
    (x,) = integer_arguments(q, net.samples, 3)
    interpret(q, [x], lambda n, r: shifted.update({n.op.name: r[0]}))
    weights, bias = (v.data.astype(np.int64) for v in node.inputs[1:] if isinstance(v, Const))
    bias = bias + 83 * weights.reshape(3, -1).sum(axis=1)
    (direct,) = Conv2d((2, 1), pads).reference(
        (x.astype(np.int32) - 83).astype(np.int16), weights, bias.astype(np.int32)
    )
    assert np.array_equal(shifted["conv2d"], direct)


def test_continuous_data_that_are_never_negative_get_a_zero_point() -> None:
    net = Net((1, 20))
    net.samples["x0"] = np.abs(net.samples["x0"])
    largest = float(net.samples["x0"].max())
    q = net.quantized(net.linear(net.inputs[0], 5, name="y"), options=OPTIONS)
    kind = q.inputs[0].type
    assert kind.quantization is not None and kind.quantization.zero_point == -128
    assert kind.scale == pytest.approx(largest / 255)


def test_symmetric_data_do_not() -> None:
    net = Net((1, 20), samples=64)
    q = net.quantized(net.linear(net.inputs[0], 5, name="y"), options=OPTIONS)
    assert q.inputs[0].type.quantization is not None and q.inputs[0].type.quantization.zero_point == 0


def test_a_zero_point_only_where_all_readers_fold_it() -> None:
    for reader in ("transpose", "pad", "add", "two", "output"):
        net = Net((1, 4, 5, 6))
        net.samples["x0"] = images(0, 255, 1.0, (16, 4, 5, 6))
        x = net.inputs[0]
        if reader == "transpose":
            x = net.emit(Reshape((1, 5, 6, 4)), net.emit(Transpose((0, 2, 3, 1)), x))
        if reader == "pad":
            x = net.emit(Pad(((0, 0), (1, 1), (1, 1), (0, 0)), 3.0), x)
        outputs = [net.conv(x, 3, name="y")]
        if reader == "add":
            outputs = [net.emit(Add(), x, x, name="z")]
        if reader == "two":
            outputs.append(net.emit(Add(), x, x, name="z"))
        if reader == "output":
            outputs.append(x)
        q = net.quantized(*outputs, options=OPTIONS)
        assert q.inputs[0].type.quantization is not None
        assert (q.inputs[0].type.quantization.zero_point == -128) == (reader in ("transpose", "pad")), reader
        for index in range(4):
            values = net.all_values(q, index)
            floats = interpret(net.graph, [net.samples["x0"][index][None]])
            for value, real in zip(q.outputs, floats, strict=True):
                error = np.abs(values[value.name] * value.type.scale - real)
                assert error.max() <= 0.03 * np.abs(real).max()


def test_it_can_be_forbidden_and_works_with_float_borders() -> None:
    net = Net((1, 5, 6, 4))
    net.samples["x0"] = images(0, 255, 1.0)
    y = net.conv(net.inputs[0], 3, name="y")
    q = net.quantized(y, options=QuantizeOptions(zero_point=False))
    assert q.inputs[0].type.quantization is not None and q.inputs[0].type.quantization.zero_point == 0
    inner, outer = (net.quantized(y, options=QuantizeOptions(io=io)) for io in ("int8", "float32"))
    scaled = net.all_values(inner)["y"] * np.float32(inner.outputs[0].type.scale)
    assert np.array_equal(net.all_values(outer)["y"], scaled)
