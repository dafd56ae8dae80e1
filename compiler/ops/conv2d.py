"""Two-dimensional convolution, NHWC, weights [O, KH, KW, C/groups]; groups == C is depthwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import accumulator, narrow, product_sum
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, linear_ranges_of
from dnncc.ops.te_types import type_of
from dnncc.ops.window import Window, padded, te_padded, windows

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Conv2d(Op):
    """``y[n,h,w,o] = b[o] + sum x[n, h*sh + kh*dh - top, w*sw + kw*dw - left, c] * w[o,kh,kw,c]``.

    Operands: x [N,H,W,C], w [O,KH,KW,C/groups], b [O]. Floats in, float out; integers in, i32 out.

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

    @property
    def window(self) -> Window:
        return Window(self.strides, self.pads, self.dilations)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, b = inputs
        if x.rank != 4 or w.rank != 4 or b.shape != w.shape[:1]:
            raise TypeMismatchError(f"conv2d needs x[N,H,W,C], w[O,KH,KW,C/groups], b[O]; got {x}, {w}, {b}")
        n, h, width, c = x.shape
        o, kh, kw, cg = w.shape
        if self.groups < 1 or c != cg * self.groups or o % self.groups:
            raise TypeMismatchError(f"conv2d with {self.groups} groups cannot take {x} with weights {w}")
        oh, ow = self.window.output((h, width), (kh, kw))
        return [TensorType(accumulator(x, w, b), (n, oh, ow, o))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, w, b = inputs
        patches = windows(padded(x, self.pads), w.shape[1:3], self.strides, self.dilations)
        n, oh, ow, kh, kw, c = patches.shape
        o, g = w.shape[0], self.groups
        # One product per group: [g, positions, taps] @ [g, taps, o/g].
        left = patches.reshape(n * oh * ow, kh * kw, g, c // g).transpose(2, 0, 1, 3)
        right = w.reshape(g, o // g, -1).transpose(0, 2, 1)
        y = product_sum(left.reshape(g, n * oh * ow, -1), right)
        return [narrow(y.transpose(1, 0, 2).reshape(n, oh, ow, o) + b, DType.of(b))]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * math.prod(inputs[1].shape[1:])

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return linear_ranges_of(inputs, intervals)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, w, b = inputs
        (y,) = self.infer(*map(type_of, inputs))
        o, kh, kw, cg = type_of(w).shape
        acc = b.dtype
        source = te_padded(x, self.pads)
        (sh, sw), (dh, dw) = self.strides, self.dilations
        rh, rw, rc = (te.reduce_axis((0, d), axis) for d, axis in ((kh, "kh"), (kw, "kw"), (cg, "c")))
        per_group = o // self.groups

        def product(n: Any, i: Any, j: Any, k: Any) -> Any:
            channel = rc if self.groups == 1 else te.indexdiv(k, per_group) * cg + rc
            tap = source[n, i * sh + rh * dh, j * sw + rw * dw, channel].astype(acc)
            return te.sum(tap * w[k, rh, rw, rc].astype(acc), axis=[rh, rw, rc])

        conv = te.compute(y.shape, product, name="conv")
        return te.compute(y.shape, lambda n, i, j, k: conv[n, i, j, k] + b[k], name="conv_bias")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.linear(node, channel_axis=0)
