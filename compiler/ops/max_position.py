"""Where in a tensor the largest element under each window of a pool lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import Variable, nest
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

Window = tuple[int, int, int, int, int]
"""Along one axis: taps, stride, padding before, dilation, and how many windows there are."""


@dataclass(frozen=True)
class MaxPosition(Op):
    """The position of the largest element under each window of x [N,C,spatial...], i64 [N,C,windows...]; the first in
    row-major order of several. Every window has a tap inside the image.

    Attributes:
        windows: one per spatial axis.
        column_major: within a channel the last axis counts slowest, not fastest.
    """

    name: ClassVar[str] = "max_position"
    windows: tuple[Window, ...] = ()
    column_major: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.rank != len(self.windows) + 2 or x.dtype is DType.BOOL or not self.windows:
            raise TypeMismatchError(f"positions under {len(self.windows)} axes of windows of {x}")
        return [TensorType(DType.I64, (*x.shape[:2], *(w[4] for w in self.windows)))]

    def _strides(self, shape: Sequence[int]) -> list[int]:
        """How many positions one step along each axis of x is."""
        spatial = shape[2:]
        order = range(len(spatial)) if self.column_major else reversed(range(len(spatial)))
        steps, step = [0] * len(spatial), 1
        for axis in order:
            steps[axis] = step
            step *= spatial[axis]
        return [shape[1] * step, step, *steps]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        (result,) = self.infer(TensorType(DType.of(x), x.shape))
        y = np.zeros(result.shape, np.int64)
        steps = self._strides(x.shape)
        for place in np.ndindex(*result.shape):
            best: tuple[Any, int] | None = None
            for tap in itertools.product(*(range(w[0]) for w in self.windows)):
                at = [
                    p * stride - before + k * dilation
                    for p, k, (_, stride, before, dilation, _) in zip(
                        place[2:], tap, self.windows, strict=True
                    )
                ]
                if not all(0 <= a < d for a, d in zip(at, x.shape[2:], strict=True)):
                    continue
                index = (*place[:2], *at)
                if best is None or x[index] > best[0]:
                    best = x[index], sum(i * s for i, s in zip(index, steps, strict=True))
            assert best is not None, "a window that lies in the padding"
            y[place] = best[1]
        return [y]

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        from dnncc.targets.lowering.api import const, te

        (x,), (y,) = inputs, outputs
        shape = shape_of(x)
        steps = self._strides(shape)
        if math.prod(shape) >= 1 << 31:
            raise OverflowError("positions beyond 31 bits")
        with nest(t, *shape_of(y)) as place:
            best = Variable(t, str(x.dtype), x[(place[0], place[1], *(0 for _ in self.windows))])
            position = Variable(t, "int32", -1)
            with nest(t, *(w[0] for w in self.windows)) as tap:
                at = [
                    p * stride - before + k * dilation
                    for p, k, (_, stride, before, dilation, _) in zip(
                        place[2:], tap, self.windows, strict=True
                    )
                ]
                inside = [c for a, d in zip(at, shape[2:], strict=True) for c in (a >= 0, a < d)]
                with t.If(te.all(*inside)), t.Then():
                    index = (place[0], place[1], *at)
                    better = te.any(position.get() < 0, x[index] > best.get())
                    with t.If(better), t.Then():
                        best.set(x[index])
                        position.set(sum(i * s for i, s in zip(index, steps, strict=True)))
            t.buffer_store(y, position.get().astype("int64") + const(0, "int64"), place)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.emit(self, [context.activation(node.inputs[0])], node.name)
