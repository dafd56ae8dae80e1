"""QuantizeLinear, DequantizeLinear and their like: integers and the grids on which they stand for floats."""

from __future__ import annotations

import numpy as np
from dnncc.frontends.onnx_registry import ELEMENT_TYPES, Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, Quantization
from dnncc.ops.cast import Cast
from dnncc.ops.dequantize_linear import DequantizeLinear
from dnncc.ops.moved import along_one_axis
from dnncc.ops.quantize_linear import STORED, QuantizeLinear

MICROSOFT = "com.microsoft"


def quantized(
    g: Importer,
    node: OnnxNode,
    x: Value,
    scale: Value,
    zero: Value | None,
    axis: int,
    dtype: DType = DType.U8,
) -> Value:
    """``QuantizeLinear(x, scale, zero)``.

    Args:
        axis: the channel axis, if there is a scale per channel.
        dtype: of the result, where there is no zero point to say it.
    """
    if x.type.dtype is DType.I32:
        x = g.emit(Cast(DType.F32), [x])
    _check_scale(node, scale)
    scale, zero = (
        along(g, node, x, scale, axis),
        along(g, node, x, zero or g.const("zero", _zero(dtype)), axis),
    )
    if zero.type.dtype not in STORED:
        raise node.unsupported(f"quantization to {zero.type.dtype.value} (supported: 8 and 16 bits)")
    return g.emit(QuantizeLinear(), [x, scale, zero])


def dequantized(g: Importer, node: OnnxNode, x: Value, scale: Value, zero: Value | None, axis: int) -> Value:
    """``DequantizeLinear(x, scale, zero)``; a constant keeps in its type on which scales it is."""
    if x.type.dtype not in (*STORED, DType.I32):
        raise node.unsupported(f"dequantization of {x.type} (supported: 8 and 16 bits, and int32)")
    if zero is not None and zero.type.dtype is not x.type.dtype:
        raise node.invalid(f"a zero point {zero.type} of {x.type}")
    if x.type.dtype is DType.I32 and zero is not None:
        if not isinstance(zero, Const) or zero.data.any():
            raise node.unsupported("a zero point of int32 that is not 0")
        zero = None
    _check_scale(node, scale)
    scale = along(g, node, x, scale, axis)
    zero = along(g, node, x, zero or g.const("zero", _zero(x.type.dtype)), axis)
    y = g.emit(DequantizeLinear(), [x, scale, zero])
    known = scale_of(x, scale)
    return g.const("value", y.data, known) if isinstance(y, Const) and known is not None else y


def _check_scale(node: OnnxNode, scale: Value) -> None:
    if scale.type.dtype is not DType.F32:
        raise node.invalid(f"a scale {scale.type}")
    if isinstance(scale, Const) and not ((scale.data > 0) & np.isfinite(scale.data)).all():
        raise node.unsupported("a scale that is not positive and finite")


def scale_of(x: Value, scale: Value) -> Quantization | None:
    """The scales of a constant [...] whose parameter broadcasts to it."""
    if not isinstance(scale, Const) or not x.type.size:
        return None
    return along_one_axis(np.broadcast_to(scale.data.astype(np.float64), x.type.shape))


def along(g: Importer, node: OnnxNode, x: Value, parameter: Value, axis: int) -> Value:
    """A scale or zero point of one element, or one per channel, in a shape that broadcasts to x as numpy does."""
    if parameter.type.size == 1:
        return g.reshape(parameter, ())
    if parameter.type.rank != 1:
        raise node.unsupported(
            f"scales or zero points {parameter.type}: blocks (supported: per tensor, per axis)"
        )
    axis = node.axis(axis, x.type.rank)
    if parameter.type.shape != (x.type.shape[axis],):
        raise node.invalid(f"{parameter.type} along axis {axis} of {x.type}")
    return g.reshape(parameter, (parameter.type.size, *[1] * (x.type.rank - axis - 1)))


def _zero(dtype: DType) -> Array:
    return np.zeros((), dtype.numpy)


def _check_plain(node: OnnxNode) -> int:
    """The channel axis; unsupported if there are blocks."""
    node.ignore("saturate")  # it matters for 8-bit floats only
    if node.int("block_size", 0):
        raise node.unsupported("blocks of a scale each (supported: per tensor, per axis)")
    return node.int("axis", 1)


def _quantize_linear(g: Importer, node: OnnxNode) -> Value:
    axis = _check_plain(node)
    wanted = node.int("output_dtype", 0)
    if node.int("precision", 0) not in (0, 1):
        raise node.unsupported("a division in another precision than float32")
    if wanted and wanted not in ELEMENT_TYPES:
        raise node.unsupported(f"output_dtype {wanted}")
    dtype = ELEMENT_TYPES[wanted] if wanted else DType.U8
    return quantized(g, node, node.value(0), node.value(1), node.optional(2), axis, dtype)


def _dequantize_linear(g: Importer, node: OnnxNode) -> Value:
    axis = _check_plain(node)
    wanted = node.int("output_dtype", 0)
    if wanted and ELEMENT_TYPES.get(wanted) is not DType.F32:
        raise node.invalid(f"output_dtype {wanted}")
    return dequantized(g, node, node.value(0), node.value(1), node.optional(2), axis)


@onnx_op("QuantizeLinear")
def import_quantize_linear(g: Importer, node: OnnxNode) -> Value:
    return _quantize_linear(g, node)


@onnx_op("DequantizeLinear")
def import_dequantize_linear(g: Importer, node: OnnxNode) -> Value:
    return _dequantize_linear(g, node)


@onnx_op("QuantizeLinear", domain=MICROSOFT)
def import_microsoft_quantize(g: Importer, node: OnnxNode) -> Value:
    """ONNX Runtime's own, for 16 bits before ONNX had them."""
    return _quantize_linear(g, node)


@onnx_op("DequantizeLinear", domain=MICROSOFT)
def import_microsoft_dequantize(g: Importer, node: OnnxNode) -> Value:
    return _dequantize_linear(g, node)
