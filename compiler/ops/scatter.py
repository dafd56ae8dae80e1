"""Bases of the operators that write updates into a copy of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.accumulate import narrow
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import nest
from dnncc.ops.movement import contiguous, moved, require_indices
from dnncc.ops.ranges import Interval, Ranges, union
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.passes.quantize.context import QuantizeContext

REDUCTIONS = ("none", "add", "mul", "min", "max")
_UFUNC: dict[str, Any] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


@dataclass(frozen=True)
class Scatter(Op):
    """A copy of x with updates at indexed places; operands (x, indices, updates), in this order of execution.

    Negative indices count from the end; one that lies outside is moved to the nearest end. An integer sum or product
    must fit x's type.
    """

    moves: ClassVar[bool] = True
    reduction: str = "none"

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, indices, updates = inputs
        require_indices(indices)
        if self.reduction not in REDUCTIONS or (x.dtype is DType.BOOL and self.reduction != "none"):
            raise TypeMismatchError(f"no reduction '{self.reduction}' of {x}")
        if updates.dtype is not x.dtype or self.updates_shape(x, indices) != updates.shape:
            raise TypeMismatchError(f"updates {updates} at {indices} do not fit {x}")
        return [moved(x, x.shape)]

    def updates_shape(self, x: TensorType, indices: TensorType) -> tuple[int, ...]:
        """The shape that the updates must have; TypeMismatchError if indices and x do not fit."""
        raise NotImplementedError

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        """Where in x each update goes: a numpy index of the updates' shape."""
        raise NotImplementedError

    def te_place(self, x: Any, indices: Any, i: Sequence[Any]) -> tuple[Any, ...]:
        """Where in x the update i goes."""
        raise NotImplementedError

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, indices, updates = inputs
        where = tuple(np.broadcast_to(p, updates.shape).reshape(-1) for p in self.places(x, indices))
        y = contiguous(x)
        if self.reduction == "none":
            # One after the other: numpy does not promise that the last of several wins.
            for *place, update in zip(*where, updates.reshape(-1), strict=True):
                y[tuple(place)] = update
            return [y]
        wide: Any = x.dtype if x.dtype.kind == "f" else object if x.dtype.itemsize == 8 else np.int64
        y = y.astype(wide)
        with np.errstate(over="ignore", invalid="ignore"):
            _UFUNC[self.reduction].at(y, where, updates.reshape(-1).astype(wide))
        return [narrow(y, DType.of(x))]

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        x, _, updates = intervals
        if self.reduction == "mul":
            return None
        if self.reduction != "add":
            return Ranges(union([x, updates]))
        count = inputs[2].type.size
        y = Interval.of(x.min + count * min(updates.min, 0), x.max + count * max(updates.max, 0))
        return Ranges(y, y)

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        (x, indices, updates), (y,) = inputs, outputs
        with nest(t, *shape_of(x)) as i:
            t.buffer_store(y, x[i], i)
        with nest(t, *shape_of(updates)) as i:
            place = self.te_place(x, indices, i)
            t.buffer_store(y, self._combined(t, y[place], updates[i]), place)

    def _combined(self, t: Any, old: Any, update: Any) -> Any:
        if self.reduction == "add":
            return old + update
        if self.reduction == "mul":
            return old * update
        if self.reduction == "none":
            return update
        return t.Select(update < old if self.reduction == "min" else update > old, update, old)

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        if self.reduction == "mul":
            return None
        x, indices, updates = node.inputs
        grid = context.grid_of(node.output)
        if self.reduction == "add":
            grid = context.sum_grid(node.output, updates.type.size + 1)
        old, new = (context.on_grid(v, grid) for v in (x, updates))
        return context.emit(
            self, [old, context.integer(indices), new], node.name, grid.scale, zero_point=grid.zero_point
        )
