"""Sequences of different lengths, each reversed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous, moved, require_indices
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class ReverseSequence(Movement):
    """Of each batch entry b of x the first ``lengths[b]`` steps backwards, the others as they are.

    Of x's type and scale. A length beyond the number of steps counts as that; a negative one as 0.

    Attributes:
        batch_axis, time_axis: counted from the front.
    """

    name: ClassVar[str] = "reverse_sequence"
    batch_axis: int = 1
    time_axis: int = 0

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, lengths = inputs
        require_indices(lengths)
        axes = {self.batch_axis, self.time_axis}
        if len(axes) != 2 or not axes <= {*range(x.rank)} or lengths.shape != (x.shape[self.batch_axis],):
            raise TypeMismatchError(f"sequences along axis {self.time_axis} of {x} with lengths {lengths}")
        return [moved(x, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, lengths = inputs
        y = contiguous(x)
        batches = np.moveaxis(y, (self.batch_axis, self.time_axis), (0, 1))
        for sequence, length in zip(batches, lengths.tolist(), strict=True):
            n = min(max(length, 0), len(sequence))
            sequence[:n] = sequence[:n][::-1].copy()
        return [y]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te, tirx

        x, lengths = inputs
        dtype = str(lengths.dtype)
        if dtype in ("int8", "uint8", "int16", "uint16"):
            dtype = "int32"
        steps = shape_of(x)[self.time_axis]

        def element(*i: Any) -> Any:
            step, given = i[self.time_axis], lengths[i[self.batch_axis]]
            length = given if dtype == str(lengths.dtype) else given.astype(dtype)
            whole = const(steps, dtype)
            last = te.if_then_else(length > whole, whole, length).astype("int32") - 1
            source = list(i)
            source[self.time_axis] = tirx.Select(step <= last, last - step, step)
            return x[tuple(source)]

        return te.compute(x.shape, element, name="reversed")


@onnx_op("ReverseSequence")
def import_reverse_sequence(g: Importer, node: OnnxNode) -> Value:
    x, lengths = node.value(0), node.value(1)
    batch_axis = node.axis(node.int("batch_axis", 1), x.type.rank)
    time_axis = node.axis(node.int("time_axis", 0), x.type.rank)
    if isinstance(lengths, Const) and ((lengths.data < 0) | (lengths.data > x.type.shape[time_axis])).any():
        raise node.invalid(f"lengths outside {x.type.shape[time_axis]} steps")
    return g.emit(ReverseSequence(batch_axis, time_axis), [x, lengths])
