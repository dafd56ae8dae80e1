"""From the float graph to the integer graph, one operator's ``to_integer`` after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.errors import Culprit, QuantizationError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.dequantize import Dequantize
from dnncc.ops.quantize import Quantize
from dnncc.ops.reshape import Reshape
from dnncc.passes.quantize.calibrate import Observations
from dnncc.passes.quantize.context import QuantizeContext, zero_point_of
from dnncc.passes.quantize.masks import mask_constants
from dnncc.passes.quantize.options import QuantizeOptions


def lower(graph: Graph, statistics: Observations, options: QuantizeOptions) -> QuantizeContext:
    """Replace the content of the float ``graph`` by its integer form, in place.

    Integer values that stand for a float value carry its name; the others get names of their own.

    Returns:
        The context, for bias correction and reports.

    Raises:
        QuantizationError: with every operator that has no integer form; or a sum that cannot be kept within
            32 bits.
    """
    check_supported(graph)
    context = QuantizeContext(graph, statistics, options)
    inputs = [_input(context, v) for v in graph.inputs]
    for node in graph.nodes:
        for value, integer in zip(node.outputs, _integers(context, node), strict=True):
            context.bind(value, integer)
    outputs: list[Value] = []
    for value in graph.outputs:
        earlier = [o for o, f in zip(outputs, graph.outputs, strict=False) if f is not value]
        outputs.append(_output(context, value, [*inputs, *earlier]))
    border = [*zip(inputs, graph.inputs, strict=True), *zip(outputs, graph.outputs, strict=True)]
    _name_after_floats(context, border)
    graph.inputs, graph.outputs, graph.nodes = inputs, outputs, context.nodes
    graph.prune()
    return context


def _integers(context: QuantizeContext, node: Node) -> Sequence[Value]:
    """What stands for the node's results."""
    if not _has_floats(node):
        return context.keep(node)
    try:
        found = node.op.to_integer(context, node)
    except TypeMismatchError as error:
        raise context.failure(
            node.name, node.op.name, f"has no integer form for these operands: {error}"
        ) from error
    if found is None:
        graph = context.graph
        raise QuantizationError(f"'{graph.name}' cannot be quantized", [_unsupported(node.name, node.op)])
    return [found] if isinstance(found, Value) else found


def _has_floats(node: Node) -> bool:
    return any(v.type.dtype.is_float for v in (*node.inputs, *node.outputs))


def check_supported(graph: Graph) -> None:
    """QuantizationError with every operator without an integer form, and every constant that has none."""
    culprits = [
        _unsupported(n.name, n.op)
        for n in graph.nodes
        if _has_floats(n) and type(n.op).to_integer is Op.to_integer
    ]
    problems = [(n, n.op.integer_problem(n)) for n in graph.nodes if _has_floats(n)]
    culprits += [Culprit(n.name, n.op.name, problem) for n, problem in problems if problem is not None]
    infinite = [(n, v) for n in graph.nodes for v in n.inputs if _is_infinite(v)]
    masks = mask_constants(graph) if infinite else set()
    culprits += [
        Culprit(n.name, n.op.name, f"its constant %{v.name} is not finite")
        for n, v in infinite
        if v not in masks
    ]
    if culprits:
        raise QuantizationError(
            f"'{graph.name}' cannot be quantized",
            culprits,
            help="--dtype float32 compiles it without quantization",
        )


def _is_infinite(value: Value) -> bool:
    return isinstance(value, Const) and value.type.dtype.is_float and not np.isfinite(value.data).all()


def _unsupported(name: str, op: Op) -> Culprit:
    return Culprit(name, op.name, "has no integer form")


def _input(context: QuantizeContext, value: Value) -> Value:
    shape, name = value.type.shape, context.graph.fresh(value.name)
    if not value.type.dtype.is_float:
        x = Value(name, value.type)
        context.bind(value, x)
        return x
    grid = context.grid_of(value)
    if context.options.io == "float32":
        x = Value(name, TensorType(DType.F32, shape))
        op = Quantize(grid.dtype, grid.scale, grid.zero_point)
        context.bind(value, context.emit(op, [x], value.name, grid.scale, zero_point=grid.zero_point))
        return x
    x = Value(name, TensorType(grid.dtype, shape, grid.quantization))
    context.bind(value, x)
    return x


def _output(context: QuantizeContext, value: Value, taken: list[Value]) -> Value:
    is_float = value.type.dtype.is_float
    integer = context.signed(value) if is_float else context.integer(value)
    source = context.plan.producers.get(value)
    if integer in taken and source is not None:
        # What is an input or an output under another name already needs a copy under this one.
        scale, zero_point = integer.type.scale if is_float else None, zero_point_of(integer)
        copy = Reshape(integer.type.shape)
        integer = context.emit(copy, [integer], source.name, scale, zero_point=zero_point)
    if is_float and context.options.io == "float32" and not isinstance(integer, Const):
        op = Dequantize(integer.type.scale, zero_point_of(integer))
        node = context.graph.make(op, [integer], value.name)
        context.nodes.append(node)
        return node.output
    return integer


def _name_after_floats(context: QuantizeContext, border: list[tuple[Value, Value]]) -> None:
    """Give each integer value the name of the last float value that it stands for, the border's first."""
    taken: set[str] = set()
    named: set[Value] = set()
    for integer, source in [*border, *((i, f) for f, i in reversed(context.integers.items()))]:
        if integer not in named and source.name not in taken:
            integer.name = source.name
            named.add(integer)
            taken.add(source.name)
