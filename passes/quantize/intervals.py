"""Interval analysis of integer graphs: which values can occur at all (A2Q, Colbert et al., section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.ops.requantize import Requantize
from dnncc.ops.softmax_int import SoftmaxInt
from dnncc.passes.quantize.dyadic import requantized


@dataclass(frozen=True, eq=False)
class Interval:
    """Every element lies in ``[low, high]``; int64, scalars or one bound per index of the last axis."""

    low: Array
    high: Array

    @staticmethod
    def of(low: int, high: int) -> Interval:
        return Interval(np.asarray(low, np.int64), np.asarray(high, np.int64))

    @staticmethod
    def of_dtype(dtype: DType) -> Interval:
        return Interval.of(dtype.min, dtype.max)

    @staticmethod
    def of_const(value: Const) -> Interval:
        return Interval.of(int(value.data.min()), int(value.data.max()))

    @property
    def min(self) -> int:
        return int(self.low.min())

    @property
    def max(self) -> int:
        return int(self.high.max())

    @property
    def largest(self) -> int:
        """The largest magnitude."""
        return max(abs(self.min), abs(self.max))

    def collapsed(self) -> Interval:
        """The same without the distinction of channels."""
        return Interval.of(self.min, self.max)

    def fits(self, dtype: DType) -> bool:
        return dtype.min <= self.min and self.max <= dtype.max

    @property
    def bits(self) -> int:
        """Width of the narrowest two's complement integer that holds every value."""
        return max((-self.min - 1 if self.min < 0 else 0).bit_length(), max(self.max, 0).bit_length()) + 1


def union(intervals: Sequence[Interval]) -> Interval:
    return Interval.of(min(i.min for i in intervals), max(i.max for i in intervals))


@dataclass(frozen=True)
class Ranges:
    """What is known about one node.

    Attributes:
        output: the values that the node's output can take.
        partial: the values that any partial sum can take, in any order of summation; None if nothing is
            summed.
    """

    output: Interval
    partial: Interval | None = None

    @property
    def whole(self) -> Interval:
        """The values that the output or a partial sum can take."""
        if self.partial is None:
            return self.output
        return Interval(
            np.minimum(self.output.low, self.partial.low), np.maximum(self.output.high, self.partial.high)
        )


Rule = Callable[[Node, Sequence[Interval]], Ranges]


def linear_ranges(w: Array, bias: Array, x: Interval) -> Ranges:
    """Exact bounds of ``sum x * w[o] + bias[o]`` for x in the interval and in padding zeros.

    Args:
        w: integers [O, ...].
        bias: integers [O].
        x: the input's interval (its channels are not told apart).
    """
    rows = w.reshape(w.shape[0], -1).astype(np.int64)
    positive = np.maximum(rows, 0).sum(axis=1)
    negative = np.minimum(rows, 0).sum(axis=1)
    b = bias.astype(np.int64)
    # Padding adds no term at all, and neither does what a partial sum leaves out: zero joins the input's range.
    least, most = min(x.min, 0), max(x.max, 0)
    low, high = positive * least + negative * most, positive * most + negative * least
    # The bias may come first or last.
    return Ranges(Interval(b + low, b + high), Interval(np.minimum(b, 0) + low, np.maximum(b, 0) + high))


def _linear(node: Node, inputs: Sequence[Interval]) -> Ranges:
    w, b = node.inputs[1], node.inputs[2]
    if not (isinstance(w, Const) and isinstance(b, Const)):
        raise LookupError(f"the weights of {node.name} are not constant")
    return linear_ranges(w.data, b.data, inputs[0])


def _matmul(node: Node, inputs: Sequence[Interval]) -> Ranges:
    product = _product(inputs[0].collapsed(), inputs[1].collapsed())
    length = node.inputs[0].type.shape[-1]
    return Ranges(
        Interval.of(length * product.min, length * product.max),
        Interval.of(length * min(product.min, 0), length * max(product.max, 0)),
    )


def _product(a: Interval, b: Interval) -> Interval:
    ends = [x * y for x in (a.min, a.max) for y in (b.min, b.max)]
    return Interval.of(min(ends), max(ends))


