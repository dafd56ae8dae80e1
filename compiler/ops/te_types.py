"""Between TVM tensors and the IR's types, without importing TVM."""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.types import DType, TensorType


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The static shape of a ``te.Tensor``."""
    return tuple(int(d) for d in tensor.shape)


def type_of(tensor: Any) -> TensorType:
    """The IR type of a ``te.Tensor``."""
    return TensorType(DType.of(np.empty(0, str(tensor.dtype))), shape_of(tensor))


def broadcast_index(
    tensor: Any, index: tuple[Any, ...], result: tuple[int, ...] | None = None
) -> tuple[Any, ...]:
    """Where ``tensor``, broadcast as numpy does, has the element that belongs to ``index`` of the result.

    Args:
        result: the result's shape, where known: an axis of size 1 there keeps its index, so that schedules still
            see which loop runs over it.
    """
    shape = shape_of(tensor)
    skip = len(index) - len(shape)
    sizes = (None,) * len(shape) if result is None else result[skip:]
    return tuple(
        i if d != 1 or d == size else 0 for i, d, size in zip(index[skip:], shape, sizes, strict=True)
    )


def element(tensor: Any, index: tuple[Any, ...], result: tuple[int, ...] | None = None) -> Any:
    """The expression for the element of ``tensor`` that belongs to ``index`` of the result, see ``broadcast_index``."""
    value = tensor[broadcast_index(tensor, index, result)]
    return value.asobject() if hasattr(value, "asobject") else value
