"""Each element several times in a row, along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous, moved
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class Repeat(Movement):
    """``y[i, j, ...] = x[i // factors[0], j // factors[1], ...]``, of x's type and scale: nearest upsampling.

    Attributes:
        factors: how often, for each axis.
    """

    name: ClassVar[str] = "repeat"
    factors: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if len(self.factors) != x.rank or any(f < 1 for f in self.factors):
            raise TypeMismatchError(f"factors {self.factors} do not fit {x}")
        return [moved(x, [d * f for d, f in zip(x.shape, self.factors, strict=True)])]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        for axis, factor in enumerate(self.factors):
            x = np.repeat(x, factor, axis)
        return [contiguous(x)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs

        def element(*index: Any) -> Any:
            return x[
                tuple(te.indexdiv(i, f) if f > 1 else i for i, f in zip(index, self.factors, strict=True))
            ]

        shape = [d * f for d, f in zip(shape_of(x), self.factors, strict=True)]
        return te.compute(shape, element, name="repeat")
