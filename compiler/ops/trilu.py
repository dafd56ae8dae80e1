"""The upper or lower triangle of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, moved
from dnncc.ops.ranges import Interval, Ranges, union


@dataclass(frozen=True)
class Trilu(Movement):
    """x [..., H, W] with 0 below (upper) or above (lower) a diagonal, of x's type and scale.

    Attributes:
        upper: keep elements with ``column - row >= k``, else those with ``column - row <= k``.
        k: which diagonal; 0 is the main one.
    """

    name: ClassVar[str] = "trilu"
    upper: bool = True
    k: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.rank < 2 or (x.quantization is not None and x.quantization.zero_point):
            raise TypeMismatchError(f"no triangle of {x}")
        return [moved(x, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
        return [np.where(self._keeps(rows, columns), x, np.zeros((), x.dtype))]

    def _keeps(self, row: Any, column: Any) -> Any:
        return column - row >= self.k if self.upper else column - row <= self.k

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union([intervals[0], Interval.of(0, 0)]))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        (x,) = inputs
        zero = const(0, str(x.dtype))
        return te.compute(
            x.shape, lambda *i: tirx.Select(self._keeps(i[-2], i[-1]), x[i], zero), name="triangle"
        )


@onnx_op("Trilu")
def import_trilu(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    k = node.optional_array(1)
    if k is not None and k.size != 1:
        raise node.invalid(f"k of shape {k.shape}")
    if x.type.rank < 2:
        raise node.invalid(f"a triangle of {x.type}")
    # Beyond the corners every diagonal is the same.
    limit = sum(x.type.shape[-2:]) + 1
    diagonal = 0 if k is None else min(max(int(k.reshape(())), -limit), limit)
    return g.emit(Trilu(bool(node.int("upper", 1)), diagonal), [x])
