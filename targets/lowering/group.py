"""A fused group as tensor expressions: placeholders for what it reads, the operators' own TE for what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from tvm import te, tirx


class ScalarConstant:
    """A one-element constant standing in for a tensor: indexing it gives an immediate, so that it costs no load."""

    def __init__(self, data: Array) -> None:
        self.shape = tuple(1 for _ in data.shape)
        self.dtype = str(data.dtype.name)
        self._value = data.reshape(()).item()

    def __getitem__(self, index: object) -> Any:
        return tirx.const(self._value, self.dtype)


class NarrowConstant:
    """A 32-bit constant array stored in 16 bits: element i is ``stored[i] * 2^shift``, exactly."""

    def __init__(self, stored: Any, shift: int) -> None:
        self.shape = stored.shape
        self.dtype = "int32"
        self._stored = stored
        self._shift = shift

    def __getitem__(self, index: object) -> Any:
        value = self._stored[index].astype("int32")
        # Not a shift: C leaves the left shift of a negative number undefined.
        return value * (1 << self._shift) if self._shift else value


_SHIFT_STEP = 4  # few different shifts, so that layers of one shape share their code


def narrowed(data: Array) -> tuple[Array, int] | None:
    """(values, shift) with ``values * 2^shift == data`` and values of 16 bits; None if there is no such pair."""
    if data.dtype != np.int32 or not data.size:
        return None
    bits = int(np.bitwise_or.reduce(np.abs(data.astype(np.int64)).reshape(-1)))
    shift = ((bits & -bits).bit_length() - 1) // _SHIFT_STEP * _SHIFT_STEP if bits else 0
    values = data.astype(np.int64) >> shift
    for dtype in (np.int16, np.uint16):
        if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
            return values.astype(dtype), shift
    return None


@dataclass
class Operands:
    """The kernel's parameters as they are discovered: graph inputs first, then constants, each a placeholder.

    Attributes:
        narrow: whether 32-bit constants that fit 16 bits are stored in 16.
    """

    inputs: dict[Value, Any] = field(default_factory=dict)
    constants: list[tuple[Any, Array]] = field(default_factory=list)
    narrow: bool = True

    def constant(self, name: str, data: Array) -> Any:
        """A placeholder for ``data``, which becomes an array in flash."""
        found = narrowed(data) if self.narrow else None
        if found is not None:
            return NarrowConstant(self.constant(name, found[0]), found[1])
        data = np.ascontiguousarray(data)
        tensor = te.placeholder(data.shape, data.dtype.name, name)
        self.constants.append((tensor, data))
        return tensor


class Expressions:
    """TE of a body: ``expressions[value]`` is the tensor of a value.

    Args:
        body: the group's graph.
        reshape: maps a tensor's shape to the one that the kernel works in (an elementwise epilogue may be flattened).
        narrow: see ``Operands``.
    """

    def __init__(
        self,
        body: Graph,
        reshape: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
        narrow: bool = True,
    ) -> None:
        self.body = body
        self.operands = Operands(narrow=narrow)
        self._tensors: dict[Value, Any] = {}
        self._reshape = reshape or (lambda shape: shape)
        self._tables = body.tables()
        for i, value in enumerate(body.inputs):
            tensor = te.placeholder(value.type.shape, value.type.dtype.numpy.name, f"in{i}")
            self.operands.inputs[value] = self._tensors[value] = tensor

    def __getitem__(self, value: Value) -> Any:
        if value not in self._tensors:
            if not isinstance(value, Const):
                raise KeyError(f"%{value.name} is not computed yet")
            if value.data.size == 1:
                self._tensors[value] = ScalarConstant(value.data)
            else:
                name = f"c{len(self.operands.constants)}"
                shape = value.data.shape if value in self._tables else self._reshape(value.data.shape)
                self._tensors[value] = self.operands.constant(name, value.data.reshape(shape))
        return self._tensors[value]

    def __setitem__(self, value: Value, tensor: Any) -> None:
        self._tensors[value] = tensor

    def reshape_input(self, value: Value) -> None:
        """Let a group input be seen under the kernel's shape: the bytes are the same."""
        i = self.body.inputs.index(value)
        shape = self._reshape(value.type.shape)
        tensor = te.placeholder(shape, value.type.dtype.numpy.name, f"in{i}")
        self.operands.inputs[value] = self._tensors[value] = tensor

    def evaluate(self, nodes: Sequence[Node]) -> None:
        """Compute the tensors of ``nodes``, in order."""
        for node in nodes:
            self._tensors[node.output] = node.op.te(*(self[v] for v in node.inputs))

    def prim_func(self, outputs: Sequence[Any]) -> Any:
        """The TIR function: parameters are the inputs, the constants, the outputs."""
        operands = [*self.operands.inputs.values(), *(t for t, _ in self.operands.constants), *outputs]
        return te.create_prim_func(operands)


def split_at(body: Graph, anchor: Node) -> tuple[list[Node], list[Node]]:
    """The nodes that the anchor needs, and those that come after it or beside it (which may read its result)."""
    producers = body.producers()
    needed: set[Node] = set()
    stack = list(anchor.inputs)
    while stack:
        node = producers.get(stack.pop())
        if node is not None and node not in needed:
            needed.add(node)
            stack.extend(node.inputs)
    before = [n for n in body.nodes if n in needed]
    return before, [n for n in body.nodes if n not in needed and n is not anchor]
