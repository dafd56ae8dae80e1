"""Mean over windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType
from dnncc.ops.pool2d import Pool2d, emit_pool
from dnncc.ops.reduce import integer_mean, reduced_axes

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class AveragePool2d(Pool2d):
    """``y[n,i,j,c]`` = the mean of the x[n,h,w,c] under window (i, j). Operand: f32.

    Attributes:
        count_include_pad: the padding counts as zeros; else the mean is over what lies inside the image.
    """

    name: ClassVar[str] = "average_pool2d"
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.F32})
    count_include_pad: bool = False

    def divisors(self, spatial: tuple[int, int]) -> Array:
        """i64 [OH, OW]: by what each window's sum is divided."""
        counts = self.window.counts(spatial, self.kernel)
        return np.full_like(counts, math.prod(self.kernel)) if self.count_include_pad else counts

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        total = self.taps(x, 0).sum(axis=(3, 4), dtype=np.float64)
        return [(total / self.divisors((x.shape[1], x.shape[2]))[:, :, None]).astype(np.float32)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import const, te

        (x,) = inputs
        shape, axes, tap = self.te_taps(x, 0)
        total = te.compute(shape, lambda *i: te.sum(tap(*i), axis=axes), name="total")
        if self.count_include_pad or not any(self.pads):
            factor = const(1 / math.prod(self.kernel), x.dtype)
            return te.compute(shape, lambda *i: total[i] * factor, name="average_pool")
        _, count_axes, one = self.te_taps(te.compute(x.shape, lambda *_: const(1, x.dtype), name="one"), 0)
        count = te.compute(shape[1:3], lambda i, j: te.sum(one(0, i, j, 0), axis=count_axes), name="count")
        return te.compute(shape, lambda n, i, j, c: total[n, i, j, c] / count[i, j], name="average_pool")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        from dnncc.ops.add import Add
        from dnncc.ops.sum_pool2d import SumPool2d
        from dnncc.passes.quantize.context import zero_point_of

        x = context.activation(node.inputs[0], affine=True)
        divisors = self.divisors((x.type.shape[1], x.type.shape[2])).astype(np.float64)[:, :, None]
        # Windows that all count the same number of elements have one scale, others one per position.
        steps = x.type.scale / (divisors if np.ptp(divisors) else divisors[0, 0, 0])
        total = SumPool2d(self.kernel, self.strides, self.pads, self.dilations)
        y = context.emit(total, [x], node.name, steps)
        zero = zero_point_of(x)
        if not zero:
            return y
        # What stands for 0 was added as often as elements lie inside the image; the padding added nothing.
        counts = self.window.counts((x.type.shape[1], x.type.shape[2]), self.kernel)[:, :, None]
        taken = context.graph.const(f"{node.name}.zero", (-zero * counts).astype(np.int32))
        return context.emit(Add(), [y, taken], node.name, steps)


@onnx_op("ReduceMean")
def import_reduce_mean(g: Importer, node: OnnxNode) -> Value:
    """A mean over any axes is an average pool: over H and W as they are, over others brought to the front."""
    x = node.value(0)
    rank, shape = x.type.rank, x.type.shape
    if x.type.dtype.is_integer:
        return integer_mean(g, node, x)
    axes = reduced_axes(node, rank)
    if not axes:
        node.ignore("keepdims")
        return x
    kept = [axis for axis in range(rank) if axis not in axes]
    if rank == 4 and set(axes) <= {2, 3}:
        kernel = (shape[2] if 2 in axes else 1, shape[3] if 3 in axes else 1)
        y = emit_pool(g, AveragePool2d(kernel), x)
    else:
        reduced = math.prod(shape[axis] for axis in axes)
        flat = (1, reduced, 1, math.prod(shape[axis] for axis in kept))
        y = g.emit(AveragePool2d((reduced, 1)), [g.reshape(g.transpose(x, (*axes, *kept)), flat)])
    if node.int("keepdims", 1):
        return g.reshape(y, tuple(1 if axis in axes else d for axis, d in enumerate(shape)))
    return g.reshape(y, tuple(shape[axis] for axis in kept))
