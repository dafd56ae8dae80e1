"""Samples of quantization on grids that a model gives, and on grids chosen at run time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ops.dequantize_linear import DequantizeLinear
from dnncc.ops.dynamic_quantize import DynamicScale, DynamicZeroPoint
from dnncc.ops.fake_bipolar import FakeBipolar
from dnncc.ops.fake_quantize import FakeQuantize
from dnncc.ops.fake_trunc import FakeTrunc
from dnncc.ops.quantize_linear import QuantizeLinear

from op_samples.case import Case, Fixed, floats, integers

SPECIAL = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.inf, -np.inf, 0.0, -0.0], np.float32)
ZEROS = {"int8": -3, "uint8": 200, "int16": -2731, "uint16": 32768}


def quantizations() -> Iterator[Case]:
    for dtype, value in ZEROS.items():
        zero = Fixed(np.asarray(value, dtype))
        yield Case(QuantizeLinear(), [SPECIAL, Fixed(np.float32(1.0)), zero])
        yield Case(QuantizeLinear(), [floats(2, 3, 4), Fixed(np.float32(0.013)), zero])
    per_channel = Fixed(np.array([[0.1], [0.02], [3.0]], np.float32))
    yield Case(QuantizeLinear(), [floats(2, 3, 4), per_channel, Fixed(np.array([[1], [2], [3]], np.uint8))])
    yield Case(QuantizeLinear(), [floats(5), np.array(0.3, np.float32), np.array(9, np.int8)])


def dequantizations() -> Iterator[Case]:
    for dtype, value in ZEROS.items():
        zero = Fixed(np.asarray(value, dtype))
        yield Case(DequantizeLinear(), [integers(dtype, 3, 70), Fixed(np.float32(0.3)), zero])
    yield Case(DequantizeLinear(), [integers("int32", 7), Fixed(np.float32(1e-3)), Fixed(np.int32(0))])
    scale, zeros = np.array([[0.1], [0.02]], np.float32), np.array([[-128], [127]], np.int8)
    yield Case(DequantizeLinear(), [integers("int8", 3, 2, 5), scale, zeros])


def fakes() -> Iterator[Case]:
    for op in (
        FakeQuantize(),
        FakeQuantize(0.037, 91, 0, 255),
        FakeQuantize(0.5, 0, -8, 7),
        FakeQuantize(2.0**-9, -7, -32768, 32767),
        FakeQuantize(3e-4, 40000, 0, 65535),
    ):
        yield Case(op, [SPECIAL])
        yield Case(op, [floats(2, 3, 4) * 10])


def truncations() -> Iterator[Case]:
    every = np.arange(-300, 300).astype(np.float32)
    for op in (FakeTrunc(1.0, 3, -256, 255), FakeTrunc(0.25, 8, 0, 1023), FakeTrunc(0.1, 1, -8, 7)):
        yield Case(op, [every])
        yield Case(op, [floats(2, 3)])


SAMPLES = {
    "quantize_linear": list(quantizations()),
    "dequantize_linear": list(dequantizations()),
    "fake_quantize": list(fakes()),
    "fake_bipolar": [Case(FakeBipolar(s), [x]) for s in (1.0, 0.3) for x in (SPECIAL, floats(2, 3))],
    "fake_trunc": list(truncations()),
    "dynamic_scale": [
        Case(DynamicScale(), [x]) for x in (floats(40), np.zeros(3, np.float32), -abs(floats(5)))
    ],
    "dynamic_zero_point": [
        Case(DynamicZeroPoint(), [x, np.array([s], np.float32)])
        for x, s in ((floats(40), 0.02), (np.zeros(3, np.float32), 1.0), (-abs(floats(5)), 0.05))
    ],
}
