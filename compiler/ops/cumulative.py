"""Running sums and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.elementwise import NUMBERS, modular
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Cumulative(Op):
    """What all elements up to each one along ``axis`` come to.

    Attributes:
        axis: counted from the front.
        exclusive: the element itself does not count.
        reverse: from the end.
        wraps: integers are of their own type, modulo 2^bits; else an i32 that must hold every result.
    """

    start: ClassVar[int] = 0
    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    wraps: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.dtype not in NUMBERS or not 0 <= self.axis < x.rank:
            raise TypeMismatchError(f"{self.name} along axis {self.axis} does not take {x}")
        return [TensorType(x.dtype if x.dtype is DType.F32 or self.wraps else DType.I32, x.shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        (x,) = inputs
        wide: Any = np.float64 if x.dtype.kind == "f" else np.uint64 if self.wraps else np.int64
        turned = np.moveaxis(x, self.axis, 0).astype(wide)
        turned = turned[::-1] if self.reverse else turned
        if self.exclusive:
            turned = np.concatenate([np.full_like(turned[:1], self.start), turned[:-1]])
        with np.errstate(all="ignore"):
            y = self.accumulate(turned)
        y = np.moveaxis(y[::-1] if self.reverse else y, 0, self.axis)
        if x.dtype.kind == "f":
            return [np.ascontiguousarray(y, np.float32)]
        return [np.ascontiguousarray(y.astype(x.dtype) if self.wraps else narrow(y, DType.I32))]

    def accumulate(self, x: Array) -> Array:
        """Running results along the first axis."""
        raise NotImplementedError(f"{self.name} has no reference")

    def step(self, total: Any, x: Any) -> Any:
        """One more element."""
        raise NotImplementedError(f"{self.name} has no loops")

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        from dnncc.targets.lowering.api import const

        (x,), (y,) = inputs, outputs
        shape, dtype = [int(d) for d in x.shape], str(y.dtype)
        length = shape[self.axis]
        outer, inner = math.prod(shape[: self.axis]), math.prod(shape[self.axis + 1 :])
        wide = dtype if dtype == "float32" or not self.wraps else modular(dtype)
        total = t.alloc_buffer((1,), wide, scope="local")
        source, target = ([outer, length, inner], [outer, length, inner])

        def place(sizes: Sequence[int], o: Any, k: Any, i: Any) -> list[Any]:
            """The index in the tensor's own shape."""
            flat = (o * sizes[1] + k) * sizes[2] + i
            index: list[Any] = []
            for size in reversed(shape):
                index.append(flat % size)
                flat = flat // size
            return index[::-1]

        with t.serial(0, outer) as o, t.serial(0, inner) as i:
            t.buffer_store(total, const(self.start, wide), [0])
            with t.serial(0, length) as n:
                k = length - 1 - n if self.reverse else n
                more = self.step(total[0], x[tuple(place(source, o, k, i))].astype(wide))
                before = total[0].astype(dtype)
                if self.exclusive:
                    t.buffer_store(y, before, place(target, o, k, i))
                    t.buffer_store(total, more, [0])
                else:
                    t.buffer_store(total, more, [0])
                    t.buffer_store(y, total[0].astype(dtype), place(target, o, k, i))


@dataclass(frozen=True)
class CumSum(Cumulative):
    """The sum of all elements up to each one along ``axis``. Operand: f32, or integers."""

    name: ClassVar[str] = "cum_sum"

    def accumulate(self, x: Array) -> Array:
        return np.cumsum(x, axis=0, dtype=x.dtype)

    def step(self, total: Any, x: Any) -> Any:
        return total + x

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        if self.wraps:
            return Ranges(Interval.of_dtype(inputs[0].type.dtype))
        x, n = intervals[0].collapsed(), inputs[0].type.shape[self.axis]
        return Ranges(Interval.of(min(n * x.min, 0), max(n * x.max, 0)))

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        x = context.activation(node.inputs[0])
        return context.emit(self, [x], node.name, x.type.scale)


@dataclass(frozen=True)
class CumProd(Cumulative):
    """The product of all elements up to each one along ``axis``. Operand: f32, or integers."""

    name: ClassVar[str] = "cum_prod"
    start: ClassVar[int] = 1

    def accumulate(self, x: Array) -> Array:
        return np.cumprod(x, axis=0, dtype=x.dtype)

    def step(self, total: Any, x: Any) -> Any:
        return total * x

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)


def _axis(node: OnnxNode, rank: int) -> int:
    given = node.array(1)
    if given.size != 1:
        raise node.invalid(f"an axis of shape {given.shape}")
    return node.axis(int(given.reshape(())), rank)


@onnx_op("CumSum")
def import_cum_sum(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    exclusive, reverse = bool(node.int("exclusive", 0)), bool(node.int("reverse", 0))
    return g.emit(CumSum(_axis(node, x.type.rank), exclusive, reverse, x.type.dtype.is_integer), [x])


@onnx_op("CumProd")
def import_cum_prod(g: Importer, node: OnnxNode) -> Value:
    x = node.value(0)
    exclusive, reverse = bool(node.int("exclusive", 0)), bool(node.int("reverse", 0))
    return g.emit(CumProd(_axis(node, x.type.rank), exclusive, reverse, x.type.dtype.is_integer), [x])
