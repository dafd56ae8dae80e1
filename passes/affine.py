"""``y = x * scale + offset`` with constants: finding it, and moving it into the layer beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array, DType, Quantization
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.conv2d import Conv2d
from dnncc.passes.match import Rewriter, constant_operand


@dataclass(frozen=True)
class Affine:
    """``y = x * scale + offset``; scale and offset in f64, of the shape of x and y."""

    x: Value
    scale: Array
    offset: Array


def affine(node: Node) -> Affine | None:
    """What a float batch_norm, mul, add or sub with constant parameters computes; None for anything else."""
    if node.output.type.dtype is not DType.F32:
        return None
    shape = node.output.type.shape
    if isinstance(node.op, BatchNorm):
        x, parameters = node.inputs[0], [v.data for v in node.inputs[1:] if isinstance(v, Const)]
        if len(parameters) != 4:
            return None
        gamma, beta, mean, variance = (p.astype(np.float64) for p in parameters)
        along = [-1 if axis == node.op.axis else 1 for axis in range(len(shape))]
        scale = (gamma / np.sqrt(variance + node.op.epsilon)).reshape(along)
        offset = beta.reshape(along) - mean.reshape(along) * scale
    else:
        operands = constant_operand(node)
        if operands is None or node.op.name not in ("mul", "add", "sub"):
            return None
        x, constant = operands
        c = constant.data.astype(np.float64)
        first = node.inputs[0] is constant
        scale, offset = {
            "mul": (c, np.zeros(1)),
            "add": (np.ones(1), c),
            "sub": (-np.ones(1), c) if first else (np.ones(1), -c),
        }[node.op.name]
    if x.type.shape != shape:
        return None
    return Affine(x, np.broadcast_to(scale, shape), np.broadcast_to(offset, shape))


def fold_affine(rewriter: Rewriter, node: Node) -> bool:
    """Move the affine ``node`` into the conv2d or linear before it, else into the one after it.

    Exact but for rounding: W*s and b*s + t before; W*s and b + W t after, where zero padding hinders t.
    Between ``node`` and the operator after it may lie reshapes and transposes.
    """
    found = affine(node)
    return found is not None and (
        _into_producer(rewriter, node, found) or _into_consumer(rewriter, node, found)
    )


def _into_producer(rewriter: Rewriter, node: Node, a: Affine) -> bool:
    producer = rewriter.sole_producer(a.x, "conv2d", "linear")
    parameters = None if producer is None else _parameters(producer)
    scale, offset = _per_channel(a.scale), _per_channel(a.offset)
    if producer is None or parameters is None or scale is None or offset is None:
        return False
    w, b = parameters
    new_w = w * scale.reshape(-1, *[1] * (w.ndim - 1))
    known = producer.inputs[1].type.quantization
    if known is not None and known.axis in (None, 0) and scale.all():
        # Weights on known scales stay so: their signs may change, their integers' magnitudes do not.
        scales = np.broadcast_to(np.asarray(known.scale), scale.shape) * np.abs(scale)
        known = Quantization(tuple(scales.tolist()), 0)
    else:
        known = None
    return _set_parameters(rewriter, producer, new_w, b * scale + offset, known) and rewriter.replace(
        node.output, a.x
    )


def _into_consumer(rewriter: Rewriter, node: Node, a: Affine) -> bool:
    value, scale, offset = node.output, a.scale, a.offset
    while (view := rewriter.sole_user(value, "reshape", "transpose")) is not None:
        (scale,), (offset,) = view.op.reference(scale), view.op.reference(offset)
        value = view.output
    consumer = rewriter.sole_user(value, "conv2d", "linear")
    parameters = None if consumer is None or consumer.inputs[0] is not value else _parameters(consumer)
    s, t = _per_channel(scale), _per_channel(offset)
    if consumer is None or parameters is None or s is None or t is None:
        return False
    w, b = parameters
    if isinstance(consumer.op, Conv2d):
        if any(consumer.op.pads) and np.any(t):
            return False
        # Output channel o reads the input channels of its group only: [O, 1, 1, C/groups].
        group = np.arange(w.shape[0]) // (w.shape[0] // consumer.op.groups)
        s, t = (v.reshape(consumer.op.groups, -1)[group][:, None, None, :] for v in (s, t))
    new_b = b + (w * t).reshape(w.shape[0], -1).sum(axis=1)
    return _set_parameters(rewriter, consumer, w * s, new_b) and rewriter.replace(node.output, a.x)


def _per_channel(field: Array) -> Array | None:
    """[C] if ``field`` [..., C] varies along its last axis only."""
    if field.ndim == 0:
        return None
    channels: Array = field.reshape(-1, field.shape[-1])[0]
    return channels if np.array_equal(field, np.broadcast_to(channels, field.shape)) else None


def _parameters(node: Node) -> tuple[Array, Array] | None:
    """Weights and bias in f64, if they are constant floats."""
    _, w, b = node.inputs
    if not isinstance(w, Const) or not isinstance(b, Const) or w.type.dtype is not DType.F32:
        return None
    return w.data.astype(np.float64), b.data.astype(np.float64)


def _set_parameters(
    rewriter: Rewriter, node: Node, w: Array, b: Array, known: Quantization | None = None
) -> bool:
    """Give ``node`` other weights, on the scales ``known``, and bias, unless they are beyond f32."""
    with np.errstate(over="ignore"):
        arrays = [array.astype(np.float32) for array in (w, b)]
    if not all(np.isfinite(array).all() for array in arrays):
        return False
    old = [v for v in node.inputs[1:] if isinstance(v, Const)]
    node.inputs[1:] = [
        rewriter.renewed(v, array, q) for v, array, q in zip(old, arrays, (known, None), strict=True)
    ]
    return True
