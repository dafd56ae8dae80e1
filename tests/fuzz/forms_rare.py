"""Operators that few networks have: geometry, scattered writes, window functions, newer normalizations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fuzz.network import Network


def bounded_functions(n: Network, x: str) -> str:
    """Functions that are defined between -1 and 1, above 1, or far from a pole."""
    y = n.emit("Tanh", [x])
    op = n.one_of(
        "Acos", "Asin", "Atanh", "Acosh", "Tan", "Cosh", "Swish", "Hardmax", "IsNaN", "IsInf", "ReduceLogSum"
    )
    if op == "Atanh":
        y = n.emit("Mul", [y, n.const(np.float32(0.9))])
    elif op == "Acosh":
        y = n.emit("Add", [n.emit("Abs", [x]), n.const(np.float32(1.1))])
    elif op == "Hardmax":
        return n.emit(op, [x], axis=n.axis(x))
    elif op in ("IsNaN", "IsInf"):
        return n.emit("Cast", [n.emit(op, [x])], to=1)
    elif op == "ReduceLogSum":
        y = n.emit("Add", [n.emit("Abs", [x]), n.const(np.float32(0.5))])
        return n.emit(op, [y, n.ints(n.axis(x))], keepdims=n.one_of(0, 1))
    return n.emit(op, [y])


def several(n: Network, x: str) -> str:
    """Operators of any number of operands."""
    others = [n.like(x) for _ in range(n.size(0, 2))]
    return n.emit(n.one_of("Sum", "Mean", "Max", "Min"), [x, *others])


def newer_normalization(n: Network, x: str) -> str:
    shape = n.shape(x)
    op = n.one_of("GroupNormalization", "RMSNormalization", "MeanVarianceNormalization", "ReduceProd")
    if op == "RMSNormalization":
        axis = n.axis(x)
        return n.emit(op, [x, n.weights(*shape[axis:])], axis=axis)
    if op == "ReduceProd" or len(shape) < 3:
        return n.emit("ReduceProd", [n.emit("Tanh", [x]), n.ints(n.axis(x))], keepdims=n.one_of(0, 1))
    if op == "MeanVarianceNormalization":
        return n.emit(op, [x], axes=n.some(range(len(shape))) or [n.axis(x)])
    groups = n.one_of(*(g for g in range(1, shape[1] + 1) if shape[1] % g == 0))
    size = shape[1] if n.opset >= 21 else groups
    return n.emit(op, [x, n.weights(size), n.weights(size)], num_groups=groups)


def scattered(n: Network, x: str) -> str:
    shape = n.shape(x)
    axis = n.axis(x)
    op = n.one_of("ScatterND", "ScatterElements", "GatherND", "Compress", "Trilu", "CenterCropPad", "EyeLike")
    if op == "Compress":
        kept = n.rng.integers(0, 2, shape[axis]).astype(bool)
        kept[0] = True
        return n.emit(op, [x, n.const(kept)], axis=axis)
    if op == "CenterCropPad":
        return n.emit(op, [x, n.ints(max(1, shape[axis] + n.size(-2, 2)))], axes=[axis])
    if op in ("Trilu", "EyeLike"):
        if len(shape) < 2 or (op == "EyeLike" and len(shape) != 2):
            return n.emit("Relu", [x])
        if op == "EyeLike":
            return n.emit("Add", [x, n.emit(op, [x], k=n.size(-1, 1))])
        return n.emit(op, [x, n.const(np.array(n.size(-1, 1)))], upper=n.one_of(0, 1))
    depth = n.size(1, len(shape))
    if op == "GatherND":
        indices = np.stack([n.rng.integers(-d, d, n.size(1, 3)) for d in shape[:1]], -1)
        return n.emit(op, [x, n.const(indices.astype(np.int64))])
    reduction = n.one_of("none", "add", "mul", "max", "min")
    attributes = {} if reduction == "none" else {"reduction": reduction}
    if op == "ScatterND":
        places = n.rng.permutation(math.prod(shape[:depth]))[: n.size(1, 4)]
        indices = np.stack(np.unravel_index(places, shape[:depth]), -1).astype(np.int64)
        return n.emit(op, [x, n.const(indices), n.weights(len(places), *shape[depth:])], **attributes)
    order = n.rng.permutation(shape[axis])[: n.size(1, shape[axis])]
    rows = order.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    updates = tuple(len(order) if i == axis else d for i, d in enumerate(shape))
    indices = np.ascontiguousarray(np.broadcast_to(rows, updates)).astype(np.int64)
    return n.emit(op, [x, n.const(indices), n.weights(*updates)], axis=axis, **attributes)


def geometry(n: Network, x: str) -> str:
    shape = n.shape(x)
    if len(shape) != 4:
        return several(n, x)
    op = n.one_of("GridSample", "MaxUnpool", "RoiAlign", "Upsample", "Col2Im", "AffineGrid")
    if op == "GridSample":
        grid = n.const(n.rng.uniform(-1.2, 1.2, (shape[0], n.size(1, 4), n.size(1, 4), 2)).astype(np.float32))
        mode = (
            n.one_of("linear", "nearest", "cubic")
            if n.opset >= 20
            else n.one_of("bilinear", "nearest", "bicubic")
        )
        padding = n.one_of("zeros", "border", "reflection")
        return n.emit(op, [x, grid], mode=mode, padding_mode=padding, align_corners=n.one_of(0, 1))
    if op == "AffineGrid":
        theta = n.const((np.eye(2, 3) + n.rng.normal(0, 0.2, (shape[0], 2, 3))).astype(np.float32))
        grid = n.emit(op, [theta, n.ints(shape[0], shape[1], 3, 2)], align_corners=n.one_of(0, 1))
        return n.emit("GridSample", [x, grid], align_corners=n.one_of(0, 1))
    if op == "MaxUnpool":
        if min(shape[2:]) < 2:
            return several(n, x)
        window = {"kernel_shape": [2, 2], "strides": [2, 2]}
        return n.emit(op, n.emit_all("MaxPool", [x], 2, **window), **window)
    if op == "RoiAlign":
        corners = n.rng.uniform(0, 2, (2, 2))
        boxes = np.concatenate([corners, corners + n.rng.uniform(1, 3, (2, 2))], 1).astype(np.float32)
        attributes = {"output_height": n.size(1, 3), "output_width": 2, "sampling_ratio": n.one_of(0, 2)}
        return n.emit(
            op, [x, n.const(boxes), n.ints(0, shape[0] - 1)], mode=n.one_of("avg", "max"), **attributes
        )
    if op == "Col2Im":
        columns = n.emit("Reshape", [x, n.ints(shape[0], -1, shape[3])])
        return n.emit(op, [columns, n.ints(1, shape[3] + 1), n.ints(1, 2)])
    scales = n.const(np.array([1, 1, n.one_of(1, 2), n.one_of(1, 2, 3)], np.float32))
    if n.opset < 10:
        return n.emit("Upsample", [x, scales], mode=n.one_of("nearest", "linear"))
    operands = [x, scales] if n.opset == 10 else [x, "", scales]
    return n.emit("Resize", operands, mode=n.one_of("nearest", "linear"))


def trained(n: Network, x: str) -> str:
    """What a training framework leaves behind: dropout, casts, identities, squeezes."""
    op = n.one_of("Dropout", "Identity", "Cast", "Squeeze", "CastLike")
    if op == "Dropout":
        return n.emit(op, [x, n.const(np.float32(0.3))])
    if op == "Squeeze" and (ones := [i for i, d in enumerate(n.shape(x)) if d == 1]):
        return n.emit(op, [x, n.ints(n.one_of(*ones))])
    if op == "CastLike":
        return n.emit(op, [x, n.pick()])
    return n.emit("Cast", [x], to=1) if op == "Cast" else n.emit("Identity", [x])


RARE = (bounded_functions, several, newer_normalization, scattered, geometry, trained)
