"""Products of integers that stay integers: ConvInteger, MatMulInteger, and the quantization before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from dnncc.frontends.onnx_quantized import along
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.cast import Cast
from dnncc.ops.convolution import channels_first, channels_last, check_operands, convolution
from dnncc.ops.dynamic_quantize import DynamicScale, DynamicZeroPoint
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.pad import Pad
from dnncc.ops.quantize_linear import QuantizeLinear
from dnncc.ops.sub import Sub
from dnncc.ops.window_axis import import_axes

_BYTES = (DType.I8, DType.U8)


def _without_zero(g: Importer, node: OnnxNode, x: Value, zero: Value | None, axis: int) -> Value:
    """``x - zero`` as i32, or for constants in as few bits as it needs."""
    if x.type.dtype not in _BYTES or (zero is not None and zero.type.dtype is not x.type.dtype):
        raise node.invalid(f"operands {x.type} and {zero}")
    given = None if zero is None else along(g, node, x, zero, axis)
    if isinstance(x, Const) and (given is None or isinstance(given, Const)):
        k = x.data.astype(np.int16) - (0 if given is None else given.data.astype(np.int16))
        narrow = k.size == 0 or (k.min() >= DType.I8.min and k.max() <= DType.I8.max)
        return g.const("integers", k.astype(np.int8) if narrow else k)
    wide = g.emit(Cast(DType.I32), [x])
    return wide if given is None else g.emit(Sub(), [wide, g.emit(Cast(DType.I32), [given])])


def _constant_zero(x: Value, zero: Value | None) -> int | None:
    """The zero point of an 8-bit operand, if it is known and the same everywhere."""
    if zero is None:
        return 0
    known = isinstance(zero, Const) and zero.type.size == 1 and zero.type.dtype is x.type.dtype
    return int(zero.data.item()) if known and isinstance(zero, Const) else None


def _bias(k: Array, zero: int) -> Array:
    """What the zero point of the other operand adds to each sum of weights [O, ...], taken away."""
    sums = k.reshape(k.shape[0], -1).astype(np.int64).sum(axis=1)
    bias: Array = (-zero * sums).astype(np.int32)
    return bias


@onnx_op("ConvInteger")
def import_conv_integer(g: Importer, node: OnnxNode) -> Value:
    x, w, x_zero, w_zero = node.value(0), node.value(1), node.optional(2), node.optional(3)
    check_operands(node, x, w)
    axes = import_axes(node, x.type.shape[2:], w.type.shape[2:])
    groups = node.int("group", 1)
    channels, per_group = w.type.shape[:2]
    if groups < 1 or x.type.shape[1] != per_group * groups or channels % groups:
        raise node.invalid(f"{groups} groups of {x.type} with weights {w.type}")
    if any(axis.output < 1 for axis in axes):
        raise node.invalid(f"a kernel {w.type.shape[2:]} that fits nowhere in {x.type}")
    weights = channels_last(g, _without_zero(g, node, w, w_zero, 0))
    zero = _constant_zero(x, x_zero)
    if zero is not None and x.type.dtype in _BYTES and isinstance(weights, Const):
        image = channels_last(g, x)
        if zero and any(a.before or a.after for a in axes):
            image = g.emit(Pad(((0, 0), *((a.before, a.after) for a in axes), (0, 0)), zero), [image])
            axes = [replace(a, size=a.size + a.before + a.after, before=0, after=0) for a in axes]
        bias = g.const("bias", _bias(weights.data, zero))
    else:
        image = channels_last(g, _without_zero(g, node, x, x_zero, 1))
        bias = g.const("bias", np.zeros(channels, np.int32))
    return channels_first(g, convolution(g, image, weights, bias, axes, groups))


@onnx_op("MatMulInteger")
def import_matmul_integer(g: Importer, node: OnnxNode) -> Value:
    a, b, a_zero, b_zero = node.value(0), node.value(1), node.optional(2), node.optional(3)
    if a.type.rank < 2 or b.type.rank < 2:
        raise node.unsupported(f"a product of {a.type} and {b.type} (supported: matrices)")
    right = _without_zero(g, node, b, b_zero, -1)
    zero = _constant_zero(a, a_zero)
    if zero is not None and a.type.dtype in _BYTES and isinstance(right, Const) and right.type.rank == 2:
        weights = g.transpose(right, (1, 0))
        assert isinstance(weights, Const)
        return g.emit(Linear(), [a, weights, g.const("bias", _bias(weights.data, zero))])
    return g.emit(Matmul(), [_without_zero(g, node, a, a_zero, -2), right])


@onnx_op("DynamicQuantizeLinear")
def import_dynamic_quantize(g: Importer, node: OnnxNode) -> list[Value]:
    x = node.value(0)
    flat = g.reshape(x, (x.type.size,))
    one = g.emit(DynamicScale(), [flat])
    scale, zero = g.reshape(one, ()), g.reshape(g.emit(DynamicZeroPoint(), [flat, one]), ())
    return [g.emit(QuantizeLinear(), [x, scale, zero]), scale, zero]
