"""The integer form of each operator, against exact fractions of its integer inputs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from dnncc.errors import QuantizationError, UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.clip import Clip
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.matmul import Matmul
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.reduce import ReduceProd
from dnncc.ops.relu import Relu
from dnncc.ops.requantize import Requantize
from dnncc.ops.reshape import Reshape
from dnncc.ops.softmax import Softmax
from dnncc.ops.sub import Sub
from dnncc.ops.transpose import Transpose
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.quantize import QuantizeOptions
from quantize_graphs import Net, assert_rounded, exact, named, ops

IMAGE = (1, 5, 6, 4)


def test_convolution_is_requantized_once_with_its_activation_as_clamp() -> None:
    net = Net(IMAGE)
    y = net.emit(Relu(), net.conv(net.inputs[0], 6), name="y")
    q = net.quantized(net.emit(MaxPool2d((2, 2)), net.conv(y, 3, name="last"), name="out"))
    assert ops(q) == ["conv2d", "requantize", "conv2d", "requantize", "max_pool2d"]
    assert named(q, "y").type.dtype is DType.U8
    assert q.outputs[0].type.dtype is DType.I8
    shifts = [n.op.shift for n in q.nodes if isinstance(n.op, Requantize)]
    assert shifts == [32, 32]


def test_convolution_of_its_integers_is_exact() -> None:
    net = Net(IMAGE)
    q = net.quantized(net.conv(net.inputs[0], 6, name="y"))
    values = net.all_values(q)
    x, w, b = q.find("conv2d")[0].inputs
    assert isinstance(w, Const) and isinstance(b, Const) and w.type.quantization is not None
    scales = np.array(w.type.quantization.scale)
    (real,) = Conv2d(pads=(1, 1, 1, 1)).reference(
        values[x.name].astype(np.float32), w.data.astype(np.float32), b.data.astype(np.float32)
    )
    expected = [
        Fraction(int(a)) * Fraction(float(s)) * Fraction(x.type.scale)
        for row in real.reshape(-1, 6)
        for a, s in zip(row, scales, strict=True)
    ]
    assert_rounded(values["y"], named(q, "y"), expected)


def test_weights_are_symmetric_per_channel() -> None:
    net = Net(IMAGE)
    net.quantized(net.conv(net.inputs[0], 6, name="y"))
    for bits in (8, 4, 2):
        options = QuantizeOptions(weights=bits, rounding="nearest", bias_correction=False)
        q = net.quantized(net.graph.outputs[0], options=options)
        w = q.find("conv2d")[0].inputs[1]
        source = net.graph.find("conv2d")[0].inputs[1]
        assert isinstance(w, Const) and isinstance(source, Const) and w.type.quantization is not None
        n = 2 ** (bits - 1) - 1
        assert w.data.min() >= -n - 1 and w.data.max() <= n
        step = np.array(w.type.quantization.scale).reshape(-1, 1, 1, 1)
        inside = np.abs(source.data) <= n * step
        assert np.abs(w.data * step - source.data)[inside].max() <= step.max() / 2 * 1.0001
        if bits == 8:
            assert inside.all() and (np.abs(w.data).reshape(6, -1).max(axis=1) == n).all()


@pytest.mark.parametrize("op", [Add(), Sub()], ids=str)
def test_sum_of_two_activations(op: Add | Sub) -> None:
    net = Net(IMAGE, IMAGE)
    q = net.quantized(net.emit(op, *net.inputs, name="y"))
    for index in range(4):
        values = net.all_values(q, index)
        a, b = (exact(values[v.name], v.type.scale) for v in q.inputs)
        sign = 1 if isinstance(op, Add) else -1
        expected = [p + sign * r for p, r in zip(a, b, strict=True)]
        assert_rounded(values["y"], q.outputs[0], expected, extra=2.0**-7)


def test_sum_with_broadcasting_and_constants() -> None:
    net = Net(IMAGE, (1, 1, 1, 4))
    y = net.emit(Add(), *net.inputs, name="sum")
    y = net.emit(Sub(), net.const(np.arange(4)), y, name="y")
    q = net.quantized(y)
    values = net.all_values(q)
    a, b = (values[v.name] for v in q.inputs)
    reals = [
        Fraction(int(c))
        - Fraction(int(m)) * Fraction(q.inputs[0].type.scale)
        - Fraction(int(n)) * Fraction(q.inputs[1].type.scale)
        for c, m, n in np.broadcast(np.arange(4), a, b)
    ]
    assert_rounded(values["y"], q.outputs[0], reals, extra=2.0**-5)


def test_residual_takes_the_accumulator_to_the_fine_grid() -> None:
    net = Net(IMAGE)
    x = net.emit(Relu(), net.conv(net.inputs[0], 4, name="first"), name="x")
    y = net.emit(Relu(), net.emit(Add(), x, net.conv(x, 4, name="second"), name="sum"), name="y")
    q = net.quantized(net.conv(y, 2, name="out"))
    assert ops(q)[2:7] == ["conv2d", "requantize", "requantize", "add", "requantize"]
    fine, shortcut, back = (n for n in q.nodes[3:7] if n.op.name == "requantize")
    assert fine.output.type.dtype is DType.I32 and shortcut.output.type.dtype is DType.I32
    assert fine.output.type.scale == shortcut.output.type.scale
    ratio = named(q, "y").type.scale / fine.output.type.scale
    assert ratio in (16, 32, 64, 128, 256)
    assert named(q, "y").type.dtype is DType.U8
    assert isinstance(fine.op, Requantize) and isinstance(back.op, Requantize)
    # One rounding multiplication each, not a pair of shifts.
    assert fine.op.shift == back.op.shift == 32
    multiplier = back.inputs[1]
    assert isinstance(multiplier, Const) and int(multiplier.data) == round(2**32 / ratio)
    values, scale = net.all_values(q), fine.output.type.scale
    total = exact(values[fine.output.name] + values[shortcut.output.name], scale)
    assert_rounded(values["y"], named(q, "y"), total, extra=0.0, lo=0, hi=255)


def test_of_two_accumulators_the_first_waits_in_16_bits() -> None:
    net = Net(IMAGE)
    a, b = (net.conv(net.inputs[0], 4, name=name) for name in ("a", "b"))
    q = net.quantized(net.emit(Add(), a, b, name="y"))
    assert ops(q) == ["conv2d", "requantize", "conv2d", "requantize", "requantize", "add", "requantize"]
    assert [n.output.type.dtype for n in q.nodes[1:5]] == [DType.I16, DType.I32, DType.I32, DType.I32]
    values = net.all_values(q)
    scale = q.nodes[5].output.type.scale
    assert_rounded(values["y"], q.outputs[0], exact(values[q.nodes[5].output.name], scale), extra=0.0)


def test_concat_rescales_each_branch() -> None:
    net = Net(IMAGE, IMAGE)
    parts = [net.inputs[0], net.conv(net.inputs[1], 3, name="conv"), net.inputs[1]]
    q = net.quantized(net.emit(Concat(3), *parts, name="y"))
    values = net.all_values(q)
    assert ops(q).count("requantize") == 3
    for part, value in ((slice(0, 4), q.inputs[0]), (slice(7, 11), q.inputs[1])):
        expected = exact(values[value.name], value.type.scale)
        assert_rounded(values["y"][..., part], q.outputs[0], expected)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 1)])
def test_average_pool_is_the_mean(include: bool, pads: tuple[int, int, int, int]) -> None:
    net = Net(IMAGE)
    op = AveragePool2d((3, 2), (2, 1), pads, count_include_pad=include)
    x = net.emit(Relu(), net.conv(net.inputs[0], 4), name="x")
    q = net.quantized(net.conv(net.emit(op, x, name="y"), 2, name="out"))
    assert ops(q)[2:4] == ["sum_pool2d", "requantize"]
    values, x_scale = net.all_values(q), Fraction(named(q, "x").type.scale)
    total = q.nodes[2].op.reference(values["x"])[0]
    divisors = np.broadcast_to(op.divisors((5, 6))[:, :, None], total.shape)
    expected = [Fraction(int(t), int(d)) * x_scale for t, d in zip(total.flat, divisors.flat, strict=True)]
    assert_rounded(values["y"], named(q, "y"), expected, lo=0, hi=255)


def test_product_of_two_activations() -> None:
    net = Net(IMAGE, (1, 1, 1, 4))
    q = net.quantized(net.emit(Mul(), *net.inputs, name="y"))
    values = net.all_values(q)
    a, b = q.inputs
    steps = Fraction(a.type.scale) * Fraction(b.type.scale)
    expected = [Fraction(int(m) * int(n)) * steps for m, n in np.broadcast(values[a.name], values[b.name])]
    assert_rounded(values["y"], q.outputs[0], expected)


@pytest.mark.parametrize(
    "factor", [np.array(-0.7), np.array([1.0, -2.0, 0.0, 1e-3]), np.ones((1, 5, 6, 1)) * 3]
)
def test_product_with_a_constant_is_one_requantization(factor: Array) -> None:
    net = Net(IMAGE)
    q = net.quantized(net.emit(Mul(), net.const(factor), net.inputs[0], name="y"))
    assert ops(q) == ["requantize"]
    x = net.all_values(q)[q.inputs[0].name]
    scale = Fraction(q.inputs[0].type.scale)
    constant = np.asarray(factor, np.float32)
    expected = [Fraction(int(a)) * scale * Fraction(float(c)) for a, c in np.broadcast(x, constant)]
    assert_rounded(net.all_values(q)["y"], q.outputs[0], expected)


def test_batch_norm_by_itself() -> None:
    net = Net(IMAGE)
    gain, bias, mean = (net.rng.standard_normal(4) for _ in range(3))
    var = net.rng.uniform(0.1, 2.0, 4)
    y = net.emit(BatchNorm(1e-3), net.inputs[0], *map(net.const, (gain, bias, mean, var)), name="y")
    q = net.quantized(y)
    assert ops(q) == ["requantize", "add", "requantize"]
    values = net.all_values(q)
    reals = np.array([float(f) for f in exact(values["x0"], q.inputs[0].type.scale)]).reshape(IMAGE)
    (expected,) = BatchNorm(1e-3).reference(reals, *(c.astype(np.float32) for c in (gain, bias, mean, var)))
    assert_rounded(values["y"], q.outputs[0], [Fraction(float(e)) for e in expected.flat], extra=2.0**-6)


def test_matrix_product_of_two_activations() -> None:
    net = Net((1, 3, 8), (1, 8, 5))
    q = net.quantized(net.emit(Matmul(), *net.inputs, name="y"))
    values = net.all_values(q)
    a, b = (values[v.name].astype(np.int64) for v in q.inputs)
    steps = Fraction(q.inputs[0].type.scale) * Fraction(q.inputs[1].type.scale)
    assert_rounded(values["y"], q.outputs[0], [Fraction(int(v)) * steps for v in (a @ b).flat])


@pytest.mark.parametrize(
    "op", [Relu(), Clip(-0.5, 1.5), Clip(hi=0.25), Clip(lo=-1.0), Clip(0.0, 6.0)], ids=str
)
def test_a_clamp_that_nothing_can_fuse(op: Relu | Clip) -> None:
    net = Net(IMAGE)
    q = net.quantized(net.emit(op, net.inputs[0], name="y"))
    values = net.all_values(q)
    scale = q.inputs[0].type.scale
    (expected,) = op.reference(np.array([float(f) for f in exact(values["x0"], scale)], np.float64))
    error = np.abs(values["y"].reshape(-1) * q.outputs[0].type.scale - expected)
    # The bounds are rounded to the grid.
    assert error.max() <= max(scale, q.outputs[0].type.scale) / 2 * 1.01


def test_a_clamp_far_below_the_operand_gets_a_grid_of_its_own() -> None:
    net = Net(IMAGE)
    net.samples["x0"] *= 1000
    q = net.quantized(net.emit(Clip(0.0, 6.0), net.inputs[0], name="y"))
    assert q.outputs[0].type.scale == 6.0 / 127
    y = net.all_values(q)["y"]
    assert y.min() == 0 and y.max() == 127


def test_fused_clip_is_the_clamp_of_the_requantization() -> None:
    net = Net(IMAGE)
    y = net.emit(Clip(0.0, 0.5), net.conv(net.inputs[0], 4), name="y")
    q = net.quantized(net.conv(y, 2, name="out"))
    assert ops(q) == ["conv2d", "requantize"] * 2
    y8 = net.all_values(q)["y"]
    assert named(q, "y").type.dtype is DType.U8 and y8.min() == 0 and y8.max() == 255
    assert named(q, "y").type.scale == pytest.approx(0.5 / 255)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 50.0])
def test_padding_has_its_value(value: float) -> None:
    net = Net(IMAGE)
    x = net.emit(Relu(), net.conv(net.inputs[0], 4), name="x")
    y = net.emit(Pad(((0, 0), (1, 0), (0, 2), (0, 0)), value), x, name="y")
    q = net.quantized(x, y)
    y8 = net.all_values(q)["y"].astype(float) * named(q, "y").type.scale
    assert np.abs(y8[:, 0] - value).max() <= named(q, "y").type.scale / 2
    assert np.abs(y8[:, :, -1] - value).max() <= named(q, "y").type.scale / 2


@pytest.mark.parametrize(
    ("value", "op"), [(0.0, Clip(0.5, 2.0)), (-1.0, Relu()), (9.0, Clip(hi=1.0)), (-1.0, Clip(-3.0, 0.25))]
)
def test_a_clamp_after_padding_clamps_the_padding(value: float, op: Relu | Clip) -> None:
    net = Net(IMAGE)
    x = net.emit(Pad(((0, 0), (1, 0), (0, 2), (0, 0)), value), net.conv(net.inputs[0], 4))
    y = net.emit(op, x, name="y")
    q = net.quantized(net.conv(y, 2, name="out"))
    (padded,) = op.reference(np.array([value]))
    found = net.all_values(q)["y"].astype(float) * named(q, "y").type.scale
    assert np.abs(found[:, 0] - padded).max() <= named(q, "y").type.scale / 2


def test_layout_operators_keep_the_integers() -> None:
    net = Net(IMAGE)
    x = net.inputs[0]
    y = net.emit(Reshape((1, 120)), net.emit(Transpose((0, 3, 1, 2)), x), name="y")
    q = net.quantized(y)
    values = net.all_values(q)
    assert np.array_equal(values["y"][0], values["x0"].transpose(0, 3, 1, 2).reshape(-1))
    assert q.outputs[0].type.scale == q.inputs[0].type.scale


def test_softmax_reads_16_bit_logits_and_gives_127_for_certainty() -> None:
    net = Net((1, 20))
    q = net.quantized(net.emit(Softmax(1), net.linear(net.inputs[0], 10), name="y"))
    assert ops(q) == ["linear", "requantize", "softmax_int"]
    assert q.nodes[1].output.type.dtype is DType.I16
    assert q.outputs[0].type.scale == 1 / 127
    for index in range(8):
        floats = interpret(net.graph, [net.samples["x0"][index][None]])[0]
        error = np.abs(net.all_values(q, index)["y"] / 127 - floats)
        assert error.max() < 0.05


def test_softmax_of_an_activation_and_inside_a_network() -> None:
    net = Net((1, 6, 8), (1, 8, 5))
    p = net.emit(Softmax(2), net.inputs[0], name="p")
    q = net.quantized(net.emit(Matmul(), p, net.inputs[1], name="y"))
    assert ops(q) == ["softmax_int", "matmul", "requantize"]
    assert named(q, "p").type.dtype is DType.U8 and named(q, "p").type.scale == 1 / 255


def test_an_output_of_a_relu_is_signed_at_the_border() -> None:
    net = Net(IMAGE)
    y = net.emit(Relu(), net.conv(net.inputs[0], 4), name="y")
    q = net.quantized(y)
    assert q.outputs[0].type.dtype is DType.I8
    values = net.all_values(q)["y"]
    assert values.min() == 0 and values.max() > 100
    again = net.quantized(y, net.conv(y, 2, name="z"))
    assert [v.type.dtype for v in again.outputs] == [DType.I8, DType.I8]
    assert DType.U8 in {v.type.dtype for v in again.values()}


def test_the_same_output_under_two_names() -> None:
    net = Net(IMAGE)
    x = net.emit(Relu(), net.inputs[0], name="a")
    q = net.quantized(x, net.emit(Relu(), x, name="b"))
    values = net.all_values(q)
    assert np.array_equal(values["a"], values["b"])


def test_an_output_that_is_an_input_or_a_constant() -> None:
    net = Net(IMAGE)
    q = net.quantized(net.inputs[0], net.const(np.arange(3.0)), net.conv(net.inputs[0], 2, name="y"))
    constant = q.outputs[1]
    assert q.outputs[0] is q.inputs[0]
    assert isinstance(constant, Const) and np.allclose(
        constant.data * constant.type.scale, np.arange(3), atol=0.01
    )


def test_float_border_gives_the_same_integers_inside() -> None:
    net = Net(IMAGE)
    y = net.emit(Relu(), net.conv(net.inputs[0], 4), name="y")
    inner = net.quantized(y)
    outer = net.quantized(
        y, options=QuantizeOptions(observer="minmax", bias_correction=False, zero_point=False, io="float32")
    )
    assert [v.type.dtype for v in (*outer.inputs, *outer.outputs)] == [DType.F32, DType.F32]
    assert ops(outer) == ["quantize", *ops(inner), "dequantize"]
    integers = net.all_values(inner)["y"]
    assert np.array_equal(net.all_values(outer)["y"], integers * np.float32(inner.outputs[0].type.scale))


@pytest.mark.parametrize("bits", [2, 4, 7])
def test_fewer_bits_for_activations(bits: int) -> None:
    net = Net(IMAGE)
    x = net.emit(Relu(), net.conv(net.inputs[0], 4), name="x")
    z = net.conv(x, 4, name="z")
    q = net.quantized(
        net.conv(net.emit(MaxPool2d((1, 1)), z), 2, name="y"), options=QuantizeOptions(activations=bits)
    )
    values = net.all_values(q)
    assert values["x"].min() >= 0 and values["x"].max() <= 2**bits - 1
    pooled = values[q.find("max_pool2d")[0].output.name]
    assert -(2 ** (bits - 1)) <= pooled.min() and pooled.max() <= 2 ** (bits - 1) - 1
    assert q.outputs[0].type.scale < named(q, "x").type.scale * 100


def test_all_operators_without_an_integer_form_are_listed() -> None:
    net = Net((6,), (6,))
    scales = [
        net.emit(ReduceProd((0,)), x, name=name) for x, name in zip(net.inputs, ("one", "two"), strict=True)
    ]
    with pytest.raises(QuantizationError) as error:
        net.quantized(*scales)
    assert [c.name for c in error.value.culprits] == ["one", "two"]
    assert "--dtype float32" in error.value.help


def test_weights_that_are_not_finite_are_refused() -> None:
    net = Net(IMAGE)
    w = net.const(np.full((2, 1, 1, 4), np.inf))
    with pytest.raises(QuantizationError, match=r"bad \(conv2d\): its constant .* is not finite"):
        net.quantized(net.emit(Conv2d(), net.inputs[0], w, net.const(np.zeros(2)), name="bad"))


@pytest.mark.parametrize("options", ["observer=best", "weights=9", "activations=1", "io=f32"])
def test_unknown_options_are_refused(options: str) -> None:
    with pytest.raises(UsageError, match=options.split("=")[1]):
        Pipeline.parse(f"quantize{{{options}}}")
