"""The ONNX model under construction, and the table from ATen operators to what builds their nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from dnncc.ir.types import Array

OPSET = 20

# The names of torch's element types, and what numpy and ONNX call them.
ELEMENTS: dict[str, tuple[str, int]] = {
    "float32": ("float32", 1),
    "float16": ("float32", 1),
    "bfloat16": ("float32", 1),
    "float64": ("float32", 1),
    "uint8": ("uint8", 2),
    "int8": ("int8", 3),
    "int16": ("int16", 5),
    "int32": ("int32", 6),
    "int64": ("int64", 7),
    "bool": ("bool", 9),
}
"""Every floating type becomes f32, as everywhere in dnncc."""

ONNX_TYPES = dict(ELEMENTS.values())
"""numpy's names to ONNX's element types."""


@dataclass(frozen=True)
class Ref:
    """A tensor of the program: the name of its value in the ONNX model, and what is known of it.

    Attributes:
        dtype: numpy's name of the element type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("float")

    def axis(self, dim: int) -> int:
        """A dimension counted from the front."""
        return dim + max(self.rank, 1) if dim < 0 else dim


Scalar = int | float | bool
Operand = Ref | Scalar


@dataclass
class Builder:
    """Collects ONNX nodes and constants.

    Attributes:
        results: of the ATen node that is being converted, as PyTorch says: one per output, None for what is no tensor.
        label: what the nodes are named after.
    """

    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    results: Sequence[Ref | None] = ()
    label: str = ""
    _count: int = 0
    _labels: set[str] = field(default_factory=set)

    @property
    def result(self) -> Ref:
        """The only output of the ATen node."""
        (ref,) = [r for r in self.results[:1] if r is not None]
        return ref

    def fresh(self, hint: str) -> str:
        self._count += 1
        return f"{self.label}:{hint}_{self._count}"

    def emit(self, op_type: str, *operands: Ref | str | None, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        return self.emit_all(op_type, *operands, outputs=outputs, **attributes)[0]

    def emit_all(
        self, op_type: str, *operands: Ref | str | None, outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """Add a node; the names of its outputs. Attributes that are None are left out."""
        from onnx import helper

        names = [o.name if isinstance(o, Ref) else o or "" for o in operands]
        while names and not names[-1]:
            names.pop()
        made = [self.fresh(op_type) for _ in range(outputs)]
        given = {k: v for k, v in attributes.items() if v is not None}
        # Of several nodes of one operator the first has its name alone.
        label = self.label if self.label not in self._labels else f"{made[0].replace(':', '/')}"
        self._labels.add(label)
        self.nodes.append(helper.make_node(op_type, names, made, name=label, **given))
        return made

    def const(self, data: Any, dtype: str | None = None) -> str:
        """A constant tensor."""
        from onnx import numpy_helper

        array: Array = np.asarray(data) if dtype is None else np.asarray(data, dtype)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self.fresh("const")
        self.initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        )
        return name

    def ints(self, *values: int) -> str:
        """A constant i64 vector: shapes, axes, pads."""
        return self.const(np.asarray(values, np.int64))

    def tensor(self, x: Operand, dtype: str) -> str:
        """An operand as a tensor of that type: a scalar becomes a constant, another type is cast."""
        if not isinstance(x, Ref):
            return self.const(x, dtype)
        return x.name if x.dtype == dtype else self.cast(x, dtype)

    def cast(self, x: Ref | str, dtype: str) -> str:
        return self.emit("Cast", x, to=ONNX_TYPES[dtype])

    def reshape(self, x: Ref | str, shape: Sequence[int]) -> str:
        return self.emit("Reshape", x, self.ints(*shape))


Converter = Callable[..., "str | Sequence[str]"]
_F = TypeVar("_F", bound=Converter)
ATEN: dict[str, Converter] = {}
"""From an ATen operator's name such as ``aten.add.Tensor`` to what builds its ONNX nodes: called with the builder and
the operator's own arguments, tensors as ``Ref``; returns the names of the outputs."""


def aten(*names: str) -> Callable[[_F], _F]:
    """Register a converter for these operators (``add.Tensor`` for ``aten.add.Tensor``)."""

    def register(function: _F) -> _F:
        for name in names:
            full = name if name.count(".") > 1 else f"aten.{name}"
            if full in ATEN:
                raise ValueError(f"two converters of {full}")
            ATEN[full] = function
        return function

    return register
