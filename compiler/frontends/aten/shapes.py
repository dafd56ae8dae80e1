"""What moves, selects, makes and resizes elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from dnncc.errors import UnsupportedError
from dnncc.frontends.aten.builder import Builder, Operand, Ref, Scalar, aten

_END = (1 << 63) - 1


@aten("view.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints", "unflatten.int",
      "squeeze.default", "squeeze.dim", "squeeze.dims", "unsqueeze.default", "expand_as.default", "view_as.default",
      "atleast_1d.default")  # fmt: skip
def reshape(g: Builder, x: Ref, *_: Any) -> str:
    return g.reshape(x, g.result.shape)


@aten("permute.default")
def permute(g: Builder, x: Ref, dims: Sequence[int]) -> str:
    return g.emit("Transpose", x, perm=[x.axis(d) for d in dims])


@aten("transpose.int", "swapaxes.default")
def transpose(g: Builder, x: Ref, a: int, b: int) -> str:
    perm = list(range(x.rank))
    a, b = x.axis(a), x.axis(b)
    perm[a], perm[b] = b, a
    return g.emit("Transpose", x, perm=perm)


@aten("t.default", "numpy_T.default")
def t(g: Builder, x: Ref) -> str:
    return g.emit("Transpose", x, perm=list(reversed(range(x.rank))))


@aten("expand.default")
def expand(g: Builder, x: Ref, size: Sequence[int], implicit: bool = False) -> str:
    return g.emit("Expand", x, g.ints(*g.result.shape))


@aten("cat.default", "concat.default")
def cat(g: Builder, tensors: Sequence[Ref], dim: int = 0) -> str:
    dtype = g.result.dtype
    parts = [g.tensor(x, dtype) for x in tensors if x.shape != (0,)]
    return g.emit("Concat", *parts, axis=g.result.axis(dim))


@aten("stack.default")
def stack(g: Builder, tensors: Sequence[Ref], dim: int = 0) -> str:
    axis = g.result.axis(dim)
    parts = [g.emit("Unsqueeze", g.tensor(x, g.result.dtype), g.ints(axis)) for x in tensors]
    return g.emit("Concat", *parts, axis=axis)


@aten("slice.Tensor")
def slice_(
    g: Builder, x: Ref, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> str:
    return _slice(g, x, x.axis(dim), start or 0, _END if end is None else end, step)


def _slice(g: Builder, x: Ref | str, axis: int, start: int, end: int, step: int = 1) -> str:
    return g.emit("Slice", x, g.ints(start), g.ints(end), g.ints(axis), g.ints(step))


@aten("select.int")
def select(g: Builder, x: Ref, dim: int, index: int) -> str:
    axis = x.axis(dim)
    index += x.shape[axis] if index < 0 else 0
    return g.emit("Squeeze", _slice(g, x, axis, index, index + 1), g.ints(axis))


@aten("split_with_sizes.default", "split_with_sizes_copy.default")
def split_with_sizes(g: Builder, x: Ref, sizes: Sequence[int], dim: int = 0) -> list[str]:
    if len(sizes) == 1:
        return [g.emit("Identity", x)]
    return g.emit_all("Split", x, g.ints(*sizes), outputs=len(sizes), axis=x.axis(dim))


@aten("split.Tensor", "split_copy.Tensor")
def split(g: Builder, x: Ref, size: int, dim: int = 0) -> list[str]:
    length = x.shape[x.axis(dim)]
    return split_with_sizes(g, x, [min(size, length - i) for i in range(0, length, size)], dim)


@aten("chunk.default")
def chunk(g: Builder, x: Ref, chunks: int, dim: int = 0) -> list[str]:
    return split(g, x, -(-x.shape[x.axis(dim)] // chunks), dim)


@aten("unbind.int")
def unbind(g: Builder, x: Ref, dim: int = 0) -> list[str]:
    axis = x.axis(dim)
    return [g.emit("Squeeze", _slice(g, x, axis, i, i + 1), g.ints(axis)) for i in range(x.shape[axis])]


@aten("flip.default")
def flip(g: Builder, x: Ref, dims: Sequence[int]) -> str:
    axes = [x.axis(d) for d in dims]
    n = len(axes)
    return g.emit("Slice", x, g.ints(*[-1] * n), g.ints(*[-_END] * n), g.ints(*axes), g.ints(*[-1] * n))


@aten("roll.default")
def roll(g: Builder, x: Ref, shifts: Sequence[int], dims: Sequence[int] = ()) -> str:
    if not dims:
        flat = _rolled(g, g.reshape(x, (-1,)), 0, math.prod(x.shape), shifts[0])
        return g.reshape(flat, x.shape)
    y = x.name
    for shift, dim in zip(shifts, dims, strict=True):
        y = _rolled(g, y, x.axis(dim), x.shape[x.axis(dim)], shift)
    return y


def _rolled(g: Builder, x: str, axis: int, length: int, shift: int) -> str:
    at = -shift % length
    return g.emit("Concat", _slice(g, x, axis, at, _END), _slice(g, x, axis, 0, at), axis=axis) if at else x


@aten("repeat.default", "tile.default")
def repeat(g: Builder, x: Ref, repeats: Sequence[int]) -> str:
    y: Ref | str = x
    if len(repeats) > x.rank:
        y = g.reshape(x, (*[1] * (len(repeats) - x.rank), *x.shape))
    return g.emit("Tile", y, g.ints(*[1] * (x.rank - len(repeats)), *repeats))


# -- addresses ---------------------------------------------------------------------------------------------------------


@aten("embedding.default")
def embedding(g: Builder, weight: Ref, indices: Ref, *_: Any) -> str:
    return g.emit("Gather", weight, indices, axis=0)


@aten("index_select.default")
def index_select(g: Builder, x: Ref, dim: int, index: Ref) -> str:
    return g.emit("Gather", x, index, axis=x.axis(dim))


@aten("gather.default")
def gather(g: Builder, x: Ref, dim: int, index: Ref, sparse_grad: bool = False) -> str:
    return g.emit("GatherElements", x, index, axis=x.axis(dim))


@aten("index.Tensor", "_unsafe_index.Tensor")
def index_(g: Builder, x: Ref, indices: Sequence[Ref | None]) -> str:
    given = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if any(i.dtype == "bool" for _, i in given):
        raise UnsupportedError("an index by booleans: the result's shape depends on the data")
    if len(given) == 1:
        axis, index = given[0]
        return g.emit("Gather", x, index, axis=axis)
    axes = [axis for axis, _ in given]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise UnsupportedError("indices of several axes that do not follow one another")
    # The indexed axes come first for GatherND, and their place in the result is that of the first.
    shape = np.broadcast_shapes(*(i.shape for _, i in given))
    columns = [
        g.emit("Unsqueeze", g.emit("Expand", g.tensor(i, "int64"), g.ints(*shape)), g.ints(len(shape)))
        for _, i in given
    ]
    perm = [*axes, *(a for a in range(x.rank) if a not in axes)]
    y = g.emit("GatherND", g.emit("Transpose", x, perm=perm), g.emit("Concat", *columns, axis=len(shape)))
    before = axes[0]
    n = len(shape)
    back = [*range(n, n + before), *range(n), *range(n + before, n + x.rank - len(axes))]
    return g.emit("Transpose", y, perm=back)


@aten("topk.default")
def topk(g: Builder, x: Ref, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> list[str]:
    return g.emit_all(
        "TopK", x, g.ints(k), outputs=2, axis=x.axis(dim), largest=int(largest), sorted=int(sorted)
    )


@aten("sort.default")
def sort(g: Builder, x: Ref, dim: int = -1, descending: bool = False) -> list[str]:
    return topk(g, x, x.shape[x.axis(dim)], dim, descending)


@aten("scatter.src")
def scatter(g: Builder, x: Ref, dim: int, index: Ref, source: Ref) -> str:
    return g.emit("ScatterElements", x, index, source, axis=x.axis(dim))


@aten("tril.default", "triu.default")
def triangle(g: Builder, x: Ref, diagonal: int = 0) -> str:
    raise UnsupportedError("a triangle of a tensor that is not constant")


# -- pads --------------------------------------------------------------------------------------------------------------


@aten("constant_pad_nd.default")
def constant_pad(g: Builder, x: Ref, pads: Sequence[int], value: Scalar = 0) -> str:
    return g.emit("Pad", x, _pads(g, x, pads), g.const(value, x.dtype))


@aten("reflection_pad1d.default", "reflection_pad2d.default", "reflection_pad3d.default")
def reflection_pad(g: Builder, x: Ref, pads: Sequence[int]) -> str:
    return g.emit("Pad", x, _pads(g, x, pads), mode="reflect")


@aten("replication_pad1d.default", "replication_pad2d.default", "replication_pad3d.default")
def replication_pad(g: Builder, x: Ref, pads: Sequence[int]) -> str:
    return g.emit("Pad", x, _pads(g, x, pads), mode="edge")


@aten("pad.default")
def pad(g: Builder, x: Ref, pads: Sequence[int], mode: str = "constant", value: Scalar | None = None) -> str:
    if mode == "constant":
        return constant_pad(g, x, pads, value or 0)
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return g.emit("Pad", x, _pads(g, x, pads), mode=names[mode])


def _pads(g: Builder, x: Ref, pads: Sequence[int]) -> str:
    """PyTorch lists (before, after) from the last axis on, ONNX all before, then all after, from the first on."""
    before, after = [0] * x.rank, [0] * x.rank
    for i in range(len(pads) // 2):
        before[-1 - i], after[-1 - i] = pads[2 * i], pads[2 * i + 1]
    return g.ints(*before, *after)


# -- new tensors -------------------------------------------------------------------------------------------------------


@aten("full.default", "full_like.default", "new_full.default")
def full(g: Builder, *arguments: Any, **_: Any) -> str:
    return g.const(np.full(g.result.shape, arguments[-1], g.result.dtype))


@aten("zeros.default", "zeros_like.default", "new_zeros.default")
def zeros(g: Builder, *_: Any, **__: Any) -> str:
    return g.const(np.zeros(g.result.shape, g.result.dtype))


@aten("ones.default", "ones_like.default", "new_ones.default")
def ones(g: Builder, *_: Any, **__: Any) -> str:
    return g.const(np.ones(g.result.shape, g.result.dtype))


@aten("scalar_tensor.default")
def scalar_tensor(g: Builder, value: Scalar, **_: Any) -> str:
    return g.const(value, g.result.dtype)


@aten("arange.start_step", "arange.default", "arange.start")
def arange(g: Builder, *ends: Scalar, **_: Any) -> str:
    return g.const(np.arange(*ends).astype(g.result.dtype))


# -- images ------------------------------------------------------------------------------------------------------------


@aten("pixel_shuffle.default")
def pixel_shuffle(g: Builder, x: Ref, factor: int) -> str:
    return g.emit("DepthToSpace", x, blocksize=factor, mode="CRD")


@aten("pixel_unshuffle.default")
def pixel_unshuffle(g: Builder, x: Ref, factor: int) -> str:
    n, c, h, w = x.shape
    y = g.reshape(x, (n, c, h // factor, factor, w // factor, factor))
    return g.reshape(g.emit("Transpose", y, perm=[0, 1, 3, 5, 2, 4]), g.result.shape)


@aten("channel_shuffle.default", "native_channel_shuffle.default")
def channel_shuffle(g: Builder, x: Ref, groups: int) -> str:
    n, c, *image = x.shape
    y = g.reshape(x, (n, groups, c // groups, *image))
    return g.reshape(g.emit("Transpose", y, perm=[0, 2, 1, *range(3, 3 + len(image))]), x.shape)


@aten("upsample_nearest1d.vec", "upsample_nearest2d.vec", "upsample_nearest3d.vec",
      "upsample_nearest1d.default", "upsample_nearest2d.default", "upsample_nearest3d.default")  # fmt: skip
def upsample_nearest(g: Builder, x: Ref, *_: Any, **__: Any) -> str:
    return _resize(g, x, "nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


@aten("upsample_linear1d.vec", "upsample_bilinear2d.vec", "upsample_trilinear3d.vec", "upsample_linear1d.default",
      "upsample_bilinear2d.default", "upsample_trilinear3d.default")  # fmt: skip
def upsample_linear(g: Builder, x: Ref, size: Any, align_corners: bool = False, *_: Any, **__: Any) -> str:
    mode = "align_corners" if align_corners else "pytorch_half_pixel"
    return _resize(g, x, "linear", coordinate_transformation_mode=mode)


@aten("upsample_bicubic2d.vec", "upsample_bicubic2d.default")
def upsample_bicubic(g: Builder, x: Ref, size: Any, align_corners: bool = False, *_: Any, **__: Any) -> str:
    mode = "align_corners" if align_corners else "pytorch_half_pixel"
    return _resize(g, x, "cubic", coordinate_transformation_mode=mode, cubic_coeff_a=-0.75)


def _resize(g: Builder, x: Ref, mode: str, **attributes: Any) -> str:
    return g.emit("Resize", x, None, None, g.ints(*g.result.shape), mode=mode, **attributes)


@aten("grid_sampler_2d.default", "grid_sampler_3d.default", "grid_sampler.default")
def grid_sampler(g: Builder, x: Ref, grid: Ref, mode: int, padding: int, align_corners: bool) -> str:
    return g.emit(
        "GridSample", x, grid, mode=("linear", "nearest", "cubic")[mode],
        padding_mode=("zeros", "border", "reflection")[padding], align_corners=int(align_corners),
    )  # fmt: skip


@aten("copy.default")
def copy(g: Builder, x: Ref, source: Operand, non_blocking: bool = False) -> str:
    return g.emit("Expand", g.tensor(source, x.dtype), g.ints(*x.shape))
