"""Conversion to another element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import BFLOAT16, ELEMENT_TYPES, FLOAT16, Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op
from dnncc.ops.ranges import Interval, Ranges, union

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Cast(Op):
    """Each element as another type: floats lose their fraction, other than 0 is true; integers must fit."""

    name: ClassVar[str] = "cast"
    elementwise: ClassVar[bool] = True
    dtype: DType = DType.F32

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        return [TensorType(self.dtype, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        if x.dtype.kind == "f" and self.dtype.is_integer:
            if not np.isfinite(x).all() or np.abs(x).max(initial=0) >= 2.0**63:
                raise OverflowError(f"cast: infinite, too large or not a number for {self.dtype.value}")
            x = x.astype(np.int64)
        return [narrow(x, self.dtype)]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        return Ranges(union(intervals))

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        (x,) = inputs
        return te.compute(x.shape, lambda *i: x[i].astype(self.dtype.numpy.name), name="cast")

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        """Integers as floats: they stand for themselves."""
        from dnncc.ops.reshape import Reshape

        (x,) = node.inputs
        if x.type.dtype is self.dtype:
            return context.integer(x)
        if x.type.dtype not in (DType.I8, DType.U8, DType.I16, DType.I32) or self.dtype is not DType.F32:
            return None
        return context.emit(Reshape(x.type.shape), [context.integer(x)], node.name, 1.0)


@onnx_op("Cast")
def import_cast(g: Importer, node: OnnxNode) -> Value:
    """Every floating type is calculated in f32; only constants can be rounded to a smaller one."""
    from dnncc.ir.graph import Const

    node.ignore("saturate", "round_mode")  # they matter for 8-bit floats only
    x = node.value(0)
    to = node.int("to")
    if to not in ELEMENT_TYPES:
        raise node.unsupported(f"a cast to ONNX element type {to}")
    if to in (FLOAT16, BFLOAT16):
        if to == BFLOAT16 or not isinstance(x, Const):
            raise node.unsupported("a cast to a 16-bit float (export the model in float32)")
        with np.errstate(over="ignore"):
            x = g.const("rounded", x.data.astype(np.float16).astype(np.float32))
    dtype = ELEMENT_TYPES[to]
    return x if x.type.dtype is dtype else g.emit(Cast(dtype), [x])
