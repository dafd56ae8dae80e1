"""Sliding windows one axis at a time, as ONNX spells them for any number of axes.

Kernels are two-dimensional. One axis becomes the width of an image one element high; of three axes and more each
operator says how it takes them two at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.frontends.onnx_registry import OnnxNode
from dnncc.ops.window import Pads, Pair


@dataclass(frozen=True)
class Axis:
    """How a window moves along one axis.

    Attributes:
        size: elements of the input.
        kernel: taps of the window.
        stride: distance of two windows.
        before, after: padding.
        dilation: distance of two taps.
    """

    size: int
    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Elements that the window covers."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """Number of windows; below 1 if none fits."""
        return (self.size + self.before + self.after - self.extent) // self.stride + 1

    @property
    def is_identity(self) -> bool:
        """Every element is a window by itself."""
        return (self.kernel, self.stride, self.before, self.after) == (1, 1, 0, 0)


@dataclass(frozen=True)
class Plane:
    """Two axes as the attributes of a two-dimensional operator."""

    kernel: Pair
    strides: Pair
    pads: Pads
    dilations: Pair

    @staticmethod
    def of(h: Axis, w: Axis) -> Plane:
        return Plane(
            (h.kernel, w.kernel),
            (h.stride, w.stride),
            (h.before, w.before, h.after, w.after),
            (h.dilation, w.dilation),
        )


def import_axes(node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]) -> list[Axis]:
    """The window of an ONNX Conv or pool: strides, dilations, and pads with auto_pad resolved.

    Args:
        spatial: the input's sizes after N and C.
        kernel: the kernel's sizes; an attribute ``kernel_shape`` must agree.
    """
    rank = len(spatial)
    if node.has("kernel_shape") and node.ints("kernel_shape") != tuple(kernel):
        raise node.invalid(f"kernel_shape {node.ints('kernel_shape')} but the weights are {tuple(kernel)}")
    if len(kernel) != rank or min(kernel) < 1:
        raise node.invalid(f"a kernel {tuple(kernel)} over {rank} axes")
    strides, dilations = (positive(node, name, rank) for name in ("strides", "dilations"))
    auto_pad = node.string("auto_pad", "NOTSET")
    explicit = node.ints("pads", (0,) * (2 * rank))
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.invalid(f"auto_pad '{auto_pad}'")
    if auto_pad == "NOTSET" and len(explicit) != 2 * rank:
        raise node.invalid(f"pads {explicit} of a window over {rank} axes")
    if auto_pad == "NOTSET" and min(explicit) < 0:
        raise node.unsupported(f"negative pads {explicit}")
    axes = []
    for i, (size, taps, stride, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
        before, after = (explicit[i], explicit[rank + i]) if auto_pad == "NOTSET" else (0, 0)
        if auto_pad.startswith("SAME"):
            # The output is ceil(input / stride).
            total = max((-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size, 0)
            before, after = split_same(total, auto_pad)
        axes.append(Axis(size, taps, stride, before, after, dilation))
    return axes


def split_same(total: int, auto_pad: str) -> Pair:
    """``total`` padding before and after; an odd element goes to the end (SAME_UPPER) or the beginning."""
    less, more = total // 2, total - total // 2
    return (less, more) if auto_pad == "SAME_UPPER" else (more, less)


def positive(node: OnnxNode, name: str, rank: int) -> tuple[int, ...]:
    """An attribute of one positive number per axis, 1 by default."""
    values = node.ints(name, (1,) * rank)
    if len(values) != rank or min(values, default=1) < 1:
        raise node.invalid(f"{name} {values} of a window over {rank} axes")
    return values
