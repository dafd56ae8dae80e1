"""Fully connected layer: the last axis times a matrix of weights [N, K]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import accumulator, narrow, product_sum
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, linear_ranges_of
from dnncc.ops.te_types import type_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Linear(Op):
    """``y[..., n] = b[n] + sum over k of x[..., k] * w[n, k]``.

    Operands: x [..., K], w [N, K], b [N]. Floats in, float out; integers in, i32 accumulators out.
    """

    name: ClassVar[str] = "linear"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, w, b = inputs
        if x.rank < 1 or w.rank != 2 or x.shape[-1] != w.shape[1] or b.shape != w.shape[:1]:
            raise TypeMismatchError(f"linear needs x[...,K], w[N,K], b[N]; got {x}, {w}, {b}")
        return [TensorType(accumulator(x, w, b), (*x.shape[:-1], w.shape[0]))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, w, b = inputs
        rows = x.reshape(-1, x.shape[-1])
        y = (product_sum(rows, w.T) + b).reshape(*x.shape[:-1], w.shape[0])
        return [narrow(y, DType.of(b))]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * inputs[1].shape[1]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return linear_ranges_of(inputs, intervals)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, w, b = inputs
        (y,) = self.infer(*map(type_of, inputs))
        acc = b.dtype
        k = te.reduce_axis((0, type_of(w).shape[1]), "k")

        def product(*i: Any) -> Any:
            return te.sum(x[(*i[:-1], k)].astype(acc) * w[i[-1], k].astype(acc), axis=k)

        total = te.compute(y.shape, product, name="linear")
        return te.compute(y.shape, lambda *i: total[i] + b[i[-1]], name="linear_bias")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.linear(node, channel_axis=0)
