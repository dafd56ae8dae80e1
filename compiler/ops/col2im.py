"""Sums of overlapping blocks: an image from its columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import all_of, nest
from dnncc.ops.ranges import Interval, Ranges
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Col2im(Op):
    """[N, C * block, positions] to [N, C, *image]: each column is added to the image where its block lies.

    Operand f32, or i32 whose sums must fit.

    Attributes:
        image, block, strides, dilations: per spatial axis.
        pads: (before, after) for each spatial axis; what falls there is dropped.
    """

    name: ClassVar[str] = "col2im"
    image: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    pads: tuple[tuple[int, int], ...] = ()
    dilations: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in (DType.F32, DType.I32) or x.rank != 3:
            raise TypeMismatchError(f"columns {x}")
        n = len(self.image)
        alike = {len(self.block), len(self.strides), len(self.pads), len(self.dilations)} == {n}
        if not alike or min(*self.image, *self.block, *self.strides, *self.dilations, 1) < 1:
            raise TypeMismatchError(f"blocks {self.block} of an image {self.image}")
        columns, taps = math.prod(self.positions), math.prod(self.block)
        if min(self.positions) < 1 or x.shape[1] % taps or x.shape[2] != columns:
            raise TypeMismatchError(f"{x} is not {taps} elements for each channel at {columns} positions")
        return [x.with_shape((x.shape[0], x.shape[1] // taps, *self.image))]

    @property
    def positions(self) -> tuple[int, ...]:
        """How many blocks there are along each axis."""
        axes = zip(self.image, self.block, self.strides, self.pads, self.dilations, strict=True)
        return tuple((d + sum(p) - (k - 1) * w - 1) // s + 1 for d, k, s, p, w in axes)

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        n = len(self.image)
        wide = x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)
        blocks = x.astype(wide).reshape(x.shape[0], -1, *self.block, *self.positions)
        padded = np.zeros(
            (*blocks.shape[:2], *(d + sum(p) for d, p in zip(self.image, self.pads, strict=True))), wide
        )
        for tap in np.ndindex(self.block):
            first = [k * w for k, w in zip(tap, self.dilations, strict=True)]
            where = [
                slice(f, f + (p - 1) * s + 1, s)
                for f, p, s in zip(first, self.positions, self.strides, strict=True)
            ]
            padded[(slice(None), slice(None), *where)] += blocks[(slice(None), slice(None), *tap)]
        inside = [slice(before, before + d) for d, (before, _) in zip(self.image, self.pads, strict=True)]
        assert len(inside) == n
        return [narrow(np.ascontiguousarray(padded[(slice(None), slice(None), *inside)]), DType.of(x))]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        (x,), taps = intervals, math.prod(self.block)
        y = Interval.of(min(x.min, 0) * taps, max(x.max, 0) * taps)
        return Ranges(y, y)

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        from dnncc.targets.lowering.api import const

        (x,), (y,) = inputs, outputs
        batches, channels, *image = shape_of(y)
        axes = len(image)
        with nest(t, batches, channels, *image) as i:
            t.buffer_store(y, const(0, str(y.dtype)), i)
        with nest(t, batches, channels, *self.block, *self.positions) as (b, c, *rest):
            tap, position = rest[:axes], rest[axes:]
            row, column, place = c, 0, []
            for k, size in zip(tap, self.block, strict=True):
                row = row * size + k
            for p, size in zip(position, self.positions, strict=True):
                column = column * size + p
            for k, p, s, w, (before, _) in zip(
                tap, position, self.strides, self.dilations, self.pads, strict=True
            ):
                place.append(p * s + k * w - before)
            inside = [c for i, d in zip(place, image, strict=True) for c in (i >= 0, i < d)]
            with t.If(all_of(inside)), t.Then():
                t.buffer_store(y, y[(b, c, *place)] + x[b, row, column], (b, c, *place))

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        grid = context.sum_grid(node.output, math.prod(self.block))
        return context.emit(self, [context.on_grid(node.inputs[0], grid)], node.name, grid.scale)


@onnx_op("Col2Im")
def import_col2im(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    image, block = (tuple(int(d) for d in node.array(i).reshape(-1)) for i in (1, 2))
    n = len(image)
    strides, dilations = node.ints("strides", (1,) * n), node.ints("dilations", (1,) * n)
    pads = node.ints("pads", (0,) * 2 * n)
    if len(pads) != 2 * n or not n:
        raise node.invalid(f"pads {pads} of an image {image}")
    if min(pads) < 0:
        raise node.unsupported(f"negative pads {pads}")
    around = tuple(zip(pads[:n], pads[n:], strict=True))
    return g.emit(Col2im(image, block, strides, around, dilations), [x])
