"""Elements at constant positions along some axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.movement import Movement, contiguous, moved
from dnncc.ops.repeat import Repeat
from dnncc.ops.slice import sliced
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class Take(Movement):
    """``y[.., i, .., j, ..] = x[.., rows[i], .., columns[j], ..]``, of x's type and scale.

    The operands after x are constant vectors of i32 positions inside x, one for each axis.

    Attributes:
        axes: along which elements are chosen, ascending.
    """

    name: ClassVar[str] = "take"
    axes: tuple[int, ...] = (0,)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, *positions = inputs
        if len(positions) != len(self.axes) or list(self.axes) != sorted({*self.axes} & {*range(x.rank)}):
            raise TypeMismatchError(f"take along axes {self.axes} of {x} by {len(positions)} vectors")
        if any(p.rank != 1 or p.dtype is not DType.I32 for p in positions):
            raise TypeMismatchError(f"take at {', '.join(map(str, positions))}: those are no vectors of i32")
        shape = list(x.shape)
        for axis, p in zip(self.axes, positions, strict=True):
            shape[axis] = p.size
        return [moved(x, shape)]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, *positions = inputs
        for axis, p in zip(self.axes, positions, strict=True):
            x = np.take(x, p, axis)
        return [contiguous(x)]

    def te(self, *inputs: Any) -> Any:
        from dnncc.targets.lowering.api import te

        x, *positions = inputs
        inner = shape_of(x)
        shape = list(inner)
        for axis, p in zip(self.axes, positions, strict=True):
            shape[axis] = shape_of(p)[0]

        def element(*i: Any) -> Any:
            source = list(i)
            for axis, p in zip(self.axes, positions, strict=True):
                source[axis] = p[i[axis]]
            return x[tuple(source)]

        return te.compute(shape, element, name="take")


def taken(g: Importer, x: Value, positions: dict[int, Array]) -> Value:
    """Elements of x at constant positions, all of them valid: as a slice, a repetition or a ``take``.

    Args:
        positions: for each axis along which to choose, a vector.
    """
    shape = x.type.shape
    rest: dict[int, Array] = {}
    bounds = [(0, d, 1) for d in shape]
    factors = [1] * len(shape)
    for axis, p in sorted(positions.items()):
        p = np.asarray(p, np.int64)
        step = int(p[1] - p[0]) if p.size > 1 else 1
        if p.size and step and np.array_equal(p, p[0] + step * np.arange(p.size)):
            stop = int(p[-1]) + step
            bounds[axis] = (int(p[0]), min(stop, shape[axis]) if step > 0 else max(stop, -1), step)
        elif p.size % shape[axis] == 0 and np.array_equal(
            p, np.arange(p.size) * shape[axis] // max(p.size, 1)
        ):
            factors[axis] = p.size // shape[axis]
        else:
            rest[axis] = p.astype(np.int32)
    g.limit([positions[a].size if a in positions else d for a, d in enumerate(shape)])
    if bounds != [(0, d, 1) for d in shape]:
        x = sliced(g, x, bounds)
    if rest:
        vectors = [g.const("positions", p) for p in rest.values()]
        x = g.emit(Take(tuple(rest)), [x, *vectors])
    return g.emit(Repeat(tuple(factors)), [x]) if math.prod(factors) != 1 else x
