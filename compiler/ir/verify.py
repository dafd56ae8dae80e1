"""The verifiers: what every graph must satisfy, and what an integer-only graph must satisfy besides."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from dnncc.errors import Culprit, InvalidGraphError, QuantizationError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import TensorType

_BORDER = ("quantize", "dequantize")


def verify(graph: Graph) -> None:
    """Check that ``graph`` is well formed, bodies of nodes included.

    Every value is defined once and before its use under a name of its own, every node's output types are what
    its operator infers (element type and shape; quantization is an annotation), every constant's data has its
    type.

    Raises:
        InvalidGraphError: with every problem as a culprit.
    """
    problems = list(_problems(graph))
    if problems:
        raise InvalidGraphError(f"graph '{graph.name}' is not well formed", problems)


def _problems(graph: Graph) -> Iterator[Culprit]:
    defined: set[Value] = set()
    for value in graph.inputs:
        if isinstance(value, Const):
            yield Culprit(f"%{value.name}", reason="a constant cannot be an input")
        if value in defined:
            yield Culprit(f"%{value.name}", reason="is an input twice")
        defined.add(value)
    made = {value for node in graph.nodes for value in node.outputs}
    for node in graph.nodes:
        for value in node.inputs:
            if value not in defined and not isinstance(value, Const):
                yield _at(
                    node,
                    f"reads %{value.name}, which is {'defined later' if value in made else 'not defined'}",
                )
        for value in node.outputs:
            if isinstance(value, Const) or value in defined:
                yield _at(node, f"defines %{value.name}, which is {_what(value)} already")
            defined.add(value)
        yield from _type_problems(node)
        for body in node.op.attributes().values():
            if isinstance(body, Graph):
                yield from (_within(node, problem) for problem in _problems(body))
    for value in graph.outputs:
        if value not in defined and not isinstance(value, Const):
            yield Culprit(f"%{value.name}", reason="is an output but not defined")
    values = list(graph.values())
    for name, count in Counter(v.name for v in values).items():
        if count > 1:
            yield Culprit(f"%{name}", reason=f"names {count} values")
    for value in values:
        yield from (Culprit(f"%{value.name}", reason=reason) for reason in _value_problems(value))


def _at(node: Node, reason: str) -> Culprit:
    return Culprit(node.name, node.op.name, reason)


def _within(node: Node, problem: Culprit) -> Culprit:
    return Culprit(f"{node.name}: {problem.name}", problem.op, problem.reason)


def _what(value: Value) -> str:
    return "a constant" if isinstance(value, Const) else "defined"


def _type_problems(node: Node) -> Iterator[Culprit]:
    try:
        inferred = node.op.infer(*(v.type for v in node.inputs))
    except ValueError as error:  # TypeMismatchError, a wrong number of operands, shapes that do not broadcast
        yield _at(node, str(error))
        return
    if len(inferred) != len(node.outputs):
        yield _at(node, f"has {len(node.outputs)} outputs, its operator {len(inferred)}")
        return
    for value, expected in zip(node.outputs, inferred, strict=True):
        if value.type.plain() != expected.plain():
            yield _at(
                node, f"%{value.name} is {value.type.plain()}, but its operator gives {expected.plain()}"
            )


def _value_problems(value: Value) -> Iterator[str]:
    type = value.type
    if any(d < 1 for d in type.shape):
        yield f"has an empty or unknown dimension: {type.plain()}"
    if isinstance(value, Const) and (value.data.dtype != type.dtype.numpy or value.data.shape != type.shape):
        yield f"is {type.plain()}, but its data is {value.data.dtype}{list(value.data.shape)}"
    yield from _quantization_problems(type, isinstance(value, Const))


def _quantization_problems(type: TensorType, is_const: bool) -> Iterator[str]:
    """A float constant may have a scale: its elements are multiples of it."""
    q = type.quantization
    if q is None:
        return
    if not type.dtype.is_integer and not is_const:
        yield f"has a scale, but its elements are {type.dtype.value}"
    if not all(math.isfinite(s) and s > 0 for s in q.scale):
        yield "has a scale that is not positive and finite"
    if q.axis is None and len(q.scale) != 1:
        yield f"has {len(q.scale)} scales but no axis"
    if q.axis is not None and (not 0 <= q.axis < type.rank or len(q.scale) != type.shape[q.axis]):
        yield f"has {len(q.scale)} scales along axis {q.axis} of {type.plain()}"


def verify_integer(graph: Graph) -> None:
    """Check that ``graph`` is integers only and never divides.

    Floats may appear only at the border: an input that nothing but ``quantize`` reads, and an output
    that ``dequantize`` defines and nothing reads.

    Raises:
        QuantizationError: with every offending node or value as a culprit.
    """
    problems = list(_float_problems(graph, set(graph.inputs), set(graph.outputs)))
    if problems:
        raise QuantizationError(f"graph '{graph.name}' is not integers only", problems)


def _float_problems(graph: Graph, entries: set[Value], exits: set[Value]) -> Iterator[Culprit]:
    """``entries`` and ``exits``: the values of ``graph`` that are the network's own inputs and outputs."""
    for node in graph.nodes:
        if getattr(node.op, "divides", False):
            yield _at(node, "divides at run time")
        bodies = [body for body in node.op.attributes().values() if isinstance(body, Graph)]
        for body in bodies:
            inner_entries = {b for b, v in zip(body.inputs, node.inputs, strict=True) if v in entries}
            inner_exits = {b for b, v in zip(body.outputs, node.outputs, strict=True) if v in exits}
            yield from (_within(node, p) for p in _float_problems(body, inner_entries, inner_exits))
        if bodies:
            continue
        border_in = node.op.name == _BORDER[0] and all(
            v in entries for v in node.inputs if not isinstance(v, Const)
        )
        border_out = node.op.name == _BORDER[1] and all(v in exits for v in node.outputs)
        floats = [v for v in node.inputs if v.type.dtype.is_float and not border_in]
        floats += [v for v in node.outputs if v.type.dtype.is_float and not border_out]
        if floats:
            yield _at(
                node,
                "computes with floats: " + ", ".join(f"%{v.name} is {v.type.dtype.value}" for v in floats),
            )
    for value in graph.outputs:
        if isinstance(value, Const) and value.type.dtype.is_float:
            yield Culprit(f"%{value.name}", reason="is a constant float output")
