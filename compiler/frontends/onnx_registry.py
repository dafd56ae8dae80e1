"""The table from ONNX operator types to the functions in ``dnncc.ops`` that import them.

Kept apart from the frontend so that an operator's file needs neither the onnx package nor the frontend itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dnncc.errors import ModelError
from dnncc.ir.graph import Value
from dnncc.ir.types import Array
from dnncc.ops.base import Op


class OnnxNode(Protocol):
    """One node of an ONNX graph, with typed access to its operands and attributes."""

    op_type: str
    name: str
    opset: int

    def value(self, index: int) -> Value:
        """A required operand."""
        ...

    def optional(self, index: int) -> Value | None:
        """An operand that may be absent."""
        ...

    def array(self, index: int) -> Array:
        """A required operand that must be known at compile time; unsupported if it is not."""
        ...

    def optional_array(self, index: int) -> Array | None: ...

    def int(self, name: str, default: int | None = None) -> int:
        """An attribute; without a default it is required. Likewise for the other kinds."""
        ...

    def ints(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]: ...

    def float(self, name: str, default: float | None = None) -> float: ...

    def string(self, name: str, default: str | None = None) -> str: ...

    def tensor(self, name: str) -> Array: ...

    def has(self, attribute: str) -> bool: ...

    @property
    def n_inputs(self) -> int: ...

    @property
    def n_outputs(self) -> int: ...

    def unsupported(self, reason: str) -> ModelError:
        """The error to raise for a form that is not supported; the frontend collects those of all nodes."""
        ...


class Importer(Protocol):
    """What an import function builds its nodes with; nodes are named after the ONNX node."""

    def emit(self, op: Op, inputs: Sequence[Value]) -> Value:
        """Add one node; returns its first output. Constants fold at once when every input is constant."""
        ...

    def emit_all(self, op: Op, inputs: Sequence[Value]) -> list[Value]:
        """Add one node; returns all its outputs."""
        ...

    def const(self, hint: str, data: Array) -> Value: ...

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        """``value`` with its axes permuted (nothing is emitted for the identity; constants are transposed at once)."""
        ...

    def reshape(self, value: Value, shape: Sequence[int]) -> Value: ...


ImportFunction = Callable[[Importer, OnnxNode], Value | Sequence[Value]]
ONNX_OPS: dict[str, ImportFunction] = {}


def onnx_op(*op_types: str) -> Callable[[ImportFunction], ImportFunction]:
    """Register a function as the importer of these ONNX operator types (default domain)."""

    def register(function: ImportFunction) -> ImportFunction:
        for op_type in op_types:
            known = ONNX_OPS.setdefault(op_type, function)
            if known.__module__ != function.__module__:
                raise ValueError(f"ONNX operator '{op_type}' is imported by {known.__module__} and {function.__module__}")
            ONNX_OPS[op_type] = function
        return function

    return register
