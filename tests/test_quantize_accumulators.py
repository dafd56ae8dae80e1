"""The overflow proof: sound, exact, and enforced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.fused import Fused
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.mul import Mul
from dnncc.ops.ranges import Interval, linear_ranges
from dnncc.ops.requantize import Requantize
from dnncc.ops.sub import Sub
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.passes.quantize import QuantizeOptions, accumulator_intervals, proven
from dnncc.passes.quantize.weights import quantize_linear
from hypothesis import given
from hypothesis import strategies as st
from quantize_graphs import Net

RANGES = st.tuples(st.integers(-128, 255), st.integers(-128, 255)).map(lambda p: (min(p), max(p)))


@given(st.integers(0, 2**31), RANGES, st.integers(1, 6), st.integers(1, 9))
def test_bounds_of_a_product_sum_are_reached_and_never_left(
    seed: int, x: tuple[int, int], rows: int, length: int
) -> None:
    rng = np.random.default_rng(seed)
    w, b = rng.integers(-128, 128, (rows, length)), rng.integers(-10_000, 10_000, rows)
    found = linear_ranges(w, b, Interval.of(*x))
    worst = np.where(w > 0, x[1], x[0])
    least = np.where(w > 0, x[0], x[1])
    assert ((w * worst).sum(axis=1) + b <= found.output.high).all()
    assert ((w * least).sum(axis=1) + b >= found.output.low).all()
    if x[0] <= 0 <= x[1]:
        # With zero in the range, padding adds nothing: the bounds are the adversary's.
        assert np.array_equal((w * worst).sum(axis=1) + b, found.output.high)
        assert np.array_equal((w * least).sum(axis=1) + b, found.output.low)
    order = rng.permutation(length)
    sums = np.cumsum((w * rng.integers(x[0], x[1] + 1, (rows, length)))[:, order], axis=1)
    whole = found.whole
    for partial in (sums, sums + b[:, None]):
        assert (partial >= whole.low[:, None]).all() and (partial <= whole.high[:, None]).all()


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-128, 127, 8), (-129, 0, 9), (0, 128, 9)]
)
def test_bits_of_an_interval(low: int, high: int, bits: int) -> None:
    assert Interval.of(low, high).bits == bits


def conv(dtype: DType, pads: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Graph:
    rng = np.random.default_rng(1)
    x = Value("x", TensorType(dtype, (1, 4, 4, 3)))
    graph = Graph("conv", [x])
    w = graph.const("w", rng.integers(-128, 128, (2, 3, 3, 3)).astype(np.int8))
    b = graph.const("b", rng.integers(-1000, 1000, 2).astype(np.int32))
    graph.outputs = [graph.append(Conv2d(pads=pads), [x, w, b], "conv")]
    return graph


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_an_adversarial_input_reaches_the_bound_and_one_bit_less_overflows(
    dtype: DType, pads: tuple[int, int, int, int]
) -> None:
    graph = conv(dtype, pads)
    (row,) = accumulator_intervals(graph)
    w, bias = graph.nodes[0].inputs[1:]
    assert isinstance(w, Const) and isinstance(bias, Const)
    reached = []
    for channel in range(2):
        for sign in (1, -1):
            x = np.full((1, 4, 4, 3), dtype.min, dtype.numpy)
            x[0, :3, :3][sign * w.data[channel].astype(int) > 0] = dtype.max
            total = int(interpret(graph, [x])[0][0, pads[0], pads[1], channel])
            # The bias may be added last: then the sum without it is a partial sum.
            reached += [total, total - int(bias.data[channel])]
    assert min(reached) == row.low and max(reached) == row.high and row.proven
    assert row.bits is not None
    narrow = 1 << (row.bits - 2)
    assert max(reached) >= narrow or min(reached) < -narrow


def test_every_kind_of_sum_is_bounded() -> None:
    x, y = (Value(n, TensorType(DType.U8, (1, 4, 4, 2))) for n in "xy")
    graph = Graph("sums", [x, y])
    one = graph.const("one", np.array(1, np.int32))
    a, b = (graph.append(Requantize(DType.I32), [v, one], v.name) for v in (x, y))
    rows = [
        ("add", graph.append(Add(), [a, b], "add"), 0, 510),
        ("sub", graph.append(Sub(), [a, b], "sub"), -255, 255),
        ("mul", graph.append(Mul(), [a, b], "mul"), 0, 255 * 255),
        ("matmul", graph.append(Matmul(), [x, x], "matmul", [TensorType(DType.I32, (1, 4, 4, 2))]), 0, 0),
        ("pool", graph.append(SumPool2d((2, 3)), [x], "pool"), 0, 6 * 255),
    ]
    graph.outputs = [value for _, value, _, _ in rows]
    found = {row.node: row for row in accumulator_intervals(graph)}
    for name, _, low, high in rows:
        if name != "matmul":
            assert (found[name].low, found[name].high) == (low, high)
    assert found["matmul"].high == 2 * 255 * 255 and proven(graph)


def test_a_sum_that_can_overflow_is_not_proven() -> None:
    x = Value("x", TensorType(DType.I32, (4,)))
    graph = Graph("wide", [x])
    graph.outputs = [graph.append(Add(), [x, x], "add")]
    (row,) = accumulator_intervals(graph)
    assert (row.bits, row.proven) == (33, False) and not proven(graph)


def test_fused_bodies_are_looked_into() -> None:
    body = conv(DType.U8)
    x = Value("outer", body.inputs[0].type)
    graph = Graph("outer", [x])
    graph.outputs = [graph.append(Fused(body), [x], "fused")]
    assert accumulator_intervals(graph) == accumulator_intervals(body)


def test_bounds_hold_on_a_quantized_network_for_any_bytes() -> None:
    net = Net((1, 6, 6, 3))
    a = net.conv(net.inputs[0], 4, name="a")
    b = net.conv(net.inputs[0], 4, name="b")
    q = net.quantized(net.conv(net.emit(Add(), a, b, name="sum"), 2, name="y"), options=QuantizeOptions())
    rng = np.random.default_rng(0)
    extremes: dict[str, tuple[int, int]] = {}

    def observe(node: Node, results: Sequence[Array]) -> None:
        (array,) = results
        if array.dtype == np.int32:
            low, high = extremes.get(node.output.name, (0, 0))
            extremes[node.output.name] = min(low, int(array.min())), max(high, int(array.max()))

    for _ in range(200):
        x = np.where(rng.random((1, 6, 6, 3)) < 0.5, -128, 127).astype(np.int8)
        interpret(q, [x], observe)
    wide = [n for n in q.nodes if n.output.type.dtype is DType.I32]
    rows = accumulator_intervals(q)
    assert len(wide) == len(rows) == len(extremes) > 4
    for node, row in zip(wide, rows, strict=True):
        low, high = extremes[node.output.name]
        assert row.low is not None and row.high is not None
        assert row.low <= low and high <= row.high


@pytest.mark.parametrize("x", [Interval.of(-128, 127), Interval.of(0, 255)])
@pytest.mark.parametrize(
    ("w", "b"),
    [
        (np.zeros((2, 4)), np.array([1e9, -3.0])),
        (np.array([[1e-30, 0.0], [1.0, -1.0]]), np.array([5.0, 1e6])),
        (np.full((1, 2), 1e-38), np.array([0.0])),
        (np.full((2, 100_000), 0.01), np.array([0.5, -0.5])),
        (np.full((1, 3), 1e30), np.array([-1e30])),
        (np.full((1, 3), 1e-3), np.array([1e25])),
    ],
)
def test_weights_that_would_overflow_get_a_coarser_scale(w: Array, b: Array, x: Interval) -> None:
    found = quantize_linear(w, b, 8, 0.01, 0.05, x)
    assert (found.scale > 0).all() and np.isfinite(found.scale).all()
    whole = linear_ranges(found.weights, found.bias, x).whole
    assert whole.fits(DType.I32)
    natural = np.abs(w).max(axis=1) / 127
    assert (found.scale >= natural).all()
    steps = found.scale * 0.01
    assert (np.abs(found.bias * steps - b) <= steps / 2 * 1.0001).all()
    # Scales are rounded up to the grid of short multipliers, by 2^-12 for the largest; that is no raise.
    rounded = natural * (1.0 + 2.0**-12)
    assert list(found.raised) == [o for o in range(len(w)) if 0 < rounded[o] < found.scale[o]]


def test_a_dead_channel_keeps_its_bias() -> None:
    net = Net((1, 8))
    w = np.vstack([np.zeros(8), net.rng.standard_normal(8) * 1e-12, net.rng.standard_normal(8)])
    b = np.array([1.5, -0.75, 0.0])
    q = net.quantized(net.emit(Linear(), net.inputs[0], net.const(w), net.const(b), name="y"))
    y, scale = net.all_values(q)["y"][0], q.outputs[0].type.scale
    assert abs(y[0] * scale - 1.5) <= scale / 2 and abs(y[1] * scale + 0.75) <= scale / 2


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e-6, 1e6, 1e30])
def test_samples_of_any_size_do_not_break_anything(factor: float) -> None:
    net = Net((1, 4, 4, 2))
    net.samples["x0"] = (net.samples["x0"] * np.float32(factor)).astype(np.float32)
    q = net.quantized(net.conv(net.conv(net.inputs[0], 3, name="a"), 2, name="y"), options=QuantizeOptions())
    for fill in (-128, 127):
        interpret(q, [np.full((1, 4, 4, 2), fill, np.int8)])
    for index in range(3):
        (floats,) = interpret(net.graph, [net.samples["x0"][index][None]])
        y = net.all_values(q, index)["y"] * q.outputs[0].type.scale
        assert np.abs(y - floats).max() <= 0.1 * np.abs(floats).max()
