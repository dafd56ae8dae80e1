"""Base of the operators that move or select elements, and how run-time indices address a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Movement(Op):
    """Each element of the result is an element of the first operand; the other operands say which.

    The first operand's type and per-tensor scale stay.
    """

    moves: ClassVar[bool] = True

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals[:1]))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        return context.same_scale(node)


def moved(x: TensorType, shape: Sequence[int]) -> TensorType:
    """The type of elements of x in another arrangement: a scale per channel does not survive that."""
    y = x.with_shape(tuple(shape))
    return y if x.quantization is None or x.quantization.axis is None else y.plain()


def contiguous(x: Array) -> Array:
    """A copy with its elements in order of memory; unlike ``np.ascontiguousarray`` it leaves scalars scalars."""
    return np.array(x, order="C", copy=True)


def require_indices(*types: TensorType) -> None:
    """TypeMismatchError unless these are integers without a scale."""
    for t in types:
        if not t.dtype.is_integer or t.quantization is not None:
            raise TypeMismatchError(f"{t} are no indices")


def in_range(indices: Array, size: int) -> Array:
    """Indices as generated code sees them: negative ones count from the end, those outside go to the nearest end."""
    i = indices.astype(np.int64)
    result: Array = np.clip(np.where(i < 0, np.clip(i, -size, -1) + size, i), 0, size - 1)
    return result


def te_index(indices: Any, where: Sequence[Any], size: int) -> Any:
    """``in_range`` of one element of a TVM tensor of any integer type, as an i32: never outside ``[0, size)``."""
    from dnncc.targets.lowering.api import const, te

    index, dtype = indices[tuple(where)], str(indices.dtype)
    if dtype in ("int8", "uint8", "int16", "uint16"):
        index, dtype = index.astype("int32"), "int32"
    last = const(size - 1, dtype)
    above = te.if_then_else(index > last, last, index)
    if dtype.startswith("u"):
        return above.astype("int32")
    zero, count = const(0, dtype), const(size, dtype)
    negative = te.if_then_else(index < zero - count, zero, index + count)
    return te.if_then_else(index < zero, negative, above).astype("int32")


def require_along(x: TensorType, axis: int, name: str) -> None:
    """TypeMismatchError unless x has the axis, counted from the front."""
    if not 0 <= axis < x.rank:
        raise TypeMismatchError(f"{name} along axis {axis} of {x}")


def zero_of(dtype: DType) -> int | float:
    """0 in an element type, as Python has it."""
    return 0.0 if dtype.is_float else 0
