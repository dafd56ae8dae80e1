"""Two-dimensional convolution, NHWC, weights [O, KH, KW, C/groups]; groups == C is depthwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.window import import_window, padded, windows

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Conv2d(Op):
    """``y[n,h,w,o] = b[o] + sum x[n, h*sh + kh*dh - top, w*sw + kw*dw - left, c] * w[o,kh,kw,c]``.

    Operands: x [N,H,W,C], w [O,KH,KW,C/groups], b [O]. Float in, float out; integers in, i32 accumulators out.

    Attributes:
        strides: (vertical, horizontal).
        pads: zeros around the input: (top, left, bottom, right).
        dilations: (vertical, horizontal) distance of two taps.
        groups: input and output channels are split into this many independent convolutions.
    """

    name: ClassVar[str] = "conv2d"
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, b = inputs
        if x.rank != 4 or w.rank != 4 or b.shape != w.shape[:1]:
            raise TypeMismatchError(f"conv2d needs x[N,H,W,C], w[O,KH,KW,C/groups], b[O]; got {x}, {w}, {b}")
        n, h, width, c = x.shape
        o, kh, kw, cg = w.shape
        if c != cg * self.groups or o % self.groups:
            raise TypeMismatchError(f"conv2d with {self.groups} groups cannot take {x} with weights {w}")
        top, left, bottom, right = self.pads
        oh = (h + top + bottom - self.dilations[0] * (kh - 1) - 1) // self.strides[0] + 1
        ow = (width + left + right - self.dilations[1] * (kw - 1) - 1) // self.strides[1] + 1
        if oh < 1 or ow < 1:
            raise TypeMismatchError(f"conv2d has an empty output: kernel {kh}x{kw} on {h}x{width} with pads {self.pads}")
        return [TensorType(accumulator(x, w, b), (n, oh, ow, o))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, w, b = inputs
        wide = np.float64 if x.dtype.kind == "f" else np.int64
        patches = windows(padded(x.astype(wide), self.pads), w.shape[1:3], self.strides, self.dilations)
        n, oh, ow, kh, kw, c = patches.shape
        o, g = w.shape[0], self.groups
        left = patches.reshape(n * oh * ow, kh * kw, g, c // g).transpose(2, 0, 1, 3).reshape(g, n * oh * ow, -1)
        right = w.astype(wide).reshape(g, o // g, -1).transpose(0, 2, 1)
        y = (left @ right).transpose(1, 0, 2).reshape(n, oh, ow, o) + b.astype(wide)
        return [narrow(y, DType.of(b))]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * math.prod(inputs[1].shape[1:])

    def te(self, *inputs: Any) -> Any:
        from dnncc.ops.window import te_padded
        from dnncc.targets.lowering.api import te

        x, w, b = inputs
        o, kh, kw, cg = (int(d) for d in w.shape)
        acc = b.dtype
        source = te_padded(x, self.pads)
        (sh, sw), (dh, dw) = self.strides, self.dilations
        shape = self.infer(*(TensorType(DType(_IR_NAME[str(t.dtype)]), tuple(int(d) for d in t.shape)) for t in inputs))[0].shape
        rh, rw, rc = te.reduce_axis((0, kh), "kh"), te.reduce_axis((0, kw), "kw"), te.reduce_axis((0, cg), "c")
        per_group = o // self.groups

        def product(n: Any, i: Any, j: Any, k: Any) -> Any:
            channel = rc if self.groups == 1 else te.indexdiv(k, per_group) * cg + rc
            return te.sum(
                source[n, i * sh + rh * dh, j * sw + rw * dw, channel].astype(acc) * w[k, rh, rw, rc].astype(acc),
                axis=[rh, rw, rc],
            )

        conv = te.compute(shape, product, name="conv")
        return te.compute(shape, lambda n, i, j, k: conv[n, i, j, k] + b[k], name="conv_bias")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.linear(node, channel_axis=0)


_IR_NAME = {"float32": "f32", "int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32"}


def accumulator(x: TensorType, w: TensorType, b: TensorType) -> DType:
    """The type in which a product sum is kept: the bias's type, which must be f32 for floats and i32 for integers."""
    expected = DType.F32 if x.dtype is DType.F32 else DType.I32
    if b.dtype is not expected or (w.dtype is DType.F32) != (x.dtype is DType.F32):
        raise TypeMismatchError(f"operands {x.dtype.value}, {w.dtype.value} need a bias of {expected.value}, not {b.dtype.value}")
    return expected


def narrow(y: Array, dtype: DType) -> Array:
    """``y`` in its own type; OverflowError if an integer does not fit, because nothing may wrap silently."""
    if dtype.is_integer and y.size and (int(y.min()) < dtype.min or int(y.max()) > dtype.max):
        raise OverflowError(f"accumulator leaves {dtype.value}: [{y.min()}, {y.max()}]")
    return y.astype(dtype.numpy)


@onnx_op("Conv")
def import_conv(g: Importer, node: OnnxNode) -> Value:
    x, w = node.value(0), node.value(1)
    if x.type.rank != 4 or w.type.rank != 4:
        raise node.unsupported(f"{x.type.rank - 2}-D convolution (supported: 2-D)")
    window = import_window(node, x.type.shape[2:], w.type.shape[2:])
    bias = node.optional(2) or g.const("bias", np.zeros(w.type.shape[0], np.float32))
    op = Conv2d(window.strides, window.pads, window.dilations, node.int("group", 1))
    y = g.emit(op, [g.transpose(x, (0, 2, 3, 1)), g.transpose(w, (0, 2, 3, 1)), bias])
    return g.transpose(y, (0, 3, 1, 2))
