"""An operator with operands, and arrays for such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.ir import Array, Const, DType, Graph, TensorType, Value
from dnncc.ops.base import Op


@dataclass(frozen=True)
class Fixed:
    """An operand that the compiler knows."""

    data: Array


@dataclass(frozen=True)
class Case:
    """An operator with operands: arrays that the kernel is given, and constants."""

    op: Op
    operands: Sequence[Array | Fixed]

    @property
    def arrays(self) -> list[Array]:
        """All operands."""
        return [a.data if isinstance(a, Fixed) else a for a in self.operands]

    def graph(self) -> tuple[Graph, list[Array]]:
        """The operator as a graph, and the graph's inputs."""
        graph = Graph("case")
        values: list[Value] = []
        given = [a for a in self.operands if not isinstance(a, Fixed)]
        for i, operand in enumerate(self.operands):
            if isinstance(operand, Fixed):
                values.append(graph.const("c", operand.data))
            else:
                values.append(Value(f"x{i}", TensorType(DType.of(operand), operand.shape)))
        graph.inputs = [v for v in values if not isinstance(v, Const)]
        node = graph.make(self.op, values, "y")
        graph.nodes.append(node)
        graph.outputs = list(node.outputs)
        return graph, given

    def __str__(self) -> str:
        arrays = ((a.data, "const ") if isinstance(a, Fixed) else (a, "") for a in self.operands)
        return f"{self.op} of " + ", ".join(f"{how}{a.dtype}{list(a.shape)}" for a, how in arrays)


def floats(*shape: int) -> Array:
    return np.random.default_rng([1, *shape]).normal(0, 2, shape).astype(np.float32)


def integers(dtype: str, *shape: int, bits: int = 64) -> Array:
    """Over the whole range of the type, or of ``bits`` bits, both ends included where there is room."""
    info = np.iinfo(dtype)
    lo, hi = max(info.min, -(1 << (bits - 1))), min(info.max, (1 << (bits - 1)) - 1)
    x = np.random.default_rng([2, *shape]).integers(lo, hi, shape, dtype, endpoint=True)
    flat = x.reshape(-1)
    flat[:1], flat[1:2] = hi, lo
    return x
