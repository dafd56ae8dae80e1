"""Convolutions over any number of axes, from two-dimensional ones; how ONNX spells them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ops.add import Add
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.pad import Pad
from dnncc.ops.slice import Slice
from dnncc.ops.window_axis import Axis, Plane, import_axes


def channels_last(g: Importer, x: Value) -> Value:
    """[N,C,spatial...] as [N,spatial...,C]; likewise weights [O,C,kernel...]."""
    return g.transpose(x, (0, *range(2, x.type.rank), 1))


def channels_first(g: Importer, x: Value) -> Value:
    """The inverse of ``channels_last``."""
    return g.transpose(x, (0, x.type.rank - 1, *range(1, x.type.rank - 1)))


def convolution(g: Importer, x: Value, w: Value, bias: Value, axes: Sequence[Axis], groups: int) -> Value:
    """``y[n,i...,o] = b[o] + sum x[n, i*stride + k*dilation - before ..., c] * w[o,k...,c]`` over one axis or more.

    One axis is the width of an image of one row. Of three and more, the taps along the first become channels, so that
    the rest is a convolution over one axis less: the same products, by the same kernels, on an input copied as often as
    there are taps along that axis.

    Args:
        x: [N, spatial..., C].
        w: [O, kernel..., C/groups], constant or not.
        bias: [O].

    Returns:
        [N, output..., O].
    """
    n, *spatial, c = x.type.shape
    o, *kernel, per_group = w.type.shape
    if len(axes) == 1:
        image, weights = g.reshape(x, (n, 1, spatial[0], c)), g.reshape(w, (o, 1, kernel[0], per_group))
        y = convolution(g, image, weights, bias, (Axis(1), *axes), groups)
        return g.reshape(y, (n, y.type.shape[2], o))
    if len(axes) == 2:
        plane = Plane.of(*axes)
        return g.emit(Conv2d(plane.strides, plane.pads, plane.dilations, groups), [x, w, bias])
    depth = axes[0]
    taps = _unfolded(g, x, depth, groups)
    images = g.reshape(taps, (n * depth.output, *spatial[1:], c * depth.kernel))
    # [O, KD, kernel..., C/groups] -> [O, kernel..., KD * C/groups]
    rank = w.type.rank
    last = g.transpose(w, (0, *range(2, rank - 1), 1, rank - 1))
    weights = g.reshape(last, (o, *kernel[1:], depth.kernel * per_group))
    y = convolution(g, images, weights, bias, axes[1:], groups)
    return g.reshape(y, (n, depth.output, *y.type.shape[1:]))


def _unfolded(g: Importer, x: Value, depth: Axis, groups: int) -> Value:
    """[N,D,...,C] -> [N,OD,...,groups * KD * C/groups]: what the taps along D see, side by side."""
    if depth.is_identity:
        return x
    if depth.before or depth.after:
        rest = ((0, 0),) * (x.type.rank - 2)
        x = g.emit(Pad(((0, 0), (depth.before, depth.after), *rest)), [x])
    *outer, c = x.type.shape
    zeros, ones = (0,) * (x.type.rank - 2), (1,) * (x.type.rank - 2)
    parts = []
    for k in range(depth.kernel):
        first = k * depth.dilation
        stop = first + (depth.output - 1) * depth.stride + 1
        op = Slice((0, first, *zeros), (outer[0], stop, *x.type.shape[2:]), (1, depth.stride, *ones))
        part = g.emit(op, [x])
        parts.append(g.reshape(part, (*part.type.shape[:-1], groups, c // groups)) if groups > 1 else part)
    taps = parts[0] if len(parts) == 1 else g.emit(Concat(parts[0].type.rank - 1), parts)
    return g.reshape(taps, (*parts[0].type.shape[: x.type.rank - 1], depth.kernel * c))


def with_bias(g: Importer, conv: Value, bias: Value | None) -> Value:
    """The result [..., O] of a convolution without bias, plus a bias [O] that is not constant, if there is one."""
    return conv if bias is None or isinstance(bias, Const) else g.emit(Add(), [conv, bias])


def constant_bias(g: Importer, bias: Value | None, channels: int) -> Value:
    """A bias [O] where it is constant, else zeros: ``with_bias`` then adds it."""
    return bias if isinstance(bias, Const) else g.const("bias", np.zeros(channels, np.float32))


@onnx_op("Conv")
def import_conv(g: Importer, node: OnnxNode) -> Value:
    x, w, bias = node.value(0), node.value(1), node.optional(2)
    check_operands(node, x, w)
    axes = import_axes(node, x.type.shape[2:], w.type.shape[2:])
    groups = node.int("group", 1)
    channels, per_group = w.type.shape[:2]
    if groups < 1 or x.type.shape[1] != per_group * groups or channels % groups:
        raise node.invalid(f"{groups} groups of {x.type} with weights {w.type}")
    if bias is not None and bias.type.shape != (channels,):
        raise node.invalid(f"a bias {bias.type} of {channels} channels")
    if any(axis.output < 1 for axis in axes):
        raise node.invalid(f"a kernel {w.type.shape[2:]} that fits nowhere in {x.type}")
    kernel = channels_last(g, w)
    y = convolution(g, channels_last(g, x), kernel, constant_bias(g, bias, channels), axes, groups)
    return channels_first(g, with_bias(g, y, bias))


def check_operands(node: OnnxNode, x: Value, w: Value) -> None:
    """x [N,C,spatial...] and weights of the same rank, at least one spatial axis."""
    if x.type.rank < 3 or w.type.rank != x.type.rank:
        raise node.invalid(f"a convolution of {x.type} with weights {w.type}")
