"""What moves constants moves the scales that they are known to be on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from dnncc.ir.graph import Const
from dnncc.ir.types import Array, DType, Quantization
from dnncc.ops.base import Op
from dnncc.ops.pad import Pad


def moved_quantization(op: Op, operands: Sequence[Const]) -> Quantization | None:
    """The quantization of ``op(operands)`` for an operator that moves elements, or multiplies all by one number; None
    if it has none that a type can say: operands without one, zero points, or scales along two axes.
    """
    kinds = [v.type.quantization for v in operands]
    if op.name == "mul":
        factor = operands[1].data.item() if operands[1].type.size == 1 else 0.0
        known = kinds[0]
        fits = known is not None and factor > 0 and operands[0].type.rank >= operands[1].type.rank
        return replace(known, scale=tuple(s * factor for s in known.scale)) if known and fits else None
    if not op.moves or isinstance(op, Pad) or any(q is None or q.zero_point for q in kinds):
        return None
    (scales,) = op.reference(*(_per_element(v) for v in operands))
    return along_one_axis(scales)


def along_one_axis(scales: Array) -> Quantization | None:
    """Scales per element as one per tensor or one per index of an axis; None if they are neither."""
    flat = scales.reshape(-1)
    if (flat == flat[0]).all():
        return Quantization.per_tensor(float(flat[0]))
    for axis, size in enumerate(scales.shape):
        row = np.moveaxis(scales, axis, -1).reshape(-1, size)
        if (row == row[0]).all():
            return Quantization(tuple(float(s) for s in row[0]), axis)
    return None


def along_outputs(w: Const) -> Quantization | None:
    """The quantization of weights [O, ...] whose other axes are rearranged; None if it does not stay."""
    q = w.type.quantization
    return None if q is None or q.axis not in (None, 0) else q


def _per_element(value: Const) -> Array:
    q = value.type.quantization
    assert q is not None
    shape = [1] * value.type.rank
    if q.axis is not None:
        shape[q.axis] = -1
    return np.broadcast_to(np.asarray(q.scale, np.float64).reshape(shape), value.type.shape).copy()


def integers_of(value: Const) -> Array | None:
    """The integers ``k`` of a float constant ``scale * k``, int64; None if it is on no known scale, or they have more
    than 16 bits.
    """
    if value.type.quantization is None or value.type.dtype is not DType.F32:
        return None
    steps = value.data.astype(np.float64) / _per_element(value)
    k = np.rint(steps)
    # The annotation is a promise; what no longer holds it is an ordinary constant.
    if np.abs(k).max(initial=0) > DType.U16.max or np.abs(steps - k).max(initial=0) > 2.0**-6:
        return None
    return k.astype(np.int64)
