"""Pools over any number of axes, from two-dimensional ones; how ONNX spells them.

A pool over several axes is one over the last two and then one over the others: a maximum of maxima, a mean of means
(of as many elements each), a norm of norms. It takes the sum of the axes' taps instead of their product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import Op
from dnncc.ops.convolution import channels_first, channels_last
from dnncc.ops.functions import Sqrt
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.max_position import MaxPosition
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.power import PowScalar
from dnncc.ops.sign import Abs
from dnncc.ops.window_axis import Axis, Plane, import_axes

Make = Callable[[Plane], Op]
"""A two-dimensional pool with these windows."""


def pool(g: Importer, x: Value, axes: Sequence[Axis], make: Make) -> Value:
    """The pool of x [N, spatial..., C] as [N, output..., C]; one axis is the width of an image of one row."""
    n, *spatial, c = x.type.shape
    if len(axes) == 1:
        y = pool(g, g.reshape(x, (n, 1, spatial[0], c)), (Axis(1), *axes), make)
        return g.reshape(y, (n, y.type.shape[2], c))
    if len(axes) == 2:
        return g.emit(make(Plane.of(*axes)), [x])
    outer = spatial[:-2]
    images = g.reshape(x, (n * math.prod(outer), *spatial[-2:], c))
    y = pool(g, images, axes[-2:], make)
    inner = y.type.shape[1:3]
    y = pool(g, g.reshape(y, (n, *outer, math.prod(inner) * c)), axes[:-2], make)
    return g.reshape(y, (*y.type.shape[:-1], *inner, c))


def import_pool(node: OnnxNode) -> tuple[Value, list[Axis], list[int]]:
    """Operand, window along each axis, and the padding at its end that ceil_mode adds.

    With ceil_mode the last window may stick out of the padded image, but must begin inside the image or the
    padding before it; the part that sticks out never counts as an element, not even with count_include_pad.
    """
    x = node.value(0)
    kernel = node.ints("kernel_shape")
    if x.type.rank < 3 or len(kernel) != x.type.rank - 2:
        raise node.invalid(f"a pool of {len(kernel)} axes of {x.type}")
    axes = import_axes(node, x.type.shape[2:], kernel)
    if not node.int("ceil_mode", 0):
        return x, axes, [0] * len(axes)
    return x, axes, [_beyond(axis) for axis in axes]


def _beyond(axis: Axis) -> int:
    padded = axis.size + axis.before + axis.after
    count = -(-(padded - axis.extent) // axis.stride) + 1
    if (count - 1) * axis.stride >= axis.size + axis.before:
        count -= 1
    return max((count - 1) * axis.stride + axis.extent - padded, 0)


def longer(axes: Sequence[Axis], beyond: Sequence[int]) -> list[Axis]:
    """The axes with more padding at their ends."""
    return [replace(axis, after=axis.after + more) for axis, more in zip(axes, beyond, strict=True)]


def check_windows(node: OnnxNode, axes: Sequence[Axis]) -> None:
    """Unsupported if a window lies in the padding: what it should give is not defined."""
    for i, axis in enumerate(axes):
        plane = Plane.of(Axis(1), axis)
        if axis.output < 1:
            raise node.invalid(f"a kernel of {axis.kernel} that fits nowhere along axis {i + 2}")
        window = MaxPool2d(plane.kernel, plane.strides, plane.pads, plane.dilations).window
        if not window.meets_image((1, axis.size), plane.kernel):
            raise node.unsupported(f"a window that lies in the padding along axis {i + 2}")


def emit_pool(g: Importer, node: OnnxNode, x: Value, axes: Sequence[Axis], make: Make) -> Value:
    """The pool of x [N,C,spatial...]."""
    check_windows(node, axes)
    return channels_first(g, pool(g, channels_last(g, x), axes, make))


def global_axes(g: Importer, node: OnnxNode) -> tuple[Value, list[Axis]]:
    """The operand of a global pool as [N,C,H,W], and windows that cover it."""
    x = node.value(0)
    if x.type.rank < 3:
        raise node.invalid(f"a global pool of {x.type}")
    n, c, *spatial = x.type.shape
    plane = spatial if len(spatial) == 2 else [math.prod(spatial[:-1]), spatial[-1]]
    return g.reshape(x, (n, c, *plane)), [Axis(size, size) for size in plane]


def emit_global(g: Importer, node: OnnxNode, make: Make) -> Value:
    """A global pool: one element per channel."""
    x, axes = global_axes(g, node)
    y = emit_pool(g, node, x, axes, make)
    return g.reshape(y, (*y.type.shape[:2], *(1 for _ in node.value(0).type.shape[2:])))


def max_pool(p: Plane) -> Op:
    return MaxPool2d(p.kernel, p.strides, p.pads, p.dilations)


def average_pool(p: Plane) -> Op:
    return AveragePool2d(p.kernel, p.strides, p.pads, p.dilations)


def average_pool_with_padding(p: Plane) -> Op:
    return AveragePool2d(p.kernel, p.strides, p.pads, p.dilations, count_include_pad=True)


@onnx_op("MaxPool")
def import_max_pool(g: Importer, node: OnnxNode) -> list[Value]:
    x, axes, beyond = import_pool(node)
    axes = longer(axes, beyond)
    column_major = bool(node.int("storage_order", 0))
    found = [emit_pool(g, node, x, axes, max_pool)]
    if node.is_used(1):
        windows = tuple((a.kernel, a.stride, a.before, a.dilation, a.output) for a in axes)
        found.append(g.emit(MaxPosition(windows, column_major), [x]))
    return found


@onnx_op("AveragePool")
def import_average_pool(g: Importer, node: OnnxNode) -> Value:
    x, axes, beyond = import_pool(node)
    include = bool(node.int("count_include_pad", 0)) and any(a.before or a.after for a in axes)
    if include and any(beyond):
        # The model's own padding counts, what ceil_mode adds does not: make the former part of the image.
        x = g.emit(Pad(((0, 0), (0, 0), *((a.before, a.after) for a in axes)), 0.0), [x])
        axes = [replace(a, size=a.size + a.before + a.after, before=0, after=0) for a in axes]
        include = False
    make = average_pool_with_padding if include else average_pool
    return emit_pool(g, node, x, longer(axes, beyond), make)


@onnx_op("GlobalMaxPool")
def import_global_max_pool(g: Importer, node: OnnxNode) -> Value:
    return emit_global(g, node, max_pool)


@onnx_op("GlobalAveragePool")
def import_global_average_pool(g: Importer, node: OnnxNode) -> Value:
    return emit_global(g, node, average_pool)


@onnx_op("LpPool")
def import_lp_pool(g: Importer, node: OnnxNode) -> Value:
    """``(sum |x|^p)^(1/p)`` over each window; padding adds nothing to the sum."""
    x, axes, beyond = import_pool(node)
    p = node.int("p", 2)
    return _norm(g, node, x, longer(axes, beyond), p)


@onnx_op("GlobalLpPool")
def import_global_lp_pool(g: Importer, node: OnnxNode) -> Value:
    x, axes = global_axes(g, node)
    y = _norm(g, node, x, axes, node.int("p", 2))
    return g.reshape(y, (*y.type.shape[:2], *(1 for _ in node.value(0).type.shape[2:])))


def _norm(g: Importer, node: OnnxNode, x: Value, axes: Sequence[Axis], p: int) -> Value:
    if p < 1:
        raise node.invalid(f"p {p}")
    powers = g.emit(Mul(), [x, x]) if p == 2 else g.emit(Abs(), [x])
    if p > 2:
        powers = g.emit(PowScalar(float(p)), [powers])
    # A sum is a mean times its number of elements; the mean of a mean's windows counts them all.
    mean = emit_pool(g, node, powers, axes, average_pool_with_padding)
    taps = math.prod(axis.kernel for axis in axes)
    total = g.emit(Mul(), [mean, g.const("taps", np.array(taps, np.float32))])
    if p == 1:
        return total
    return g.emit(Sqrt() if p == 2 else PowScalar(1.0 / p), [total])
