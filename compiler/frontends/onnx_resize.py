"""ONNX Resize and Upsample: the positions and weights along each axis, known when the model is read.

What an axis needs is a table: for each element of the result the elements of x that it is made of. Coordinates are
calculated in float32, as ONNX Runtime does, because rounding them decides between neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType
from dnncc.ops.add import Add
from dnncc.ops.cast import Cast
from dnncc.ops.resample import Resample
from dnncc.ops.take import taken

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
_ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class _Style:
    """The attributes that say how to interpolate."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False


@dataclass(frozen=True)
class _Axis:
    """One axis that is resized.

    Attributes:
        size, result: number of elements before and after.
        scale: after / before, not rounded to whole elements.
        region: the part of the axis that is wanted, (0, 1) for all of it.
    """

    size: int
    result: int
    scale: float
    region: tuple[float, float]

    def positions(self, coordinates: str) -> Array:
        """f32 [result]: where in x the elements of the result lie."""
        f32 = np.float32
        o, size, scale = np.arange(self.result, dtype=f32), f32(self.size), f32(self.scale)
        half = (o + f32(0.5)) / scale - f32(0.5)
        start, end = (f32(r) for r in self.region)
        if coordinates == "half_pixel":
            return half
        if coordinates == "half_pixel_symmetric":
            adjusted = f32(self.result) / (scale * size)
            offset = size / f32(2) * (f32(1) - adjusted)
            return (offset + (o + f32(0.5)) / scale) - f32(0.5)
        if coordinates == "pytorch_half_pixel":
            return half if self.result > 1 else np.zeros(1, f32)
        if coordinates == "align_corners":
            # The standard's own length, which scales may leave between two whole ones.
            length = f32(self.scale * self.size)
            return o * (size - f32(1)) / (length - f32(1)) if length > 1 else np.zeros(self.result, f32)
        if coordinates == "asymmetric":
            # Where sizes are given, their quotient is rounded once only.
            return o * size / f32(self.result) if self.scale == self.result / self.size else o / scale
        if coordinates == "tf_half_pixel_for_nn":
            return (o + f32(0.5)) / scale
        if self.result > 1:
            return start * (size - f32(1)) + o * (end - start) * (size - f32(1)) / f32(self.result - 1)
        return f32(0.5) * (start + end) * (size - f32(1)) + o


def _nearest(axis: _Axis, style: _Style) -> Array:
    """i64 [result]: the element of x nearest to each element of the result."""
    x = axis.positions(style.coordinates)
    if style.nearest == "old":
        i = np.ceil(x) if axis.scale < 1 else np.trunc(x)
    elif style.nearest == "floor":
        i = np.floor(x)
    elif style.nearest == "ceil":
        i = np.ceil(x)
    elif style.nearest == "round_prefer_floor":
        i = np.ceil(x - np.float32(0.5))
    else:
        i = np.floor(x + np.float32(0.5))
    result: Array = np.clip(i, 0, axis.size - 1).astype(np.int64)
    return result


