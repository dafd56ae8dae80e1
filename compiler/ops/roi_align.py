"""Pooling over boxes of an image at positions between its elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import Variable, bounded, nest
from dnncc.ops.movement import in_range, require_indices, te_index
from dnncc.ops.te_types import shape_of

MOST_SAMPLES = 1024
"""Along one axis of a bin: where their number follows from the box, one that is no box would take forever."""


@dataclass(frozen=True)
class RoiAlign(Op):
    """[R, C, *size] of operands (x [N, C, H, W], boxes [R, 4] as (x, y, x, y), batch entries [R]); f32.

    Each bin of a box is the average, or the largest, of ``samples`` by ``samples`` bilinear interpolations. As in ONNX
    the largest is that of the weighted neighbours, not of their sums. See He et al., Mask R-CNN, section 3.

    Attributes:
        size: (height, width) of the result.
        scale: from the boxes' coordinates to the image's.
        samples: along each axis of a bin; 0 for as many as the bin has elements, rounded up, at most 1024.
        half_pixel: coordinates count from the corner of the first element, not from its center.
        largest: the largest instead of the average.
    """

    name: ClassVar[str] = "roi_align"
    size: tuple[int, int] = (1, 1)
    scale: float = 1.0
    samples: int = 0
    half_pixel: bool = True
    largest: bool = False
    divides: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, boxes, entries = inputs
        require_indices(entries)
        fits = x.rank == 4 and entries.rank == 1 and boxes.shape == (entries.size, 4)
        if not fits or x.dtype is not DType.F32 or boxes.dtype is not DType.F32:
            raise TypeMismatchError(f"boxes {boxes} of entries {entries} of {x}")
        if min(self.size) < 1 or not 0 <= self.samples <= MOST_SAMPLES:
            raise TypeMismatchError(f"{self.samples} samples for bins {self.size}")
        return [TensorType(DType.F32, (entries.size, x.shape[1], *self.size))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, boxes, entries = inputs
        y = np.zeros((len(boxes), x.shape[1], *self.size), np.float32)
        f32 = np.float32
        for r, entry in enumerate(in_range(entries, len(x))):
            low = boxes[r, :2] * f32(self.scale) - f32(0.5 * self.half_pixel)
            high = boxes[r, 2:] * f32(self.scale) - f32(0.5 * self.half_pixel)
            extent = high - low if self.half_pixel else np.maximum(high - low, f32(1))
            axes = [
                [*self._samples(low[1 - a], extent[1 - a] / f32(self.size[a]), self.size[a], x.shape[2 + a])]
                for a in (0, 1)
            ]
            for i, j in np.ndindex(*self.size):
                parts = [
                    np.stack([x[entry, :, h, w] * (a * b) for (h, a), (w, b) in itertools.product(v, u)])
                    for v, u in itertools.product(axes[0][i], axes[1][j])
                    if v and u
                ]
                count = len(axes[0][i]) * len(axes[1][j])
                if self.largest:
                    missing = [np.zeros((1, x.shape[1]), np.float32)] * (count > len(parts))
                    values = [p.max(0) for p in (*parts, *missing)]
                    y[r, :, i, j] = np.max(values, 0) if values else 0
                else:
                    y[r, :, i, j] = sum(p.sum(0) for p in parts) / f32(max(count, 1))
        return [y]

    def _samples(self, start: Any, step: Any, bins: int, size: int) -> Any:
        """Per bin and sample the (position, weight) of its two neighbours along an axis; none for one far outside."""
        f32 = np.float32
        count = self.samples or int(min(max(np.ceil(step), 0), MOST_SAMPLES))
        for k in range(bins):
            found: list[list[tuple[int, Any]]] = []
            for i in range(count):
                at = start + f32(k) * step + (f32(i) + f32(0.5)) * step / f32(count)
                if not -1 <= at <= size:
                    found.append([])
                    continue
                at = min(max(at, f32(0)), f32(size - 1))
                first = min(int(at), size - 1)
                part = at - f32(first)
                found.append([(first, f32(1) - part), (min(first + 1, size - 1), part)])
            yield found

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        (x, boxes, entries), (y,) = inputs, outputs
        n, channels, *image = shape_of(x)
        f32 = t.float32
        with t.serial(0, shape_of(y)[0]) as r:
            entry = Variable(t, "int32", te_index(entries, (r,), n)).get()
            starts, steps, counts = [], [], []
            for a in (0, 1):
                low, high = (
                    boxes[r, c] * f32(self.scale) - f32(0.5 * self.half_pixel) for c in (1 - a, 3 - a)
                )
                extent = high - low if self.half_pixel else t.max(high - low, f32(1))
                starts.append(Variable(t, "float32", low).get())
                steps.append(Variable(t, "float32", extent / f32(self.size[a])).get())
                needed = Variable(t, "int32", self.samples)
                if not self.samples:
                    near = Variable(t, "float32", bounded(t, steps[a])).get()
                    needed.set(near.astype("int32"))
                    with t.If(near > needed.get().astype("float32")), t.Then():
                        needed.set(needed.get() + 1)
                    needed.set(t.min(t.max(needed.get(), 0), MOST_SAMPLES))
                counts.append(needed.get())
            with nest(t, channels, *self.size) as (c, i, j):
                total = Variable(t, "float32", 0.0)
                with t.serial(0, counts[0]) as v:
                    down = self._neighbours(t, starts[0], steps[0], i, v, counts[0], image[0])
                    with t.serial(0, counts[1]) as u:
                        across = self._neighbours(t, starts[1], steps[1], j, u, counts[1], image[1])
                        parts = [
                            x[entry, c, h, w] * (a * b)
                            for (h, a), (w, b) in itertools.product(down[1], across[1])
                        ]
                        inside = t.And(down[0], across[0])
                        if self.largest:
                            value = t.max(t.max(parts[0], parts[1]), t.max(parts[2], parts[3]))
                            value = Variable(t, "float32", t.if_then_else(inside, value, f32(0))).get()
                            with t.If(t.Or(t.And(v == 0, u == 0), value > total.get())), t.Then():
                                total.set(value)
                        else:
                            with t.If(inside), t.Then():
                                total.set(total.get() + (parts[0] + parts[1] + parts[2] + parts[3]))
                count = t.max(counts[0] * counts[1], 1).astype("float32")
                t.buffer_store(y, total.get() if self.largest else total.get() / count, (r, c, i, j))

    def _neighbours(
        self, t: Any, start: Any, step: Any, k: Any, i: Any, count: Any, size: int
    ) -> tuple[Any, list[tuple[Any, Any]]]:
        """Whether a sample is near the image, and the two (position, weight) along an axis: ``_samples`` as code."""
        f32 = t.float32
        at = start + k.astype("float32") * step
        at = at + (i.astype("float32") + f32(0.5)) * step / count.astype("float32")
        given = Variable(t, "float32", at).get()
        near = t.And(given >= f32(-1), given <= f32(size))
        inside = Variable(t, "float32", t.min(t.max(bounded(t, given), f32(0)), f32(size - 1))).get()
        first = Variable(t, "int32", inside.astype("int32")).get()
        part = Variable(t, "float32", inside - first.astype("float32")).get()
        return near, [(first, f32(1) - part), (t.min(first + 1, size - 1), part)]


@onnx_op("RoiAlign")
def import_roi_align(g: Importer, node: OnnxNode) -> Value:
    x, boxes, entries = (node.value(i) for i in range(3))
    mode = node.string("mode", "avg")
    if mode not in ("avg", "max"):
        raise node.invalid(f"mode '{mode}'")
    coordinates = "output_half_pixel"
    if node.opset >= 16:
        coordinates = node.string("coordinate_transformation_mode", "half_pixel")
    if coordinates not in ("half_pixel", "output_half_pixel"):
        raise node.invalid(f"coordinate_transformation_mode '{coordinates}'")
    size = (node.int("output_height", 1), node.int("output_width", 1))
    scale, samples = node.float("spatial_scale", 1.0), node.int("sampling_ratio", 0)
    op = RoiAlign(size, scale, max(samples, 0), coordinates == "half_pixel", mode == "max")
    return g.emit(op, [x, boxes, entries])
