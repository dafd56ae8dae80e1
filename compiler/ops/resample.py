"""Weighted sums of neighbours along some axes: linear and cubic interpolation, and any other filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.graph import Const
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow, product_type
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

_BITS = {1: 12, 2: 9, 3: 7, 4: 5}
"""Fraction bits of integer weights by the number of axes: 8-bit data times all of them, twice over, fit 32 bits."""


@dataclass(frozen=True)
class Resample(Op):
    """``y[.., i, .., j, ..] = sum over k, l of x[.., s[i] + k, .., t[j] + l, ..] * v[i, k] * w[j, l]``.

    Operands: x, then for each axis the constant first positions, i32 [O], and the constant weights [O, K], of which
    all K taps lie inside x. Floats, or integers with integer weights, summed as i32.

    Attributes:
        axes: along which x is interpolated, ascending.
    """

    name: ClassVar[str] = "resample"
    axes: tuple[int, ...] = (0,)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, *filters = inputs
        starts, weights = filters[::2], filters[1::2]
        if list(self.axes) != sorted({*self.axes} & {*range(x.rank)}) or len(filters) != 2 * len(self.axes):
            raise TypeMismatchError(f"{x} along axes {self.axes} with {len(filters)} operands more")
        shape = list(x.shape)
        for axis, s, w in zip(self.axes, starts, weights, strict=True):
            if (
                s.dtype is not DType.I32
                or w.rank != 2
                or s.shape != w.shape[:1]
                or w.shape[1] > x.shape[axis]
            ):
                raise TypeMismatchError(f"weights {w} from {s} along axis {axis} of {x}")
            product_type(x, w)
            shape[axis] = s.size
        dtype = DType.I32 if x.dtype.is_integer else DType.F32
        return [TensorType(dtype, tuple(shape))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, *filters = inputs
        y = x.astype(np.float64 if x.dtype.kind == "f" else np.int64)
        for axis, s, w in zip(self.axes, filters[::2], filters[1::2], strict=True):
            taps = np.take(y, s[:, None] + np.arange(w.shape[1]), axis)
            shape = (*w.shape, *(1 for _ in range(y.ndim - axis - 1)))
            y = (taps * w.astype(y.dtype).reshape(shape)).sum(axis + 1)
        return [narrow(np.ascontiguousarray(y), DType.F32 if x.dtype.kind == "f" else DType.I32)]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * math.prod(w.shape[1] for w in inputs[2::2])

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        # The positive and the negative weights of an element add up to at most these.
        above, below = 1, 0
        for w in inputs[2::2]:
            if not isinstance(w, Const):
                raise LookupError("the weights are not constant")
            rows = w.data.astype(np.int64)
            p, n = int(np.maximum(rows, 0).sum(1).max()), int(np.maximum(-rows, 0).sum(1).max())
            above, below = above * p + below * n, above * n + below * p
        least, most = min(intervals[0].min, 0), max(intervals[0].max, 0)
        y = Interval.of(above * least - below * most, above * most - below * least)
        return Ranges(y, y)

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, *filters = inputs
        shape = list(shape_of(x))
        windows = {}
        for axis, s, w in zip(self.axes, filters[::2], filters[1::2], strict=True):
            shape[axis] = shape_of(s)[0]
            windows[axis] = (s, w, te.reduce_axis((0, shape_of(w)[1]), f"k{axis}"))
        dtype = "float32" if str(x.dtype).startswith("float") else "int32"

        def element(*i: Any) -> Any:
            place = [i[a] if a not in windows else windows[a][0][i[a]] + windows[a][2] for a in range(len(i))]
            value: Any = None
            for axis, (_, w, k) in windows.items():
                factor = w[i[axis], k].astype(dtype)
                value = factor if value is None else value * factor
            return te.sum(x[tuple(place)].astype(dtype) * value, axis=[k for _, _, k in windows.values()])

        return te.compute(shape, element, name="resampled")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        """Weights as dyadic numbers whose rows add up exactly: what is constant stays so."""
        x = context.activation(node.inputs[0])
        operands, scale = [x], x.type.scale
        for s, w in zip(node.inputs[1::2], node.inputs[2::2], strict=True):
            if not isinstance(w, Const) or len(self.axes) not in _BITS:
                return None
            rows, bits = dyadic_rows(w.data, _BITS[len(self.axes)])
            operands += [context.integer(s), context.graph.const(w.name, rows)]
            scale /= 1 << bits
        return context.emit(self, operands, node.name, scale)


def dyadic_rows(weights: Array, most: int) -> tuple[Array, int]:
    """(numerators i32, bits): ``weights`` in units of ``2^-bits``, each row with the sum that it should have.

    As few bits as represent them exactly; at most ``most``, where the largest numerator takes up what rounding left.
    """
    real = weights.astype(np.float64)
    for bits in range(most + 1):
        rows = np.rint(real * (1 << bits))
        if np.abs(rows / (1 << bits) - real).max(initial=0.0) < 2.0**-20:
            break
    missing = np.rint(real.sum(1) * (1 << bits)) - rows.sum(1)
    rows[np.arange(len(rows)), np.abs(rows).argmax(1)] += missing
    return rows.astype(np.int32), bits
