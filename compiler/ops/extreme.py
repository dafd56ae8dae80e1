"""The smaller and the larger of two numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import NUMBERS, Binary
from dnncc.ops.ranges import Interval, Ranges

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext


@dataclass(frozen=True)
class Extreme(Binary):
    """An element of one operand or the other."""

    dtypes: ClassVar[frozenset[DType]] = NUMBERS

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        return [np.asarray(self.apply(a, b))]

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        # On the result's grid, where the order of the operands stays what it was but for roundings.
        grid = context.grid_of(node.output)
        operands = [context.on_grid(v, grid) for v in node.inputs]
        return context.emit(self, operands, node.name, grid.scale, zero_point=grid.zero_point)


@dataclass(frozen=True)
class Minimum(Extreme):
    """``y = min(a, b)``, broadcast. Operands: both f32, or both of one integer type."""

    name: ClassVar[str] = "minimum"

    def apply(self, a: Array, b: Array) -> Array:
        return np.minimum(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import te

        return te.min(a, b)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return all(operands)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        a, b = intervals
        return Ranges(Interval.of(min(a.min, b.min), min(a.max, b.max)))


@dataclass(frozen=True)
class Maximum(Extreme):
    """``y = max(a, b)``, broadcast. Operands: both f32, or both of one integer type."""

    name: ClassVar[str] = "maximum"

    def apply(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import te

        return te.max(a, b)

    def never_negative(self, operands: Sequence[bool]) -> bool:
        return any(operands)

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        a, b = intervals
        return Ranges(Interval.of(max(a.min, b.min), max(a.max, b.max)))


@onnx_op("Min")
def import_min(g: Importer, node: OnnxNode) -> Value:
    terms = [node.value(i) for i in range(node.n_inputs)]
    if not terms:
        raise node.invalid("Min without operands")
    return functools.reduce(lambda a, b: g.emit(Minimum(), [a, b]), terms)


@onnx_op("Max")
def import_max(g: Importer, node: OnnxNode) -> Value:
    terms = [node.value(i) for i in range(node.n_inputs)]
    if not terms:
        raise node.invalid("Max without operands")
    return functools.reduce(lambda a, b: g.emit(Maximum(), [a, b]), terms)
