"""Transposed convolutions from ordinary ones, one for each phase of the strides: no inserted zero is multiplied.

Output i reads tap k of the kernel where ``i + before - k*dilation`` is a multiple of the stride. Outputs that are a
stride apart read the same taps: each such phase is a convolution with stride 1 over a part of the kernel, and the
phases' results interleave (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.concat import Concat
from dnncc.ops.convolution import (
    channels_first,
    channels_last,
    check_operands,
    constant_bias,
    convolution,
    with_bias,
)
from dnncc.ops.slice import Slice
from dnncc.ops.window_axis import Axis, positive, split_same


@dataclass(frozen=True)
class Upsampling:
    """A transposed window along one axis.

    Attributes:
        size: elements of the input.
        kernel, stride, dilation: of the convolution whose transpose it is.
        before: elements that are cut off at the beginning of the whole result.
        output: elements that are kept.
    """

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    output: int = 0

    @property
    def per_phase(self) -> int:
        """Elements of each phase's result; some phases compute one that is cut off."""
        return -(-self.output // self.stride)


@dataclass(frozen=True)
class Phase:
    """The outputs ``phase, phase + stride, ...`` of an axis as an ordinary window.

    Attributes:
        taps: indices into the kernel in the order in which the input is read; none where only the bias is left.
        first, last: the input's elements that are read, ``first`` included.
        axis: how the window moves over them.
    """

    taps: tuple[int, ...]
    first: int
    last: int
    axis: Axis


def phase_of(up: Upsampling, phase: int) -> Phase:
    """The window of one phase."""
    base, residue = divmod(phase + up.before, up.stride)
    taps = [k for k in range(up.kernel) if (k * up.dilation - residue) % up.stride == 0]
    if taps:
        # Tap k of output q reads x[q + base + (residue - k * dilation) / stride]: the last tap first.
        start = base + (residue - taps[-1] * up.dilation) // up.stride
        end = base + (residue - taps[0] * up.dilation) // up.stride + up.per_phase - 1
        first, last = max(start, 0), min(end, up.size - 1)
        if first <= last:
            dilation = up.dilation // math.gcd(up.dilation, up.stride)
            pads = (max(-start, 0), max(end - up.size + 1, 0))
            axis = Axis(last + 1 - first, len(taps), 1, *pads, dilation)
            return Phase(tuple(reversed(taps)), first, last, axis)
    return Phase((), 0, -1, Axis(up.size))


def conv_transpose(
    g: Importer, x: Value, w: Value, bias: Value, axes: Sequence[Upsampling], groups: int
) -> Value:
    """``y[n,i...,o] = b[o] + sum x[n,h...,c] * w[o,k...,c]`` over ``h*stride + k*dilation == i + before``.

    Args:
        x: [N, spatial..., C].
        w: [O, kernel..., C/groups], constant or not.
        bias: constant [O].

    Returns:
        [N, output..., O].
    """
    phases = [[phase_of(up, p) for p in range(up.stride)] for up in axes]
    if all(phase.taps and _alike(phase, one[0]) for one in phases for phase in one):
        y = _merged(g, x, w, bias, axes, phases, groups)
    else:
        y = _interleaved(g, x, w, bias, axes, phases, groups)
    stops = (x.type.shape[0], *(up.output for up in axes), w.type.shape[0])
    if y.type.shape == stops:
        return y
    return g.emit(Slice((0,) * len(stops), stops, (1,) * len(stops)), [y])


def _alike(a: Phase, b: Phase) -> bool:
    """Whether two phases read the same elements, so that they are output channels of one convolution."""
    return (a.first, a.last, a.axis) == (b.first, b.last, b.axis)


def _merged(
    g: Importer,
    x: Value,
    w: Value,
    bias: Value,
    axes: Sequence[Upsampling],
    phases: Sequence[Sequence[Phase]],
    groups: int,
) -> Value:
    """One convolution whose output channels are those of every phase, then depth to space."""
    n, channels = x.type.shape[0], w.type.shape[0]
    per_group, count = channels // groups, math.prod(up.stride for up in axes)
    parts = []
    for chosen in itertools.product(*phases):
        part = _kernel(g, w, chosen)
        parts.append(g.reshape(part, (groups, 1, per_group, *part.type.shape[1:])))
    stacked = parts[0] if count == 1 else g.emit(Concat(1), parts)
    weights = g.reshape(stacked, (channels * count, *stacked.type.shape[3:]))
    repeated = [g.reshape(bias, (groups, 1, per_group))] * count
    biases = repeated[0] if count == 1 else g.emit(Concat(1), repeated)
    first = [one[0] for one in phases]
    y = convolution(
        g,
        _cropped(g, x, first),
        weights,
        g.reshape(biases, (channels * count,)),
        [p.axis for p in first],
        groups,
    )
    rank, strides = len(axes), [up.stride for up in axes]
    split = g.reshape(y, (*y.type.shape[:-1], groups, *strides, per_group))
    # [N, q1, q2, ..., groups, s1, s2, ..., O/groups] -> [N, q1, s1, q2, s2, ..., groups, O/groups]
    pairs = [axis for i in range(rank) for axis in (1 + i, rank + 2 + i)]
    spread = g.transpose(split, (0, *pairs, rank + 1, 2 * rank + 2))
    return g.reshape(spread, (n, *(up.per_phase * up.stride for up in axes), channels))


def _interleaved(
    g: Importer,
    x: Value,
    w: Value,
    bias: Value,
    axes: Sequence[Upsampling],
    phases: Sequence[Sequence[Phase]],
    groups: int,
) -> Value:
    """A convolution for each phase; the results interleave along one axis after the other, the last one first."""
    n, channels = x.type.shape[0], w.type.shape[0]
    shape = (n, *(up.per_phase for up in axes), channels)

    def result(chosen: Sequence[Phase]) -> Value:
        if len(chosen) < len(axes):
            parts = [result([*chosen, phase]) for phase in phases[len(chosen)]]
            axis = 1 + len(chosen)
            if len(parts) == 1:
                return parts[0]
            shape = parts[0].type.shape
            apart = [g.reshape(p, (*shape[: axis + 1], 1, *shape[axis + 1 :])) for p in parts]
            joined = g.emit(Concat(axis + 1), apart)
            return g.reshape(joined, (*shape[:axis], shape[axis] * len(parts), *shape[axis + 1 :]))
        if all(phase.taps for phase in chosen):
            image, weights = _cropped(g, x, chosen), _kernel(g, w, chosen)
            return convolution(g, image, weights, bias, [phase.axis for phase in chosen], groups)
        return _filled(g, bias, plain)

    plain = shape
    return result([])


def _filled(g: Importer, bias: Value, shape: tuple[int, ...]) -> Value:
    """The bias where no tap meets an output."""
    from dnncc.ir.graph import Const

    assert isinstance(bias, Const)
    g.limit(shape)
    return g.const("bias", np.broadcast_to(bias.data, shape).copy())


def _kernel(g: Importer, w: Value, chosen: Sequence[Phase]) -> Value:
    """The chosen taps of w [O, kernel..., C/groups], in the order of the input."""
    for axis, phase in enumerate(chosen, 1):
        if phase.taps == tuple(range(w.type.shape[axis])):
            continue
        shape = w.type.shape
        parts = []
        for tap in phase.taps:
            starts = tuple(tap if a == axis else 0 for a in range(len(shape)))
            stops = tuple(tap + 1 if a == axis else d for a, d in enumerate(shape))
            parts.append(g.emit(Slice(starts, stops, (1,) * len(shape)), [w]))
        w = parts[0] if len(parts) == 1 else g.emit(Concat(axis), parts)
    return w


def _cropped(g: Importer, x: Value, chosen: Sequence[Phase]) -> Value:
    """The part of x [N, spatial..., C] that is read."""
    shape = x.type.shape
    starts = (0, *(phase.first for phase in chosen), 0)
    stops = (shape[0], *(phase.last + 1 for phase in chosen), shape[-1])
    if stops == shape and not any(starts):
        return x
    return g.emit(Slice(starts, stops, (1,) * len(shape)), [x])


@onnx_op("ConvTranspose")
def import_conv_transpose(g: Importer, node: OnnxNode) -> Value:
    x, w, bias = node.value(0), node.value(1), node.optional(2)
    check_operands(node, x, w)
    groups = node.int("group", 1)
    c, per_group, *kernel = w.type.shape
    channels = per_group * groups
    if groups < 1 or x.type.shape[1] != c or c % groups:
        raise node.invalid(f"{groups} groups of {x.type} with weights {w.type}")
    if bias is not None and bias.type.shape != (channels,):
        raise node.invalid(f"a bias {bias.type} of {channels} channels")
    axes = _import_axes(node, x.type.shape[2:], kernel)
    rank = len(kernel)
    # [C, O/groups, kernel...] -> [groups, O/groups, kernel..., C/groups]
    split = g.reshape(w, (groups, c // groups, per_group, *kernel))
    turned = g.transpose(split, (0, 2, *range(3, 3 + rank), 1))
    weights = g.reshape(turned, (channels, *kernel, c // groups))
    y = conv_transpose(g, channels_last(g, x), weights, constant_bias(g, bias, channels), axes, groups)
    return channels_first(g, with_bias(g, y, bias))


def _import_axes(node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]) -> list[Upsampling]:
    rank = len(spatial)
    if node.has("kernel_shape") and node.ints("kernel_shape") != tuple(kernel):
        raise node.invalid(f"kernel_shape {node.ints('kernel_shape')} but the weights are {tuple(kernel)}")
    strides, dilations = (positive(node, name, rank) for name in ("strides", "dilations"))
    extra = node.ints("output_padding", (0,) * rank)
    auto_pad = node.string("auto_pad", "NOTSET")
    explicit = node.ints("pads", (0,) * (2 * rank))
    wanted = node.ints("output_shape") if node.has("output_shape") else None
    if wanted is not None and len(wanted) == rank + 2:
        wanted = wanted[2:]
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.invalid(f"auto_pad '{auto_pad}'")
    if len(explicit) != 2 * rank or len(extra) != rank or (wanted is not None and len(wanted) != rank):
        raise node.invalid(f"pads {explicit}, output_padding {extra}, output_shape {wanted} over {rank} axes")
    if min(*explicit, *extra, *(wanted or ())) < 0:
        raise node.unsupported(f"negative pads {explicit}, output_padding {extra} or output_shape {wanted}")
    axes = []
    for i, (size, taps, stride, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
        whole = stride * (size - 1) + extra[i] + dilation * (taps - 1) + 1
        before, output = explicit[i], whole - explicit[i] - explicit[rank + i]
        if auto_pad == "VALID":
            before, output = 0, whole
        if wanted is not None or auto_pad.startswith("SAME"):
            # SAME cannot add what no tap reaches: ONNX Runtime's reading where the kernel is smaller than the stride.
            output = min(size * stride, whole) if wanted is None else wanted[i]
            # Unlike a convolution's, an odd element is cut off at the end for SAME_UPPER only.
            before = split_same(max(whole - output, 0), auto_pad)[0]
        if output < 1:
            raise node.invalid(f"an output of {output} elements along axis {i + 2}")
        axes.append(Upsampling(size, taps, stride, dilation, before, output))
    return axes
