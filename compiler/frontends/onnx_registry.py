"""The table from ONNX operator types to the functions in ``dnncc.ops`` that import them.

Kept apart from the frontend so that an operator's file needs neither the onnx package nor the frontend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dnncc.errors import ModelError
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, Quantization
from dnncc.ops.base import Op

FLOAT16, BFLOAT16 = 10, 16
ELEMENT_TYPES: dict[int, DType] = {
    1: DType.F32,
    2: DType.U8,
    3: DType.I8,
    4: DType.U16,
    5: DType.I16,
    6: DType.I32,
    7: DType.I64,
    9: DType.BOOL,
    FLOAT16: DType.F32,
    11: DType.F32,
    12: DType.U32,
    13: DType.U64,
    BFLOAT16: DType.F32,
}
"""onnx.TensorProto.DataType to the type in which dnncc keeps it: every floating type becomes f32."""

# In a class with methods `int` and `float`, annotations of these names would mean the methods.
_Int = int
_Float = float


@dataclass(frozen=True)
class TensorSequence:
    """A sequence of tensors whose length and positions are known while the model is read: it leaves no trace."""

    items: tuple[Value, ...]


class OnnxNode(Protocol):
    """One node of an ONNX graph, with typed access to its operands and attributes.

    What an importer does not look at is unsupported: an operand or attribute that is never asked for is an
    error, so that nothing the model says is overlooked.
    """

    op_type: str
    name: str
    opset: _Int

    def value(self, index: _Int) -> Value:
        """A required operand."""
        ...

    def optional(self, index: _Int) -> Value | None:
        """An operand that may be absent."""
        ...

    def sequence(self, index: _Int) -> tuple[Value, ...]:
        """A required operand that is a sequence of tensors."""
        ...

    def array(self, index: _Int) -> Array:
        """A required operand that must be known at compile time; unsupported if it is not."""
        ...

    def optional_array(self, index: _Int) -> Array | None: ...

    def int(self, name: str, default: _Int | None = None) -> _Int:
        """An attribute; without a default it is required. Likewise for the other kinds."""
        ...

    def ints(self, name: str, default: Sequence[_Int] | None = None) -> tuple[_Int, ...]: ...

    def float(self, name: str, default: _Float | None = None) -> _Float: ...

    def floats(self, name: str, default: Sequence[_Float] | None = None) -> tuple[_Float, ...]: ...

    def string(self, name: str, default: str | None = None) -> str: ...

    def strings(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]: ...

    def tensor(self, name: str) -> Array: ...

    def graph(self, name: str) -> Any:
        """An attribute that is a ``GraphProto``, for ``Importer.inline``."""
        ...

    def has(self, attribute: str) -> bool: ...

    def ignore(self, *attributes: str) -> None:
        """Declare attributes that do not matter for inference."""
        ...

    @property
    def n_inputs(self) -> _Int: ...

    @property
    def n_outputs(self) -> _Int: ...

    def declared_shape(self, index: _Int) -> tuple[_Int, ...] | None:
        """The shape that the model declares for an output; None where it does not, or not as numbers."""
        ...

    def is_used(self, output: _Int) -> bool:
        """Whether anything reads an output; what nothing reads need not be made."""
        ...

    def axis(self, value: _Int, rank: _Int) -> _Int:
        """An axis counted from the front; negative ones count from the end. Invalid outside [-rank, rank)."""
        ...

    def unsupported(self, reason: str) -> ModelError:
        """The error to raise for a form that is not supported; the frontend collects those of all nodes."""
        ...

    def invalid(self, reason: str) -> ModelError:
        """The error to raise for a node that no version of ONNX allows; collected likewise."""
        ...


class Importer(Protocol):
    """What an import function builds its nodes with; nodes are named after the ONNX node."""

    def emit(self, op: Op, inputs: Sequence[Value]) -> Value:
        """Add one node; returns its first output. Constants fold at once when every input is constant."""
        ...

    def emit_all(self, op: Op, inputs: Sequence[Value]) -> list[Value]:
        """Add one node; returns all its outputs."""
        ...

    def const(self, hint: str, data: Array, quantization: Quantization | None = None) -> Value:
        """A constant; a float one with a quantization is known to be made of multiples of its scale."""
        ...

    def inline(self, body: Any, operands: Sequence[Value]) -> list[Value]:
        """The results of a ``GraphProto`` of the current node, its nodes imported where that one is.

        What it reads of the graphs around it, it finds there.

        Args:
            operands: what its inputs stand for.
        """
        ...

    def limit(self, shape: Sequence[int]) -> None:
        """Unsupported if a constant of this shape would be unreasonably large: call it before making one."""
        ...

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        """``value`` with its axes permuted; nothing is emitted for the identity or for constants."""
        ...

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """``value`` under another shape of that size; nothing is emitted for the same one or constants."""
        ...


Result = Value | TensorSequence
ImportFunction = Callable[[Importer, OnnxNode], Result | Sequence[Result]]
ONNX_OPS: dict[str, ImportFunction] = {}
"""By the operator type as ``onnx_key`` writes it."""

_DEFAULT_DOMAINS = ("", "ai.onnx")


def onnx_key(op_type: str, domain: str = "") -> str:
    """How an operator type is registered and reported: with its domain, unless that is ONNX's own."""
    return op_type if domain in _DEFAULT_DOMAINS else f"{domain}.{op_type}"


def onnx_op(*op_types: str, domain: str = "") -> Callable[[ImportFunction], ImportFunction]:
    """Register a function as the importer of these ONNX operator types of a domain (by default ONNX's own)."""

    def register(function: ImportFunction) -> ImportFunction:
        for op_type in (onnx_key(name, domain) for name in op_types):
            known = ONNX_OPS.setdefault(op_type, function)
            if known.__module__ != function.__module__:
                raise ValueError(
                    f"ONNX operator '{op_type}' is imported by {known.__module__} and {function.__module__}"
                )
            ONNX_OPS[op_type] = function
        return function

    return register
