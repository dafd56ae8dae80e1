"""Integer normalization: the exact square root, its error bound, its integers; the three bounds of transformers."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from dnncc.errors import QuantizationError
from dnncc.interpreter import interpret
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.activation_functions import Gelu
from dnncc.ops.add import Add
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.fixed_point import reciprocal
from dnncc.ops.matmul import Matmul
from dnncc.ops.mul import Mul
from dnncc.ops.normalize import Normalize
from dnncc.ops.normalize_int import (
    MAX_EPSILON,
    NormalizeInt,
    headroom,
    isqrt,
    most_elements,
)
from dnncc.ops.requantize import Requantize
from dnncc.ops.softmax_int import SoftmaxInt, exponential_table
from dnncc.passes.quantize.context import Grid
from dnncc.passes.quantize.dyadic import dyadic
from dnncc.passes.quantize.tables import byte_table, interpolated
from dnncc.runtime.toolchain import compile_library
from quantize_graphs import Net, named, ops

ROOTS = """\
#include "dnncc.h"
void roots(const int64_t *x, int32_t *root, int32_t *room, int32_t n);
void roots(const int64_t *x, int32_t *root, int32_t *room, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        root[i] = dnncc_isqrt(x[i]);
        room[i] = x[i] > 0 ? dnncc_headroom(x[i]) : 0;
    }
}
"""


def radicands() -> Array:
    """Every square up to 2^32 with both neighbours, anything below 2^32, and squares and anything up to 2^60."""
    rng = np.random.default_rng(0)
    squares = np.arange(65537, dtype=np.int64) ** 2
    larger = np.concatenate([rng.integers(1 << 16, 1 << 30, 100_000), [(1 << 30) - 1]]) ** 2
    near = [s + d for s in (squares, larger) for d in (-1, 0, 1)]
    some = [rng.integers(0, 1 << 32, 1_000_000), rng.integers(0, 1 << 60, 100_000)]
    x = np.concatenate([*near, *some, [(1 << 60) - 1]])
    return np.asarray(x[(x >= 0) & (x < 1 << 60)], np.int64)


def test_square_root_is_exact(tmp_path: Path) -> None:
    x = radicands()
    root = isqrt(x)
    assert (root * root <= x).all() and ((root + 1) * (root + 1) > x).all()
    scaled = np.maximum(x, 1)
    room = headroom(scaled)
    assert ((scaled << 2 * room) >= 1 << 58).all() and ((scaled << 2 * room) < 1 << 60).all()
    (tmp_path / "roots.c").write_text(ROOTS)
    (tmp_path / "dnncc.h").write_text((REPOSITORY / "runtime" / "include" / "dnncc.h").read_text())
    library = ctypes.CDLL(str(compile_library([tmp_path / "roots.c"], "roots")))
    c_root, c_room = np.zeros(x.size, np.int32), np.zeros(x.size, np.int32)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, c_root, c_room)]
    library.roots(*pointers, ctypes.c_int32(x.size))
    assert np.array_equal(c_root, root) and np.array_equal(c_room, np.where(x > 0, room, 0))


def test_reciprocal_is_as_accurate_as_it_says() -> None:
    ends = np.array([1 << 30, (1 << 31) - 1], np.int64)
    v = np.concatenate([np.random.default_rng(0).integers(1 << 30, 1 << 31, 1_000_000), ends])
    for steps, bound in ((2, 2.0**-16), (3, 2.0**-26)):
        assert np.abs(reciprocal(v, steps).astype(float) * v / 2.0**60 - 1).max() < bound


def rows(dtype: DType, length: int) -> Array:
    """Noise of every size, all equal, one outlier, two values, the ends of the type."""
    rng = np.random.default_rng(length)
    lo, hi = dtype.min, dtype.max
    noise = [rng.integers(max(lo, -reach), min(hi, reach) + 1, (4, length)) for reach in (1, 10, 100, hi)]
    lone = np.zeros((2, length), int)
    lone[0, 0], lone[1, -1] = hi, lo
    two = np.where(rng.random((2, length)) < 0.5, lo, hi)
    return np.concatenate([*noise, np.full((1, length), hi), lone, two]).astype(dtype.numpy)


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16])
@pytest.mark.parametrize("length", [1, 2, 5, 64, 768, 4096])
@pytest.mark.parametrize("centered", [True, False])
def test_error_is_within_the_bound(dtype: DType, length: int, centered: bool) -> None:
    x = rows(dtype, length)
    for epsilon in (0, 1, 12345, 1 << 40):
        (y,) = NormalizeInt((1,), epsilon, centered).reference(x)
        reals = x.astype(np.longdouble)
        reals = reals - reals.mean(axis=1, keepdims=True) if centered else reals
        variance = (reals**2).mean(axis=1, keepdims=True) + np.longdouble(epsilon) / length**2
        exact = np.where(variance < 1e-12, 0, reals / np.sqrt(np.maximum(variance, 1e-12)))
        error = np.abs(y * 2.0**-16 - exact)
        assert (error <= 2.0**-17 + 2.0**-26 * np.abs(exact) + 1e-9).all()


@pytest.mark.parametrize("dtype", [DType.I8, DType.U8, DType.I16])
@pytest.mark.parametrize("centered", [True, False])
def test_every_intermediate_fits_its_type(dtype: DType, centered: bool) -> None:
    """Python's integers follow the class's docstring and agree with the reference, up to the longest axis."""

    def fits(v: int, bits: int) -> int:
        assert -(1 << (bits - 1)) <= v < 1 << (bits - 1)
        return v

    def mulhi(a: int, b: int) -> int:
        return fits((fits(fits(a, 32) * fits(b, 32), 64) + 2**31) >> 32, 32)

    for length, epsilon in ((3, 0), (16384, 7), (most_elements(dtype), MAX_EPSILON)):
        x = rows(dtype, length) if length < 1 << 20 else np.full((1, length), dtype.max, dtype.numpy)
        x[0, 0] = dtype.min
        (y,) = NormalizeInt((1,), epsilon, centered).reference(x)
        for row, found in zip(x, y, strict=True):
            total = fits(int(row.sum(dtype=np.int64)), 31) if centered else 0
            squares = fits(int((row.astype(np.int64) ** 2).sum()), 64)
            v = max(fits(length * squares - total**2 + epsilon, 61), 1)
            k = next(k for k in range(30) if v << 2 * k >= 1 << 58)
            twice = fits(2 * math.isqrt(v << 2 * k), 32)
            r = fits(round(48 / 17 * 2**29) - mulhi(twice, round(32 / 17 * 2**30)), 32)
            for _ in range(3):
                r = fits(r + mulhi(r, fits((2**28 - mulhi(twice, r)) << 4, 32)), 32)
            limit = math.isqrt(length << 32) + 1
            for i in (0, length // 2, length - 1):
                deviation = fits(length * int(row[i]) - total, 32)
                product = fits(deviation * r + (1 << (42 - k)), 64)
                assert int(found[i]) == min(max(product >> (43 - k), -limit), limit)


@pytest.mark.parametrize(
    ("x", "op"),
    [
        (TensorType(DType.I32, (1, 4)), NormalizeInt((1,))),
        (TensorType(DType.I8, (1, 4)), NormalizeInt()),
        (TensorType(DType.I8, (1, 4)), NormalizeInt((2,))),
        (TensorType(DType.I8, (1, 4)), NormalizeInt((1,), -1)),
        (TensorType(DType.I8, (1, 4)), NormalizeInt((1,), MAX_EPSILON + 1)),
        (TensorType(DType.I16, (16385,)), NormalizeInt((0,))),
    ],
)
def test_wrong_operands_are_refused(x: TensorType, op: NormalizeInt) -> None:
    with pytest.raises(TypeMismatchError):
        op.infer(x)


# -- in a network ------------------------------------------------------------------------------------------------------


def sqnr(net: Net, q: object, name: str = "y") -> float:
    """Of the output on the calibration samples, in decibels."""
    signal = noise = 0.0
    for index in range(8):
        (floats,) = interpret(net.graph, [net.samples[v.name][index][None] for v in net.graph.inputs])
        values = net.all_values(q, index)  # type: ignore[arg-type]
        found = values[name] * named(q, name).type.scale  # type: ignore[arg-type]
        signal, noise = signal + float((floats**2).sum()), noise + float(((found - floats) ** 2).sum())
    return 10 * math.log10(signal / noise)


def layer_norm(net: Net, x: object, size: int) -> object:
    y = net.emit(Normalize((2,), 1e-5), x)  # type: ignore[arg-type]
    y = net.emit(Mul(), y, net.const(net.rng.uniform(0.5, 2, size)))
    return net.emit(Add(), y, net.const(net.rng.normal(0, 1, size)), name="y")


def test_layer_normalization_of_an_activation() -> None:
    net = Net((1, 5, 64))
    q = net.quantized(layer_norm(net, net.inputs[0], 64))  # type: ignore[arg-type]
    assert ops(q) == ["normalize_int", "requantize", "add", "requantize"]
    assert sqnr(net, q) > 37


def test_layer_normalization_reads_16_bits_of_a_sum() -> None:
    net = Net((1, 5, 32))
    q = net.quantized(layer_norm(net, net.linear(net.inputs[0], 64), 64))  # type: ignore[arg-type]
    assert ops(q) == ["linear", "requantize", "normalize_int", "requantize", "add", "requantize"]
    assert q.nodes[1].output.type.dtype is DType.I16
    assert sqnr(net, q) > 37


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("centered", [True, False])
def test_axes_and_root_mean_square(axes: tuple[int, ...], centered: bool) -> None:
    net = Net((1, 6, 10))
    net.samples["x0"] += 1
    q = net.quantized(net.emit(Normalize(axes, 1e-3, centered), net.inputs[0], name="y"))
    assert ops(q) == ["normalize_int", "requantize"] and sqnr(net, q) > 37


def test_next_to_nothing_is_divided_by_the_root_of_epsilon() -> None:
    """An operand so small that epsilon in its steps would not fit 64 bits."""
    net = Net((1, 1, 16384))
    net.samples["x0"] *= np.float32(1e-9)
    y = net.emit(Normalize((2,), 1.0), net.inputs[0])
    q = net.quantized(net.emit(Mul(), y, net.const(np.array(1e9)), name="y"))
    (norm,) = q.find("normalize_int")
    assert norm.op.attributes()["epsilon"] <= MAX_EPSILON
    floats = interpret(net.graph, [net.samples["x0"][0][None]])[0]
    # The grid is as coarse as it may be: N * 2^-29.5 in units of the root of epsilon.
    assert np.abs(net.all_values(q)["y"] * q.outputs[0].type.scale - floats).max() <= 1e9 * 16384 * 2.0**-29


def test_too_many_elements_are_refused() -> None:
    net = Net((1, (1 << 21) + 1), samples=1)
    norms = [net.emit(Normalize((0, 1)), net.inputs[0], name=name) for name in ("one", "two")]
    with pytest.raises(QuantizationError, match=r"2097153 elements .* up to 2097152") as error:
        net.quantized(*norms)
    assert [c.name for c in error.value.culprits] == ["one", "two"]


# -- what the literature compares --------------------------------------------------------------------------------------


def test_softmax_gelu_and_layer_norm_on_unit_range_inputs() -> None:
    """Integers that stand for -1..1 in, 8 bits out: the largest error against the exact function of these inputs is at
    most 0.004, 0.02 and 0.01; measured elsewhere 0.010 to 0.034 (Shiftmax), 0.09 to 0.29 (ShiftGELU)."""
    rng = np.random.default_rng(0)
    step = 1 / 127
    x = rng.integers(-127, 128, (400, 197)).astype(np.int8)
    reals = x * step
    e = np.exp(reals - reals.max(axis=1, keepdims=True))
    (p,) = SoftmaxInt(1, DType.U8).reference(x, exponential_table(step, 256, 197))
    softmax = np.abs(p / 255 - e / e.sum(axis=1, keepdims=True)).max()

    every = np.arange(-127, 128).astype(np.int8)
    exact = Gelu().exact(every * step)
    grid = Grid(DType.I8, float(np.abs(exact).max()) / 127, -128, 127)
    table = byte_table(Gelu().exact, DType.I8, step, 0, grid)
    gelu = np.abs(table[every.astype(int) & 255] * grid.scale - exact).max()
    from_sums = interpolated(Gelu().exact, 1 / 32767, grid).error * grid.scale

    (raw,) = NormalizeInt((1,), round(197**2 * 1e-5 / step**2)).reference(x)
    exact = (reals - reals.mean(axis=1, keepdims=True)) / np.sqrt(reals.var(axis=1, keepdims=True) + 1e-5)
    scale = float(np.abs(exact).max()) / 127
    found = dyadic(np.asarray(2.0**-16 / scale))
    (y,) = Requantize(DType.I8, found.shift).reference(raw, found.multiplier)
    layer = np.abs(y * scale - exact).max()
    # Half an output step each, and next to nothing beside it.
    assert softmax <= 0.5 / 255 + 2e-4 and softmax <= 0.004
    assert gelu <= 0.5 * grid.scale * 1.001 and from_sums <= 0.51 * grid.scale and gelu <= 0.02
    assert layer <= 0.5 * scale + 2e-5 and layer <= 0.01


def test_attention_of_three_activations() -> None:
    """softmax(q k^T) v of normalized rows: nothing but integers, and near the float network."""
    from dnncc.ops.softmax import Softmax
    from dnncc.ops.transpose import Transpose

    net = Net((1, 12, 16))
    q, k, v = (net.linear(layer_norm(net, net.inputs[0], 16), 16) for _ in range(3))  # type: ignore[arg-type]
    scores = net.emit(
        Mul(), net.emit(Matmul(), q, net.emit(Transpose((0, 2, 1)), k)), net.const(np.array(0.02))
    )
    integers = net.quantized(net.emit(Matmul(), net.emit(Softmax(2), scores), v, name="out"))
    assert sqnr(net, integers, "out") > 25
