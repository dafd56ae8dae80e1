"""ONNX operators that move elements and are made of other operators: slices, pads, reshapes, transposes, products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.matmul import Matmul
from dnncc.ops.movement import zero_of
from dnncc.ops.pad import Pad
from dnncc.ops.slice import sliced
from dnncc.ops.take import taken

_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@onnx_op("DepthToSpace")
def import_depth_to_space(g: Importer, node: OnnxNode) -> Value:
    x, (n, c, h, w), block = _blocks(node)
    mode = node.string("mode", "DCR")
    if mode not in ("DCR", "CRD") or c % block**2:
        raise node.invalid(f"mode '{mode}' with blocks of {block} of {x.type}")
    inner = c // block**2
    x = g.transpose(x, _LAST)
    if mode == "DCR":
        y = g.transpose(g.reshape(x, (n, h, w, block, block, inner)), (0, 1, 3, 2, 4, 5))
    else:
        y = g.transpose(g.reshape(x, (n, h, w, inner, block, block)), (0, 1, 4, 2, 5, 3))
    return g.transpose(g.reshape(y, (n, h * block, w * block, inner)), _FIRST)


@onnx_op("SpaceToDepth")
def import_space_to_depth(g: Importer, node: OnnxNode) -> Value:
    x, (n, c, h, w), block = _blocks(node)
    if h % block or w % block:
        raise node.invalid(f"blocks of {block} of {x.type}")
    mode = node.string("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise node.invalid(f"mode '{mode}'")
    y = g.reshape(g.transpose(x, _LAST), (n, h // block, block, w // block, block, c))
    y = g.transpose(y, (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    y = g.reshape(y, (n, h // block, w // block, block * block * c))
    return g.transpose(y, _FIRST)


def _blocks(node: OnnxNode) -> tuple[Value, tuple[int, ...], int]:
    x, block = node.value(0), node.int("blocksize")
    if x.type.rank != 4 or block < 1:
        raise node.invalid(f"blocks of {block} of {x.type}")
    return x, x.type.shape, block


@onnx_op("CenterCropPad")
def import_center_crop_pad(g: Importer, node: OnnxNode) -> Value:
    x, wanted = node.value(0), [int(d) for d in node.array(1).reshape(-1)]
    rank = x.type.rank
    axes = [node.axis(a, rank) for a in node.ints("axes", tuple(range(rank)))]
    if len(axes) != len(wanted) or len(set(axes)) != len(axes) or min(wanted, default=1) < 1:
        raise node.invalid(f"shape {wanted} along axes {axes}")
    bounds, pads = [(0, d, 1) for d in x.type.shape], [(0, 0)] * rank
    for axis, size in zip(axes, wanted, strict=True):
        missing = size - x.type.shape[axis]
        if missing < 0:
            first = -missing // 2
            bounds[axis] = (first, first + size, 1)
        else:
            pads[axis] = (missing // 2, missing - missing // 2)
    g.limit([before + len(range(*b)) + after for b, (before, after) in zip(bounds, pads, strict=True)])
    y = sliced(g, x, bounds)
    return g.emit(Pad(tuple(pads), zero_of(x.type.dtype)), [y]) if any(map(any, pads)) else y


@onnx_op("AffineGrid")
def import_affine_grid(g: Importer, node: OnnxNode) -> Value:
    theta, size = node.value(0), [int(d) for d in node.array(1).reshape(-1)]
    align = node.int("align_corners", 0)
    spatial = size[2:]
    axes = len(spatial)
    if axes not in (2, 3) or theta.type.shape != (size[0], axes, axes + 1) or min(size) < 1:
        raise node.invalid(f"size {size} with {theta.type}")
    g.limit((*spatial, axes + 1))
    lines = []
    for n in spatial:
        inside = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        lines.append(inside if align else (2 * np.arange(n) + 1) / n - 1)
    # The last axis comes first in a position.
    places = [*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(spatial)]
    grid = np.stack([p.reshape(-1) for p in places], 1).astype(np.float32)
    y = g.emit(Matmul(), [g.const("grid", grid), g.transpose(theta, (0, 2, 1))])
    return g.reshape(y, (size[0], *spatial, axes))


@onnx_op("Compress")
def import_compress(g: Importer, node: OnnxNode) -> Value:
    x, condition = node.value(0), node.array(1)
    if not node.has("axis"):
        x = g.reshape(x, (x.type.size,))
    axis = node.axis(node.int("axis", 0), x.type.rank)
    chosen = np.flatnonzero(condition.reshape(-1))
    if condition.ndim != 1 or condition.size > x.type.shape[axis]:
        raise node.invalid(f"a condition of shape {condition.shape} along axis {axis} of {x.type}")
    if not chosen.size:
        raise node.unsupported("nothing is chosen, a result without elements")
    return taken(g, x, {axis: chosen})


@onnx_op("EyeLike")
def import_eye_like(g: Importer, node: OnnxNode) -> Value:
    from dnncc.frontends.onnx_registry import ELEMENT_TYPES

    x = node.value(0).type
    if x.rank != 2:
        raise node.invalid(f"a diagonal of {x}")
    kind = node.int("dtype", 0)
    if kind and kind not in ELEMENT_TYPES:
        raise node.unsupported(f"ONNX element type {kind}")
    g.limit(x.shape)
    dtype = ELEMENT_TYPES[kind] if kind else x.dtype
    return g.const("eye", np.eye(x.shape[0], x.shape[1], node.int("k", 0), dtype=dtype.numpy))


@onnx_op("NonZero")
def import_non_zero(g: Importer, node: OnnxNode) -> Value:
    x = node.array(0)
    found = np.nonzero(x) if x.ndim else ()
    return g.const("places", np.array(found, np.int64).reshape(x.ndim, -1))


@onnx_op("Unique")
def import_unique(g: Importer, node: OnnxNode) -> Sequence[Value]:
    x = node.array(0)
    if node.has("axis"):
        axis = node.axis(node.int("axis"), x.ndim)
    else:
        axis, x = 0, x.reshape(-1)
    y, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not node.int("sorted", 1):
        order = np.argsort(first, kind="stable")
        y, first, counts = np.take(y, order, axis), first[order], counts[order]
        inverse = np.argsort(order, kind="stable")[inverse]
    rest = (np.asarray(a, np.int64) for a in (first, inverse, counts))
    return [g.const("unique", np.ascontiguousarray(y)), *(g.const("unique", a) for a in rest)]
