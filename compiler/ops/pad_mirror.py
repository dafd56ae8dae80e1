"""Padding with the tensor's own elements: reflected, its border, or the opposite side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous, moved
from dnncc.ops.te_types import shape_of

MODES = ("reflect", "edge", "wrap")


@dataclass(frozen=True)
class PadMirror(Movement):
    """x with elements of its own around it, of x's type and scale.

    Attributes:
        pads: (before, after) for each axis.
        mode: "reflect" (``cb|abc|ba``), "edge" (``aa|abc|cc``) or "wrap" (``bc|abc|ab``).
    """

    name: ClassVar[str] = "pad_mirror"
    pads: tuple[tuple[int, int], ...] = ()
    mode: str = "reflect"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        fits = len(self.pads) == x.rank and all(before >= 0 and after >= 0 for before, after in self.pads)
        if not fits or self.mode not in MODES:
            raise TypeMismatchError(f"pads {self.pads} with mode '{self.mode}' do not fit {x}")
        return [moved(x, [before + d + after for d, (before, after) in zip(x.shape, self.pads, strict=True)])]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        for axis, (before, after) in enumerate(self.pads):
            size = x.shape[axis]
            i = np.arange(-before, size + after)
            if self.mode == "edge":
                i = np.clip(i, 0, size - 1)
            elif self.mode == "wrap":
                i %= size
            else:
                # There and back again; a single element reflects to itself.
                i %= max(2 * (size - 1), 1)
                i = np.minimum(i, np.abs(2 * (size - 1) - i))
            x = np.take(x, i, axis)
        return [contiguous(x)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        inner = shape_of(x)

        def element(*index: Any) -> Any:
            axes = zip(index, inner, self.pads, strict=True)
            return x[tuple(self._source(i, size, *pad) for i, size, pad in axes)]

        shape = [before + d + after for d, (before, after) in zip(inner, self.pads, strict=True)]
        return te.compute(shape, element, name="mirrored")

    def _source(self, i: Any, size: int, before: int, after: int) -> Any:
        """Where along an axis of ``size`` the element i of the result comes from."""
        from dnncc.targets.lowering.api import te

        i, last = (i - before if before else i), size - 1
        if not before and not after:
            return i
        if size == 1:
            return 0
        if self.mode == "edge":
            i = te.max(i, 0) if before else i
            return te.min(i, last) if after else i
        if self.mode == "wrap":
            if max(before, after) > size:
                return te.indexmod(i + -(-before // size) * size, size)
            i = te.if_then_else(i < 0, i + size, i) if before else i
            return te.if_then_else(i > last, i - size, i) if after else i
        if max(before, after) > last:
            period = 2 * last
            i = te.indexmod(i + -(-before // period) * period, period)
            return te.min(i, period - i)
        i = te.max(i, 0 - i) if before else i
        return te.min(i, 2 * last - i) if after else i
