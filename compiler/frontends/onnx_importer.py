"""Builds the graph while ONNX nodes are imported one after the other: folding, naming."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from dnncc.frontends.onnx_node import ModelNode
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.copy import Copy
from dnncc.ops.moved import moved_quantization
from dnncc.ops.reshape import Reshape
from dnncc.ops.transpose import Transpose

MAX_CONSTANT = 1 << 27
MAX_TENSOR = 1 << 31
_SURROUNDING = ("transpose", "reshape", "quantize_linear", "dequantize_linear")
"""What importers put around the operator that a node is about."""


class GraphImporter:
    """Implements ``dnncc.frontends.onnx_registry.Importer``.

    Args:
        graph: the graph to fill; its inputs are there already.
        reserved: names of values in the model, which nothing else may take.
        node_names: names of the model's nodes, likewise.
        inline: imports a ``GraphProto`` of a node of this name with these operands.
    """

    def __init__(
        self,
        graph: Graph,
        reserved: Iterable[str],
        node_names: Iterable[str],
        inline: Callable[[str, Any, Sequence[Value]], list[Value]],
    ) -> None:
        self.graph = graph
        self._inline = inline
        self._nodes = graph.nodes
        self._value_names = set(reserved)
        self._node_names = set(node_names)
        self._node: ModelNode | None = None
        self._emitted: list[Node] = []
        self._made: dict[Value, str] = {}

    # -- what importers call -------------------------------------------------------------------

    def emit(self, op: Op, inputs: Sequence[Value]) -> Value:
        return self.emit_all(op, inputs)[0]

    def emit_all(self, op: Op, inputs: Sequence[Value]) -> list[Value]:
        types = self._infer(op, [v.type for v in inputs])
        constants = [v.data for v in inputs if isinstance(v, Const)]
        if len(constants) == len(inputs):
            for type in types:
                self.limit(type.shape)
            if any(not type.size for type in types):
                folded = [np.zeros(type.shape, type.dtype.numpy) for type in types]
            else:
                folded = list(op.reference(*constants))
            hint = inputs[0].name or self._made.get(inputs[0], "")
            known = [v for v in inputs if isinstance(v, Const)]
            moved = moved_quantization(op, known) if len(folded) == 1 and folded[0].size else None
            return [self._constant(f"{hint}_{op.name}", data, moved) for data in folded]
        if any(not data.size for data in constants):
            raise self._current.unsupported("an operand without elements")
        outputs = [Value("", self._checked(type)) for type in types]
        for value in outputs:
            self._made[value] = op.name
        self._emitted.append(Node(op, list(inputs), outputs, ""))
        return outputs

    def const(self, hint: str, data: Array, quantization: Quantization | None = None) -> Value:
        return self._constant(f"{self._current.name}_{hint}", np.asarray(data), quantization)

    def inline(self, body: Any, operands: Sequence[Value]) -> list[Value]:
        around = self._nodes, self._node, self._emitted, self._made
        name, self._nodes = self._current.name, self._emitted
        try:
            return self._inline(name, body, operands)
        finally:
            self._nodes, self._node, self._emitted, self._made = around

    def limit(self, shape: Sequence[int]) -> None:
        if math.prod(shape) > MAX_CONSTANT:
            raise self._current.unsupported(f"a constant of shape {tuple(shape)}")

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        perm = tuple(int(axis) for axis in perm)
        return value if perm == tuple(range(value.type.rank)) else self.emit(Transpose(perm), [value])

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        shape = tuple(int(d) for d in shape)
        return value if shape == value.type.shape else self.emit(Reshape(shape), [value])

    @property
    def _current(self) -> ModelNode:
        assert self._node is not None
        return self._node

    def _constant(self, hint: str, data: Array, quantization: Quantization | None = None) -> Const:
        value = Const.of("", data, quantization)
        self._made[value] = hint
        return value

    def _infer(self, op: Op, types: Sequence[TensorType]) -> Sequence[TensorType]:
        try:
            return op.infer(*types)
        except TypeMismatchError as error:
            # Arithmetic on other types than floats and shapes may be fine in ONNX, but not here.
            kinds = {type.dtype for type in types}
            if len(kinds) == 1 and DType.F32 not in kinds:
                raise self._current.unsupported(str(error)) from error
            raise

    def _checked(self, type: TensorType) -> TensorType:
        if not 0 < type.size <= MAX_TENSOR:
            raise self._current.unsupported(f"a result {type} with {type.size} elements")
        return type

    # -- what the frontend calls ---------------------------------------------------------------

    def begin(self, node: ModelNode) -> None:
        """Everything emitted from here on belongs to ``node``."""
        self._node = node
        self._emitted, self._made = [], {}

    def unique_value(self, name: str) -> str:
        """A name that no other value has."""
        return self._unique(name, self._value_names)

    def unique_node(self, name: str) -> str:
        """A name that no other node has."""
        return self._unique(name, self._node_names)

    def finish(self, results: dict[str, Value]) -> None:
        """Take over what was emitted.

        Args:
            results: the node's outputs under their names in the model.
        """
        for name, value in results.items():
            if value in self._made:
                value.name = name
                del self._made[value]
        first = next(iter(results), self._current.name)
        for value, hint in self._made.items():
            value.name = self._unique(
                hint if isinstance(value, Const) else f"{first}_{hint}", self._value_names
            )
        # The nodes of bodies have their names already.
        own = [n for n in self._emitted if not n.name]
        main = next((n for n in own if n.macs), None) or next(
            (n for n in own if n.op.name not in _SURROUNDING), None
        )
        for node in own:
            if node is (main or own[-1]):
                node.name = self._current.name
            else:
                node.name = self._unique(f"{self._current.name}_{node.op.name}", self._node_names)
        self._nodes += self._emitted

    def finish_graph(self, outputs: dict[str, Value]) -> None:
        """Set the graph's outputs, which keep their names in the model, and drop what nobody reads.

        A value that has several names, or is an input as well, is copied.
        """
        self.graph.outputs = []
        for name, value in outputs.items():
            if value.name == name:
                pass
            elif isinstance(value, Const):
                value = Const(name, value.type, value.data)
            elif value in self.graph.inputs or value.name in outputs:
                alias = Value(name, value.type)
                node = self._unique(f"{name}_copy", self._node_names)
                self.graph.nodes.append(Node(Copy(), [value], [alias], node))
                value = alias
            else:
                value.name = name
            self.graph.outputs.append(value)
        self.graph.prune()

    @staticmethod
    def _unique(hint: str, taken: set[str]) -> str:
        name, count = hint, 0
        while name in taken:
            count += 1
            name = f"{hint}_{count}"
        taken.add(name)
        return name
