"""Operators that are defined by others: those that ONNX itself defines as functions, and a model's own functions.

What dnncc has no importer for is imported as the nodes of its definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dnncc.frontends.onnx_registry import ELEMENT_TYPES, onnx_key
from dnncc.ir.graph import Value
from dnncc.ir.types import DType

_ELEMENTS: dict[DType, int] = {}
for _kind, _dtype in ELEMENT_TYPES.items():
    _ELEMENTS.setdefault(_dtype, _kind)


def definition(
    node: Any, opset: int, operands: Sequence[Value | None], functions: Iterable[Any]
) -> Any | None:
    """The body of a node whose operator is defined by other operators, as a ``GraphProto`` whose inputs are the
    operands that the node has and whose outputs are the results that it names; None for an operator that is defined
    by no others.

    Args:
        node: the ``NodeProto``.
        opset: the version of the default domain.
        operands: the node's, None for what is left out.
        functions: the model's own ``FunctionProto``.
    """
    for function in functions:
        if (function.domain, function.name) == (node.domain, node.op_type):
            return _body(node, function, operands, ())
    return _of_onnx(node, opset, operands) if not onnx_key("", node.domain) else None


def _of_onnx(node: Any, opset: int, operands: Sequence[Value | None]) -> Any | None:
    import onnx
    from onnx import FunctionProto, TypeProto, helper

    if not onnx.defs.has(node.op_type):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=opset)
    except onnx.defs.SchemaError:
        return None  # newer than the model's opset
    if schema.has_context_dependent_function:
        version = _version(schema.context_dependent_function_opset_versions, opset)
        types = [
            TypeProto() if v is None else helper.make_tensor_type_proto(_ELEMENTS[v.type.dtype], v.type.shape)
            for v in operands
        ]
        data = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), [t.SerializeToString() for t in types]
        )
    elif schema.has_function:
        version = _version(schema.function_opset_versions, opset)
        data = schema.get_function_with_opset_version(version)
    else:
        return None
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.type]
    return _body(node, FunctionProto.FromString(data), operands, defaults)


def _version(versions: Iterable[int], opset: int) -> int:
    """The newest that the opset has; the oldest where none is old enough."""
    known = list(versions)
    return max((v for v in known if v <= opset), default=min(known))


def _body(node: Any, function: Any, operands: Sequence[Value | None], defaults: Iterable[Any]) -> Any:
    """The function with the node's attributes, or their defaults, in place of its own references to them."""
    from onnx import GraphProto, helper

    body = GraphProto(name=node.op_type)
    given = {a.name: a for a in (*defaults, *function.attribute_proto, *node.attribute)}
    present = {name for name, v in zip(function.input, operands, strict=False) if v is not None}
    absent = set(function.input) - present
    body.input.extend(helper.make_empty_tensor_value_info(n) for n in function.input if n in present)
    wanted = [n for n, asked in zip(function.output, node.output, strict=False) if asked]
    body.output.extend(helper.make_empty_tensor_value_info(n) for n in wanted)
    body.node.extend(function.node)
    _resolve(body, given, absent)
    return body


def _resolve(graph: Any, given: Mapping[str, Any], absent: set[str]) -> None:
    """Attributes that refer to the function's become the node's; what the node leaves out is left out."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in absent:
                node.input[i] = ""
        while node.input and not node.input[-1]:
            del node.input[-1]
        for i in reversed(range(len(node.attribute))):
            attribute = node.attribute[i]
            if attribute.ref_attr_name:
                name, source = attribute.name, given.get(attribute.ref_attr_name)
                del node.attribute[i]
                if source is not None:
                    node.attribute.add().CopyFrom(source)
                    node.attribute[-1].name = name
            else:
                for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    _resolve(inner, given, absent)
