"""quantize and dequantize: float32 to integers and back, in the same bits everywhere."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.dequantize import Dequantize
from dnncc.ops.quantize import Quantize
from dnncc.passes.quantize import to_floats, to_integers
from hypothesis import given
from hypothesis import strategies as st
from kernel_harness import Kernel

SCALES = [1.0, 0.5847029089927673, 1 / 127, 3e-20, 7e20]
OPS = [Quantize(dtype, 0.3, zero) for dtype in (DType.I8, DType.U8) for zero in (0, 83)] + [
    Quantize(DType.I8, 2.0, -128),
    Quantize(DType.I16, 0.01, -2731),
]


@given(st.floats(width=32, allow_nan=False), st.sampled_from(SCALES), st.integers(-128, 127))
def test_quantize_is_the_nearest_integer(x: float, scale: float, zero: int) -> None:
    op = Quantize(DType.I8, scale, zero)
    (y,) = op.reference(np.array([x], np.float32))
    if not np.isfinite(x):
        assert int(y[0]) == (127 if x > 0 else -128)
        return
    exact = Fraction(x) * Fraction(float(op.inverse))
    error = Fraction(int(y[0]) - zero) - min(max(exact, -128 - zero), 127 - zero)
    # float32 rounds the product and the sum: 2^-24 of at most 256 each, beside the rounding to an integer.
    assert abs(error) <= Fraction(1, 2) + Fraction(2, 2**15)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero", [0, 83, -128])
def test_integers_survive_the_round_trip(scale: float, zero: int) -> None:
    type = TensorType(DType.I8, (256,), Quantization.per_tensor(scale, zero))
    q = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(to_integers(to_floats(q, type), type), q)


def test_dequantize_is_one_product() -> None:
    q = np.arange(-128, 128).astype(np.int8)
    type = TensorType(DType.I8, (256,), Quantization.per_tensor(0.1))
    (y,) = Dequantize(0.1).reference(q)
    assert np.array_equal(y, to_floats(q, type)) and y.dtype == np.float32
    assert np.array_equal(y, np.array([np.float32(float(v) * float(np.float32(0.1))) for v in q]))


def kernel(op: Op, x: TensorType, folder: Path) -> Kernel:
    value = Value("x", x)
    graph = Graph("border", [value])
    graph.outputs = [graph.append(op, [value], op.name)]
    return Kernel(graph, folder)


@pytest.mark.parametrize("op", OPS, ids=str)
def test_the_c_code_of_quantize_gives_the_same_bits(op: Quantize, tmp_path: Path) -> None:
    code = kernel(op, TensorType(DType.F32, (64,)), tmp_path)
    special = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0, 1e-45], np.float32)
    halves = np.arange(56, dtype=np.float32) * np.float32(op.scale / 2) - np.float32(14 * op.scale)
    rng = np.random.default_rng(0)
    for x in (np.concatenate([special, halves]), *(rng.standard_normal(64) * 10.0**e for e in range(-2, 4))):
        data = x.astype(np.float32)
        assert np.array_equal(code.run([data])[0], interpret(code.graph, [data])[0])


def test_not_a_number_becomes_the_lowest() -> None:
    assert Quantize(DType.I8, 1.0).reference(np.array([np.nan], np.float32))[0].tolist() == [-128]


def test_the_c_code_of_dequantize_gives_the_same_bits(tmp_path: Path) -> None:
    code = kernel(Dequantize(0.0123), TensorType(DType.I8, (256,)), tmp_path)
    data: Array = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(code.run([data])[0], interpret(code.graph, [data])[0])


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (Quantize(DType.U16), DType.F32),
        (Quantize(DType.I8), DType.I8),
        (Quantize(DType.I8, 0.0), DType.F32),
        (Quantize(DType.I8, -1.0), DType.F32),
        (Quantize(DType.I8, 1e-50), DType.F32),
        (Quantize(DType.I8, float("nan")), DType.F32),
        (Quantize(DType.U8, 1.0, -1), DType.F32),
        (Dequantize(1.0), DType.I32),
        (Dequantize(0.0), DType.I8),
        (Dequantize(1e-60), DType.I8),
    ],
    ids=str,
)
def test_wrong_operands_are_refused(op: Op, x: DType) -> None:
    with pytest.raises(TypeMismatchError):
        op.infer(TensorType(x, (3,)))
