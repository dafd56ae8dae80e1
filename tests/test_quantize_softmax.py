"""The integer softmax: its error bound, its integers, its C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.softmax_int import (
    MAX_LENGTH,
    SoftmaxInt,
    error_bound,
    exponent_bits,
    exponential_table,
)
from hypothesis import given
from hypothesis import strategies as st
from kernel_harness import Kernel

LENGTHS = [1, 2, 3, 8, 12, 100, 1000, MAX_LENGTH]


def softmax(x: Array, scale: float) -> Array:
    e = np.exp(scale * (x.astype(np.float64) - x.max(axis=-1, keepdims=True)))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def run(x: Array, scale: float, dtype: DType, entries: int = 256) -> Array:
    table = exponential_table(scale, entries, x.shape[-1])
    return np.asarray(SoftmaxInt(x.ndim - 1, dtype).reference(x, table)[0])


def rows(length: int) -> list[Array]:
    """Noise, a peak, all equal, and the worst case for the sum: every entry rounds the same way."""
    rng = np.random.default_rng(length)
    noise = [rng.integers(-128, 128, (20, length)), np.clip(rng.normal(0, 20, (20, length)), -128, 127)]
    steps = -np.minimum(np.arange(256)[:, None], np.arange(length) * 1000) + 127
    return [a.astype(np.int8) for a in (*noise, np.full((1, length), 5), steps)]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_error_is_within_the_bound(length: int, dtype: DType) -> None:
    bound = error_bound(length) + 0.5 / dtype.max
    assert error_bound(length) <= 0.004
    for scale in (0.001, 0.01, 0.05, 0.1, 0.25, 1.0, 10.0):
        for x in rows(length):
            error = np.abs(run(x, scale, dtype) / dtype.max - softmax(x, scale))
            assert error.max() <= bound


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=40), st.floats(0.03, 0.06))
def test_16_bit_logits_add_only_the_tail(logits: list[int], scale: float) -> None:
    x = np.array([logits], np.int16)
    tail = len(logits) * np.exp(-scale * 255)
    error = np.abs(run(x, scale, DType.U8) / 255 - softmax(x, scale))
    assert error.max() <= error_bound(len(logits)) + 0.5 / 255 + tail


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=30), st.floats(0.001, 2.0), st.integers(-5, 5))
def test_order_shift_and_certainty(logits: list[int], scale: float, shift: int) -> None:
    x = np.array([logits], np.int16)
    y = run(x, scale, DType.I8)[0].astype(int)
    order = np.argsort(logits, kind="stable")
    assert (np.diff(y[order]) >= 0).all() and y[np.argmax(logits)] == y.max()
    assert np.array_equal(run(x + np.int16(shift), scale, DType.I8)[0], y)
    alone = np.array([[100] + [-128] * len(logits)], np.int8)
    assert run(alone, 1.0, DType.I8)[0].tolist() == [127] + [0] * len(logits)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_intermediate_fits_its_type(length: int) -> None:
    """Python's integers follow the definition in the class's docstring and agree with the reference."""
    k, scale = exponent_bits(length), 0.05
    table = exponential_table(scale, 256, length)
    assert table[0] == 2**k and length * 2**k <= 2**30

    def i32(v: int) -> int:
        assert -(2**31) <= v < 2**31
        return v

    def mulhi(a: int, b: int) -> int:
        return i32((i32(a) * i32(b) + 2**31) >> 32)

    for x in (row for part in rows(length) for row in part[:8]):
        e = [int(table[min(int(x.max()) - int(v), 255)]) for v in x]
        total = i32(sum(e))
        n = sum(total < 2**t for t in range(k + 1, 31))
        v = i32(total << n)
        assert v >= 2**30
        y = i32(round(48 / 17 * 2**29) - mulhi(v, round(32 / 17 * 2**30)))
        for _ in range(2):
            y = i32(y + mulhi(y, i32((2**28 - mulhi(v, y)) << 4)))
        r = mulhi(y, 127 << 23)
        expected = [(i32(a << n) * r + 2**50) >> 51 for a in e]
        assert run(x[None], scale, DType.I8)[0].tolist() == expected


@pytest.mark.parametrize(
    ("shape", "axis"), [((12,), 0), ((1, 12), 1), ((2, 3, 5), 1), ((4, 7), 0), ((1, 1), 1)]
)
@pytest.mark.parametrize("source", [DType.I8, DType.U8, DType.I16])
def test_the_c_code_gives_the_same_bits(
    shape: tuple[int, ...], axis: int, source: DType, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for dtype in (DType.I8, DType.U8):
        x = Value("x", TensorType(source, shape))
        graph = Graph("softmax", [x])
        table = graph.const("table", exponential_table(0.05, 256, shape[axis]))
        graph.outputs = [graph.append(SoftmaxInt(axis, dtype), [x, table], "softmax")]
        kernel = Kernel(graph, tmp_path)
        for divisor in (1, 1, 8, 64):
            data = (rng.integers(source.min, source.max + 1, shape) // divisor).astype(source.numpy)
            assert np.array_equal(kernel.run([data])[0], interpret(graph, [data])[0])


def test_axes_are_independent() -> None:
    x = np.random.default_rng(0).integers(-128, 128, (2, 5, 3)).astype(np.int8)
    table = exponential_table(0.1, 256, 5)
    (y,) = SoftmaxInt(1, DType.U8).reference(x, table)
    for i in range(2):
        for j in range(3):
            assert np.array_equal(y[i, :, j], SoftmaxInt(0, DType.U8).reference(x[i, :, j], table)[0])


@pytest.mark.parametrize(
    ("x", "table", "op"),
    [
        (TensorType(DType.I32, (1, 4)), TensorType(DType.I32, (256,)), SoftmaxInt(1)),
        (TensorType(DType.I8, (1, 4)), TensorType(DType.I16, (256,)), SoftmaxInt(1)),
        (TensorType(DType.I8, (1, 4)), TensorType(DType.I32, (16, 16)), SoftmaxInt(1)),
        (TensorType(DType.I8, (1, 4)), TensorType(DType.I32, (256,)), SoftmaxInt(2)),
        (TensorType(DType.I8, (1, MAX_LENGTH + 1)), TensorType(DType.I32, (256,)), SoftmaxInt(1)),
        (TensorType(DType.I8, (1, 4)), TensorType(DType.I32, (256,)), SoftmaxInt(1, DType.U16)),
    ],
)
def test_wrong_operands_are_refused(x: TensorType, table: TensorType, op: SoftmaxInt) -> None:
    with pytest.raises(TypeMismatchError):
        op.infer(x, table)


def test_a_table_of_another_length_is_refused() -> None:
    x = np.zeros((1, 12), np.int8)
    with pytest.raises(ValueError, match="table"):
        SoftmaxInt(1).reference(x, exponential_table(0.1, 256, 100))
