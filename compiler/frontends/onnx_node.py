"""One ONNX node as its importer sees it, with a record of what the importer looked at."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from dnncc.errors import Culprit, InvalidGraphError, ModelError, UnsupportedError
from dnncc.frontends.onnx_registry import Result, TensorSequence
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array

_Int = int
_Float = float
# onnx.AttributeProto.AttributeType, and the field that holds it.
_FIELDS = {"f": 1, "i": 2, "s": 3, "t": 4, "g": 5, "floats": 6, "ints": 7, "strings": 8}


class ModelNode:
    """Implements ``dnncc.frontends.onnx_registry.OnnxNode`` for a ``NodeProto`` whose operands are known.

    Args:
        proto: the ``NodeProto``.
        name: what errors call it.
        opset: the version of the default domain.
        operands: the values of its inputs; None where one is left out.
        tensor_array: turns a ``TensorProto`` into an array.
        used: the names in the model that something reads.
        declared: the shapes that the model declares for values, by name, where they are numbers.
    """

    def __init__(
        self,
        proto: Any,
        name: str,
        opset: _Int,
        operands: Sequence[Result | None],
        tensor_array: Callable[[Any], Array],
        used: Container[str] = (),
        declared: Mapping[str, tuple[_Int, ...]] | None = None,
    ) -> None:
        self.op_type: str = proto.op_type
        self.name = name
        self.opset = opset
        self._operands = list(operands)
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}
        self._outputs = list(proto.output)
        self._used = [name in used for name in proto.output]
        self._declared = declared or {}
        self._tensor_array = tensor_array
        self._seen_operands: set[_Int] = set()
        self._seen_attributes: set[str] = set()
        if len(self._attributes) != len(proto.attribute):
            raise self.invalid("an attribute is given twice")

    # -- operands ------------------------------------------------------------------------------

    @property
    def n_inputs(self) -> _Int:
        return len(self._operands)

    @property
    def n_outputs(self) -> _Int:
        return len(self._outputs)

    def is_used(self, output: _Int) -> bool:
        return output < len(self._used) and self._used[output]

    def optional(self, index: _Int) -> Value | None:
        self._seen_operands.add(index)
        found = self._operands[index] if index < len(self._operands) else None
        if isinstance(found, TensorSequence):
            raise self.unsupported(f"operand {index}, a sequence of tensors")
        return found

    def sequence(self, index: _Int) -> tuple[Value, ...]:
        self._seen_operands.add(index)
        found = self._operands[index] if index < len(self._operands) else None
        if not isinstance(found, TensorSequence):
            raise self.invalid(f"operand {index} is no sequence of tensors")
        return found.items

    def value(self, index: _Int) -> Value:
        value = self.optional(index)
        if value is None:
            raise self.invalid(f"operand {index} is missing")
        return value

    def optional_array(self, index: _Int) -> Array | None:
        value = self.optional(index)
        if value is not None and not isinstance(value, Const):
            raise self.unsupported(f"operand {index} ({value.name}) must be a constant")
        return None if value is None else value.data

    def array(self, index: _Int) -> Array:
        array = self.optional_array(index)
        if array is None:
            raise self.invalid(f"operand {index} is missing")
        return array

    def declared_shape(self, index: _Int) -> tuple[_Int, ...] | None:
        return self._declared.get(self._outputs[index])

    # -- attributes ----------------------------------------------------------------------------

    def has(self, attribute: str) -> bool:
        self._seen_attributes.add(attribute)
        return attribute in self._attributes

    def ignore(self, *attributes: str) -> None:
        self._seen_attributes.update(attributes)

    def int(self, name: str, default: _Int | None = None) -> _Int:
        return _Int(self._attribute(name, "i", default))

    def ints(self, name: str, default: Sequence[_Int] | None = None) -> tuple[_Int, ...]:
        return tuple(_Int(v) for v in self._attribute(name, "ints", default))

    def float(self, name: str, default: _Float | None = None) -> _Float:
        return _Float(self._attribute(name, "f", default))

    def floats(self, name: str, default: Sequence[_Float] | None = None) -> tuple[_Float, ...]:
        return tuple(_Float(v) for v in self._attribute(name, "floats", default))

    def string(self, name: str, default: str | None = None) -> str:
        found = self._attribute(name, "s", default)
        return found if isinstance(found, str) else bytes(found).decode("utf-8", "replace")

    def strings(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        found = self._attribute(name, "strings", default)
        return tuple(f if isinstance(f, str) else bytes(f).decode("utf-8", "replace") for f in found)

    def graph(self, name: str) -> Any:
        return self._attribute(name, "g", None)

    def tensor(self, name: str) -> Array:
        try:
            return self._tensor_array(self._attribute(name, "t", None))
        except UnsupportedError as error:
            raise self.unsupported(error.culprits[0].reason) from error
        except InvalidGraphError as error:
            raise self.invalid(error.culprits[0].reason) from error

    def _attribute(self, name: str, field: str, default: Any) -> Any:
        if not self.has(name):
            if default is None:
                raise self.invalid(f"attribute '{name}' is missing")
            return default
        attribute = self._attributes[name]
        if attribute.ref_attr_name:
            raise self.unsupported(f"attribute '{name}' refers to a function's attribute")
        if attribute.type != _FIELDS[field]:
            raise self.invalid(f"attribute '{name}' is of kind {attribute.type}, not {_FIELDS[field]}")
        return getattr(attribute, field)

    # -- errors --------------------------------------------------------------------------------

    def axis(self, value: _Int, rank: _Int) -> _Int:
        if not -rank <= value < rank:
            raise self.invalid(f"axis {value} of a tensor with {rank} dimensions")
        return value % rank

    def unsupported(self, reason: str) -> ModelError:
        return UnsupportedError(f"{self.name}: {reason}", [Culprit(self.name, self.op_type, reason)])

    def invalid(self, reason: str) -> ModelError:
        return InvalidGraphError(f"{self.name}: {reason}", [Culprit(self.name, self.op_type, reason)])

    def check_all_seen(self) -> None:
        """Raise for attributes and operands that the importer has not looked at."""
        for name in self._attributes:
            if name not in self._seen_attributes:
                raise self.unsupported(f"attribute '{name}' is not supported")
        for i, value in enumerate(self._operands):
            if value is not None and i not in self._seen_operands:
                what = "a sequence" if isinstance(value, TensorSequence) else value.name
                raise self.unsupported(f"operand {i} ({what}) is not supported")
