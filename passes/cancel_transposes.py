"""Transposes, which the ONNX importer puts around every spatial operator, cancel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.arg import ArgExtreme, Hardmax
from dnncc.ops.base import OPS, Op
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.concat import Concat
from dnncc.ops.cumulative import Cumulative
from dnncc.ops.log_softmax import LogSoftmax
from dnncc.ops.lrn import Lrn
from dnncc.ops.moved import along_outputs
from dnncc.ops.normalize import Normalize
from dnncc.ops.pad import Pad
from dnncc.ops.reduce import Reduction
from dnncc.ops.reshape import Reshape
from dnncc.ops.slice import Slice
from dnncc.ops.softmax import Softmax
from dnncc.ops.transpose import Transpose
from dnncc.passes.base import Pass
from dnncc.passes.match import Rewriter, rewrite

Perm = tuple[int, ...]
OF_ONE_AXIS = Softmax | LogSoftmax | Hardmax | ArgExtreme | Cumulative | Lrn
OF_AXES = Reduction | Normalize
"""Operators that keep every axis in its place, and say in ``axis`` or ``axes`` along which they work."""
ALONG_AXES = OF_ONE_AXIS | OF_AXES
Shape = tuple[int, ...]


@dataclass(frozen=True)
class CancelTransposes(Pass):
    """Transposes move towards the outputs, where they meet and cancel:

    - transpose of transpose is one transpose, or nothing; likewise with a reshape in between that splits and
      joins axes that the outer one keeps together (a channel shuffle);
    - a transpose that moves only axes of size 1 is a reshape;
    - f(transpose(x)) is transpose(f(x)) for elementwise f, batch_norm, concat, pad, slice, softmax, reductions and
      others along axes, if the other operands are transposed alike, constants, or need but a reshape;
    - reshape(transpose(x)) is transpose(reshape(x)) if the reshape splits and joins neighbours of x;
    - linear(reshape(transpose(x))) is linear(reshape(x)) with the columns of the weights permuted.
    """

    name: ClassVar[str] = "cancel-transposes"

    def run(self, graph: Graph) -> None:
        elementwise = [name for name, op in OPS.items() if op.elementwise]
        along_axes = [
            name for name, op in OPS.items() if issubclass(op, Concat | Pad | Slice | BatchNorm | ALONG_AXES)
        ]
        sinks = dict.fromkeys([*elementwise, *along_axes], _sink)
        rewrite(graph, {**sinks, "transpose": _merge, "reshape": _swap_with_reshape, "linear": _into_weights})


def keeps_order(perm: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether transposing a tensor of ``shape`` by ``perm`` leaves its elements in place in memory."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _merge(rewriter: Rewriter, node: Node) -> bool:
    perm = _perm(node)
    (x,) = node.inputs
    inner = rewriter.producer(x, "transpose")
    if inner is not None:
        perm = tuple(_perm(inner)[axis] for axis in perm)
        (x,) = inner.inputs
    if perm == tuple(range(len(perm))) and rewriter.replace(node.output, x):
        return True
    if keeps_order(perm, x.type.shape):
        node.op = Reshape(node.output.type.shape)
    elif inner is not None:
        node.op = Transpose(perm)
    else:
        return _merge_across_reshape(rewriter, node)
    node.inputs = [x]
    return True


def _merge_across_reshape(rewriter: Rewriter, node: Node) -> bool:
    reshape = rewriter.producer(node.inputs[0], "reshape")
    inner = None if reshape is None else rewriter.producer(reshape.inputs[0], "transpose")
    if inner is None:
        return False
    # Seen from the result, the reshape's operand is reshape(transpose(result)): what holds for the way down.
    shape = node.output.type.shape
    order = _order_in_memory(shape, _inverse(_perm(node)), inner.output.type.shape)
    if order is None:
        return False
    merged = Transpose(tuple(_perm(inner)[axis] for axis in order))
    node.op, node.inputs = (
        Reshape(shape),
        [rewriter.insert(node, merged, inner.inputs, node.output, inner.name)],
    )
    return True


def _perm(node: Node) -> Perm:
    if not isinstance(node.op, Transpose):
        raise TypeError(f"{node} is no transpose")
    return node.op.perm


def _inverse(perm: Perm) -> Perm:
    return tuple(int(i) for i in np.argsort(perm))


def _sink(rewriter: Rewriter, node: Node) -> bool:
    transpose = next((p for v in node.inputs if (p := rewriter.producer(v, "transpose")) is not None), None)
    if transpose is None or transpose.output.type.rank != node.output.type.rank:
        return False
    perm = _perm(transpose)
    op = _on_permuted_axes(node.op, perm)
    # The parameters of batch_norm are vectors along its axis, whichever that is; tables are read as a whole.
    whole = len(node.op.tables)
    broadcast = node.inputs[:1] if isinstance(node.op, BatchNorm) else node.inputs[: len(node.inputs) - whole]
    operands = [_untransposed(rewriter, node, v, perm) for v in broadcast]
    if any(v is None for v in operands):
        return False
    inputs = [*(v for v in operands if v is not None), *node.inputs[len(broadcast) :]]
    rewriter.move_behind(node, op, inputs, Transpose(perm), transpose.name)
    return True


def _on_permuted_axes(op: Op, perm: Perm) -> Op:
    """``op'`` such that ``op(transpose(x))`` is ``transpose(op'(x))``."""
    inverse = _inverse(perm)
    if isinstance(op, BatchNorm | Concat | OF_ONE_AXIS):
        return replace(op, axis=perm[op.axis])
    if isinstance(op, OF_AXES):
        return replace(op, axes=tuple(sorted(perm[axis] for axis in op.axes)))
    if isinstance(op, Pad):
        return replace(op, pads=tuple(op.pads[i] for i in inverse))
    if isinstance(op, Slice):
        starts, stops, steps = (tuple(bound[i] for i in inverse) for bound in (op.starts, op.stops, op.steps))
        return Slice(starts, stops, steps)
    return op


def _untransposed(rewriter: Rewriter, node: Node, value: Value, perm: Perm) -> Value | None:
    """A value that, transposed by ``perm``, is ``value``; None if that takes another transpose."""
    inverse = _inverse(perm)
    shape = (1,) * (len(perm) - value.type.rank) + value.type.shape
    if isinstance(value, Const):
        if value.type.size == 1:
            return value
        if value.type.quantization is not None and value.type.quantization.axis is not None:
            return None
        return rewriter.renewed(value, value.data.reshape(shape).transpose(inverse))
    producer = rewriter.producer(value, "transpose")
    if producer is not None and _perm(producer) == perm:
        return producer.inputs[0]
    if not keeps_order(inverse, shape):
        return None
    return rewriter.insert(node, Reshape(tuple(shape[axis] for axis in inverse)), [value], value)


def _swap_with_reshape(rewriter: Rewriter, node: Node) -> bool:
    transpose = rewriter.producer(node.inputs[0], "transpose")
    if transpose is None:
        return False
    (x,) = transpose.inputs
    shape = node.output.type.shape
    order = _order_in_memory(x.type.shape, _perm(transpose), shape)
    if order is None:
        return False
    reshape = Reshape(tuple(shape[axis] for axis in order))
    rewriter.move_behind(node, reshape, [x], Transpose(_inverse(order)), transpose.name)
    return True


def _order_in_memory(source: Shape, perm: Perm, result: Shape) -> Perm | None:
    """The axes of ``result = reshape(transpose(x, perm))`` in the order in which x [source] holds them.

    The shapes of the reshape are cut into blocks of as many elements; each must be a run of axes of x, but
    for axes of size 1. None if one is not.
    """
    transposed = [axis for axis in perm if source[axis] != 1]
    place = {axis: i for i, axis in enumerate(sorted(transposed))}
    places = [len(source)] * len(result)
    members: list[int] = []
    block: list[int] = []
    rest = iter(transposed)
    for axis, size in enumerate(result):
        members.append(axis)
        if size == 1:
            continue
        wanted = math.prod(result[a] for a in members)
        while math.prod(source[a] for a in block) < wanted:
            block.append(next(rest))
        if math.prod(source[a] for a in block) == wanted:
            first = place[block[0]]
            if [place[a] for a in block] != list(range(first, first + len(block))):
                return None
            for member in members:
                places[member] = first
            members, block = [], []
    return tuple(sorted(range(len(result)), key=lambda axis: places[axis]))


def _into_weights(rewriter: Rewriter, node: Node) -> bool:
    flat, w, b = node.inputs
    reshape = rewriter.producer(flat, "reshape")
    transpose = None if reshape is None else rewriter.producer(reshape.inputs[0], "transpose")
    if reshape is None or transpose is None or not isinstance(w, Const):
        return False
    (x,) = transpose.inputs
    perm, source = _perm(transpose), x.type.shape
    outputs, columns = w.type.shape
    first = len(perm)
    while math.prod(source[axis] for axis in perm[first:]) < columns:
        first -= 1
    outer = [axis for axis in perm[:first] if source[axis] != 1]
    inner = [axis for axis in perm[first:] if source[axis] != 1]
    in_memory = [axis for axis, size in enumerate(source) if size != 1]
    # The columns must be whole axes of x, and the innermost ones.
    if math.prod(source[axis] for axis in inner) != columns or outer + sorted(inner) != in_memory:
        return False
    grid = w.data.reshape(outputs, *(source[axis] for axis in inner))
    data = grid.transpose(0, *(1 + inner.index(axis) for axis in sorted(inner))).reshape(outputs, columns)
    unpermuted = rewriter.insert(node, Reshape(flat.type.shape), [x], flat, reshape.name)
    node.inputs = [unpermuted, rewriter.renewed(w, data, along_outputs(w)), b]
    return True