def _filter(axis: _Axis, style: _Style) -> tuple[Array, Array]:
    """(positions i64 [result, K], weights f64 [result, K]) of linear or cubic interpolation, before the border."""
    x = axis.positions(style.coordinates).astype(np.float64)
    # Weights that a larger step stretches are those of an average of what the step passes over.
    stretch = min(axis.scale, 1.0) if style.antialias else 1.0
    reach = (1.0 if style.mode == "linear" else 2.0) / stretch
    first = np.floor(x - reach).astype(np.int64) + 1
    taps = first[:, None] + np.arange(math.ceil(2 * reach))
    distance = np.abs(x[:, None] - taps) * stretch
    if style.mode == "linear":
        weights = np.maximum(1.0 - distance, 0.0)
    else:
        a, d = style.a, distance
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    if style.exclude_outside:
        weights = np.where((taps >= 0) & (taps < axis.size), weights, 0.0)
    if style.antialias or style.exclude_outside:
        total = weights.sum(1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    return taps, weights


def _table(taps: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """(first i32 [O], weights f32 [O, K]): runs of neighbours inside x; what is outside counts for the border."""
    dense = np.zeros((len(taps), size))
    np.add.at(dense, (np.arange(len(taps))[:, None], np.clip(taps, 0, size - 1)), weights)
    used = np.abs(dense) > 1e-9
    first = np.where(used.any(1), used.argmax(1), 0)
    last = np.where(used.any(1), size - 1 - used[:, ::-1].argmax(1), 0)
    width = int((last - first).max(initial=0)) + 1
    first = np.minimum(first, size - width)
    rows = np.take_along_axis(dense, first[:, None] + np.arange(width), 1)
    return first.astype(np.int32), rows.astype(np.float32)


def resize(
    g: Importer, node: OnnxNode, x: Value, axes: dict[int, _Axis], style: _Style, outside: float
) -> Value:
    """x resized along axes; images with a channel axis are worked on with the channels last."""
    axes = {
        i: a
        for i, a in sorted(axes.items())
        if a.result != a.size or a.scale != 1.0 or a.region != (0.0, 1.0)
    }
    shape = [axes[i].result if i in axes else d for i, d in enumerate(x.type.shape)]
    if not all(shape):
        raise node.unsupported(f"a result of shape {tuple(shape)}, without elements")
    g.limit(shape)
    rank = x.type.rank
    if rank > 2 and axes and min(axes) >= 2:
        last = (0, *range(2, rank), 1)
        y = resize_inner(g, g.transpose(x, last), {i - 1: a for i, a in axes.items()}, style, outside)
        return g.transpose(y, (0, rank - 1, *range(1, rank - 1)))
    return resize_inner(g, x, axes, style, outside)


def resize_inner(g: Importer, x: Value, axes: dict[int, _Axis], style: _Style, outside: float) -> Value:
    """x resized along axes as they are."""
    crops = style.coordinates == "tf_crop_and_resize"
    beyond = {}
    for i, axis in axes.items():
        at = axis.positions(style.coordinates)
        beyond[i] = (at < 0) | (at > axis.size - 1) if crops else np.zeros(axis.result, bool)
    if style.mode == "nearest" and not any(b.any() for b in beyond.values()):
        return taken(g, x, {i: _nearest(axis, style) for i, axis in axes.items()})
    tables = {}
    for i, axis in axes.items():
        if style.mode == "nearest":
            taps, weights = _nearest(axis, style)[:, None], np.ones((axis.result, 1))
        else:
            taps, weights = _filter(axis, style)
        tables[i] = _table(taps, np.where(beyond[i][:, None], 0.0, weights), axis.size)
    if not tables:
        return x
    dtype = x.type.dtype
    x = x if dtype is DType.F32 else g.emit(Cast(DType.F32), [x])
    operands = [
        g.const(hint, data) for table in tables.values() for hint, data in zip("iw", table, strict=True)
    ]
    y = g.emit(Resample(tuple(tables)), [x, *operands])
    if outside and any(b.any() for b in beyond.values()):
        mask = np.zeros((1,) * x.type.rank, bool)
        for i, b in beyond.items():
            mask = mask | b.reshape([-1 if k == i else 1 for k in range(x.type.rank)])
        y = g.emit(Add(), [y, g.const("outside", np.where(mask, np.float32(outside), np.float32(0)))])
    return y if dtype is DType.F32 else g.emit(Cast(dtype), [y])


@onnx_op("Upsample")
def import_upsample(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    scales = node.floats("scales") if node.opset < 9 else node.array(1).reshape(-1).tolist()
    return _resize_old(g, node, x, scales)


@onnx_op("Resize")
def import_resize(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    if node.opset < 11:
        return _resize_old(g, node, x, node.array(1).reshape(-1).tolist())
    style = _style(node)
    chosen = node.ints("axes") if node.has("axes") else tuple(range(x.type.rank))
    along = [node.axis(a, x.type.rank) for a in chosen]
    regions = _regions(node, style, len(along))
    sizes = [x.type.shape[a] for a in along]
    wanted, scales = node.optional_array(3), node.optional_array(2)
    policy = node.string("keep_aspect_ratio_policy", "stretch")
    if policy not in ("stretch", "not_larger", "not_smaller"):
        raise node.invalid(f"keep_aspect_ratio_policy '{policy}'")
    if wanted is not None and wanted.size:
        results = [int(n) for n in wanted.reshape(-1)]
        if len(results) != len(along) or min(results, default=1) < 1:
            raise node.invalid(f"sizes {results} for axes {along}")
        factors = [r / d for r, d in zip(results, sizes, strict=True)]
        if policy != "stretch":
            factor = min(factors) if policy == "not_larger" else max(factors)
            factors = [factor] * len(along)
            results = [math.floor(factor * d + 0.5) for d in sizes]
    elif scales is not None and scales.size == len(along):
        factors = [float(s) for s in scales.reshape(-1)]
        results = _scaled(node, factors, sizes, regions, style)
    else:
        raise node.invalid("neither scales nor sizes fit the axes")
    axes = {
        a: _Axis(size, result, factor, region)
        for a, size, result, factor, region in zip(along, sizes, results, factors, regions, strict=True)
    }
    return resize(g, node, x, axes, style, node.float("extrapolation_value", 0.0))


def _style(node: OnnxNode) -> _Style:
    style = _Style(
        node.string("mode", "nearest"),
        node.string("coordinate_transformation_mode", "half_pixel"),
        node.string("nearest_mode", "round_prefer_floor"),
        node.float("cubic_coeff_a", -0.75),
        bool(node.int("antialias", 0)),
        bool(node.int("exclude_outside", 0)),
    )
    known = style.coordinates in _COORDINATES and style.nearest in _ROUNDING
    if not known or style.mode not in ("nearest", "linear", "cubic"):
        raise node.invalid(
            f"mode '{style.mode}', coordinates '{style.coordinates}', nearest '{style.nearest}'"
        )
    return style


def _regions(node: OnnxNode, style: _Style, count: int) -> list[tuple[float, float]]:
    """The wanted part of each axis, (0, 1) unless the mode crops."""
    roi = node.optional_array(1)
    if style.coordinates != "tf_crop_and_resize":
        return [(0.0, 1.0)] * count
    if roi is None or roi.size != 2 * count:
        raise node.invalid("tf_crop_and_resize without a start and an end for each axis")
    values = [float(r) for r in roi.reshape(-1)]
    return list(zip(values[:count], values[count:], strict=True))


def _scaled(
    node: OnnxNode,
    factors: Sequence[float],
    sizes: Sequence[int],
    regions: Sequence[tuple[float, float]],
    style: _Style,
) -> list[int]:
    """Numbers of elements after scaling."""
    if not all(math.isfinite(f) and f > 0 for f in factors):
        raise node.invalid(f"scales {list(factors)}")
    spans = [end - start if style.coordinates == "tf_crop_and_resize" else 1.0 for start, end in regions]
    # In float32, as the scales are.
    return [
        int(np.floor(np.float32(d) * np.float32(span) * np.float32(f)))
        for f, d, span in zip(factors, sizes, spans, strict=True)
    ]


def _resize_old(g: Importer, node: OnnxNode, x: Value, scales: Sequence[float]) -> Value:
    """Upsample, and Resize of opset 10: asymmetric coordinates, rounded down, or up where the result is smaller."""
    mode = node.string("mode", "nearest")
    if mode == "bilinear":
        mode = "linear"
    if mode not in ("nearest", "linear") or len(scales) != x.type.rank:
        raise node.invalid(f"mode '{mode}', scales {list(scales)} of {x.type}")
    style = _Style(mode, "asymmetric", "old")
    whole = [(0.0, 1.0)] * x.type.rank
    results = _scaled(node, scales, x.type.shape, whole, style)
    axes = {
        i: _Axis(d, r, float(f), whole[i])
        for i, (d, r, f) in enumerate(zip(x.type.shape, results, scales, strict=True))
    }
    return resize(g, node, x, axes, style, 0.0)
