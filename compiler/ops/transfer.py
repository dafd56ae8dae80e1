"""Base of the copies between the scratchpad and external memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous


@dataclass(frozen=True)
class Transfer(Movement):
    """The same value in another memory. No pass merges it or makes it part of a kernel; generated code calls a macro of
    the artifact's header, so that firmware can put a DMA in its place.
    """

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if len(inputs) != 1:
            raise TypeMismatchError(f"{len(inputs)} operands, one is copied")
        return [inputs[0]]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        return [contiguous(inputs[0])]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(x.shape, lambda *i: x[i], name=self.name)
