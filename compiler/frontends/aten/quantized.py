"""The quantization that PyTorch 2 Export writes into a program: QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.frontends.aten.builder import Builder, Ref, aten


def _grid(g: Builder, scale: float | Ref, zero_point: int | Ref, dtype: str) -> tuple[str, str]:
    steps = scale.name if isinstance(scale, Ref) else g.const(np.float32(scale))
    zero = g.tensor(zero_point, dtype)
    return steps, zero


@aten("quantized_decomposed.quantize_per_tensor.default", "quantized_decomposed.quantize_per_tensor.tensor")
def quantize(g: Builder, x: Ref, scale: Any, zero_point: Any, low: int, high: int, dtype: Any) -> str:
    y = g.emit("QuantizeLinear", x, *_grid(g, scale, zero_point, g.result.dtype))
    info = np.iinfo(g.result.dtype)
    if (low, high) == (info.min, info.max):
        return y
    return g.emit("Clip", y, g.const(low, g.result.dtype), g.const(high, g.result.dtype))


@aten(
    "quantized_decomposed.dequantize_per_tensor.default", "quantized_decomposed.dequantize_per_tensor.tensor"
)
def dequantize(g: Builder, x: Ref, scale: Any, zero_point: Any, *_: Any, **__: Any) -> str:
    return g.emit("DequantizeLinear", x, *_grid(g, scale, zero_point, x.dtype))


@aten("quantized_decomposed.quantize_per_channel.default")
def quantize_channels(
    g: Builder, x: Ref, scales: Ref, zero_points: Ref, axis: int, low: int, high: int, dtype: Any
) -> str:
    return g.emit("QuantizeLinear", x, *_grid(g, scales, zero_points, g.result.dtype), axis=axis)


@aten("quantized_decomposed.dequantize_per_channel.default")
def dequantize_channels(
    g: Builder, x: Ref, scales: Ref, zero_points: Ref | None, axis: int, *_: Any, **__: Any
) -> str:
    zero = g.const(np.zeros(scales.shape), x.dtype) if zero_points is None else g.tensor(zero_points, x.dtype)
    return g.emit("DequantizeLinear", x, scales, zero, axis=axis)