def _requantize(node: Node, inputs: Sequence[Interval]) -> Ranges:
    op, multiplier = node.op, node.inputs[1]
    if not isinstance(op, Requantize) or not isinstance(multiplier, Const):
        raise LookupError(f"the multiplier of {node.name} is not constant")
    if multiplier.type.rank <= 1:
        return Ranges(Interval(*requantized(op, multiplier.data, inputs[0].low, inputs[0].high)))
    everywhere = inputs[0].collapsed()
    low, high = requantized(op, multiplier.data, everywhere.low, everywhere.high)
    return Ranges(Interval.of(int(low.min()), int(high.max())))


def _sum_pool(node: Node, inputs: Sequence[Interval]) -> Ranges:
    kernel: tuple[int, int] = node.op.attributes(all_fields=True)["kernel"]
    count, x = kernel[0] * kernel[1], inputs[0].collapsed()
    both = Interval.of(count * min(x.min, 0), count * max(x.max, 0))
    return Ranges(both, both)


def _add(node: Node, inputs: Sequence[Interval]) -> Ranges:
    # Bounds per channel belong to the last axis, along which operands broadcast as their bounds do.
    a, b = inputs
    return Ranges(Interval(a.low + b.low, a.high + b.high))


def _sub(node: Node, inputs: Sequence[Interval]) -> Ranges:
    a, b = inputs
    return Ranges(Interval(a.low - b.high, a.high - b.low))


def _mul(node: Node, inputs: Sequence[Interval]) -> Ranges:
    return Ranges(_product(inputs[0], inputs[1]))


def _same(node: Node, inputs: Sequence[Interval]) -> Ranges:
    return Ranges(union(inputs))


def _relu(node: Node, inputs: Sequence[Interval]) -> Ranges:
    return Ranges(Interval(np.maximum(inputs[0].low, 0), np.maximum(inputs[0].high, 0)))


def _clip(node: Node, inputs: Sequence[Interval]) -> Ranges:
    ends, dtype = node.op.attributes(all_fields=True), node.output.type.dtype
    lo = dtype.min if ends["lo"] is None else ends["lo"]
    hi = dtype.max if ends["hi"] is None else ends["hi"]
    return Ranges(Interval(np.clip(inputs[0].low, lo, hi), np.clip(inputs[0].high, lo, hi)))


def _pad(node: Node, inputs: Sequence[Interval]) -> Ranges:
    value = int(node.op.attributes(all_fields=True)["value"])
    return Ranges(union([inputs[0], Interval.of(value, value)]))


def _softmax(node: Node, inputs: Sequence[Interval]) -> Ranges:
    op = node.op
    if not isinstance(op, SoftmaxInt):
        raise LookupError(f"{node.name} is no integer softmax")
    # The sum of the exponentials is the only sum; the table's scale keeps it within 2^30.
    return Ranges(Interval.of(0, op.dtype.max), Interval.of(0, 1 << 30))


RULES: dict[str, Rule] = {
    "conv2d": _linear,
    "linear": _linear,
    "matmul": _matmul,
    "requantize": _requantize,
    "sum_pool2d": _sum_pool,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "max_pool2d": _same,
    "concat": _same,
    "reshape": _same,
    "transpose": _same,
    "slice": _same,
    "cast": _same,
    "relu": _relu,
    "clip": _clip,
    "pad": _pad,
    "softmax_int": _softmax,
}
"""How an operator maps intervals. An operator without a rule is bounded by its output's element type."""


def node_ranges(node: Node, known: dict[Value, Interval]) -> Ranges:
    """The ranges of one node whose inputs' intervals are in ``known`` (constants and unknown inputs go by
    themselves).

    Raises:
        LookupError: the operator sums in 32 bits and has no rule, or its constants are not constant.
    """
    rule = RULES.get(node.op.name)
    out = node.outputs[0].type.dtype
    if rule is None:
        if out is DType.I32:
            raise LookupError(f"no interval rule for {node.op.name}")
        return Ranges(Interval.of_dtype(out))
    return rule(node, [interval_of(v, known) for v in node.inputs])


def interval_of(value: Value, known: dict[Value, Interval]) -> Interval:
    """What is known of ``value``: its data, the analysis so far, or its element type."""
    if isinstance(value, Const):
        return Interval.of_const(value)
    return known.get(value) or Interval.of_dtype(value.type.dtype)
