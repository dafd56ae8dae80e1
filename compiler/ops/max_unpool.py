"""Elements back to where a max pooling found them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.loop_nest import nest
from dnncc.ops.movement import Movement, in_range, moved, require_indices, te_index, zero_of
from dnncc.ops.pad import Pad
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class MaxUnpool(Movement):
    """Zeros, with each element of x at a position in the whole result; operands (x, positions). Of x's type and scale.

    Positions count elements in order of memory; negative ones from the end; one outside is moved to the nearest end.

    Attributes:
        shape: the result's.
    """

    name: ClassVar[str] = "max_unpool"
    shape: tuple[int, ...] = ()

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, positions = inputs
        require_indices(positions)
        zero_point = x.quantization is not None and x.quantization.zero_point
        if positions.shape != x.shape or min(self.shape, default=0) < 1 or zero_point:
            raise TypeMismatchError(f"unpooling of {x} at {positions} to {self.shape}")
        return [moved(x, self.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, positions = inputs
        y = np.zeros(math.prod(self.shape), x.dtype)
        for i, value in zip(in_range(positions, y.size).reshape(-1), x.reshape(-1), strict=True):
            y[i] = value
        return [y.reshape(self.shape)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union([intervals[0], Interval.of(0, 0)]))

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        from dnncc.targets.lowering.api import const

        (x, positions), (y,) = inputs, outputs
        with nest(t, *self.shape) as i:
            t.buffer_store(y, const(0, str(y.dtype)), i)
        with nest(t, *shape_of(x)) as i:
            rest: Any = te_index(positions, i, math.prod(self.shape))
            place: list[Any] = []
            for size in reversed(self.shape):
                place.insert(0, t.truncmod(rest, size))
                rest = t.truncdiv(rest, size)
            t.buffer_store(y, x[i], place)


@onnx_op("MaxUnpool")
def import_max_unpool(g: Importer, node: OnnxNode) -> Value:
    x, positions = node.value(0), node.value(1)
    kernel = node.ints("kernel_shape")
    n = len(kernel)
    strides, pads = node.ints("strides", (1,) * n), node.ints("pads", (0,) * 2 * n)
    if x.type.rank != n + 2 or len(strides) != n or len(pads) != 2 * n:
        raise node.invalid(f"kernel {kernel}, strides {strides}, pads {pads} of {x.type}")
    spatial = tuple(
        (size - 1) * strides[i] - pads[i] - pads[n + i] + kernel[i] for i, size in enumerate(x.type.shape[2:])
    )
    if min(spatial, default=1) < 1:
        raise node.invalid(f"a result of size {spatial}")
    shape = (*x.type.shape[:2], *spatial)
    y = g.emit(MaxUnpool(shape), [x, positions])
    wanted = node.optional_array(2)
    if wanted is None:
        return y
    larger = tuple(int(d) for d in wanted.reshape(-1))
    if len(larger) != len(shape) or any(a < b for a, b in zip(larger, shape, strict=True)):
        raise node.invalid(f"output_shape {larger}, smaller than {shape}")
    # Positions are those of the smaller shape.
    g.limit(larger)
    after = tuple((0, a - b) for a, b in zip(larger, shape, strict=True))
    return y if larger == shape else g.emit(Pad(after, zero_of(x.type.dtype)), [y])
