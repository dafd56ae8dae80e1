"""Empirical bias correction (Nagel et al., "Data-free quantization", appendix D; Wu et al., section 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.ir.graph import Const, Node
from dnncc.ir.types import Array, DType
from dnncc.ops.ranges import Interval, linear_ranges
from dnncc.passes.quantize.context import Correctable


def correct_bias(entry: Correctable, sums: Sequence[Array], target: Array) -> Array:
    """Shift the bias of a layer by the mean error of its sums against the float network, in place.

    Args:
        entry: the layer.
        sums: its sums per sample, i32 [..., O], all layers before it being what they will be.
        target: the float network's means per channel over the same samples.

    Returns:
        The change, i32 [O]; 0 where a corrected sum might overflow: that is not worth its risk.
    """
    node = entry.node
    weights, bias = constants_of(node)
    means = np.mean([a.reshape(-1, a.shape[-1]).mean(axis=0, dtype=np.float64) for a in sums], axis=0)
    wanted = np.rint(target / entry.scale - means)
    shift = np.clip(wanted, DType.I32.min, DType.I32.max).astype(np.int64)
    corrected = bias.data.astype(np.int64) + shift
    shift = np.where(cannot_overflow(node, weights.data, corrected), shift, 0)
    # Every bias was made for its node alone, so that the name is free again.
    node.inputs[2] = Const.of(bias.name, (bias.data + shift).astype(np.int32))
    return shift.astype(np.int32)


def constants_of(node: Node) -> tuple[Const, Const]:
    """The weights and the bias of a layer that was quantized with constant ones."""
    _, weights, bias = node.inputs
    if not (isinstance(bias, Const) and isinstance(weights, Const)):
        raise AssertionError(f"{node.name} was quantized with constant weights")
    return weights, bias


def cannot_overflow(node: Node, weights: Array, bias: Array) -> Array:
    """Per channel: no partial sum can leave an i32, even if the input takes any value of its type.

    Args:
        bias: i64 [O].
    """
    inside = (bias >= DType.I32.min) & (bias <= DType.I32.max)
    x = Interval.of_dtype(node.inputs[0].type.dtype)
    sums = linear_ranges(weights, np.clip(bias, DType.I32.min, DType.I32.max), x).whole
    fits: Array = inside & (sums.low >= DType.I32.min) & (sums.high <= DType.I32.max)
    return fits
