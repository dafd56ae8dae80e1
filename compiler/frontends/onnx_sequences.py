"""ONNX sequences of tensors that fold away: their lengths, and positions in them, are known on import."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, TensorSequence, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.concat import Concat
from dnncc.ops.slice import split


@onnx_op("SequenceEmpty")
def import_sequence_empty(g: Importer, node: OnnxNode) -> TensorSequence:
    node.ignore("dtype")
    return TensorSequence(())


@onnx_op("SequenceConstruct")
def import_sequence_construct(g: Importer, node: OnnxNode) -> TensorSequence:
    return TensorSequence(tuple(node.value(i) for i in range(node.n_inputs)))


@onnx_op("SequenceInsert")
def import_sequence_insert(g: Importer, node: OnnxNode) -> TensorSequence:
    items = list(node.sequence(0))
    # At the end there is one more place, which only its own number names: -1 is the place of the last tensor.
    items.insert(_position(node, 2, len(items), len(items), ends=True), node.value(1))
    return TensorSequence(tuple(items))


@onnx_op("SequenceErase")
def import_sequence_erase(g: Importer, node: OnnxNode) -> TensorSequence:
    items = list(node.sequence(0))
    del items[_position(node, 1, len(items) - 1, len(items))]
    return TensorSequence(tuple(items))


@onnx_op("SequenceAt")
def import_sequence_at(g: Importer, node: OnnxNode) -> Value:
    items = node.sequence(0)
    return items[_position(node, 1, 0, len(items))]


@onnx_op("SequenceLength")
def import_sequence_length(g: Importer, node: OnnxNode) -> Value:
    return g.const("length", np.array(len(node.sequence(0)), np.int64))


@onnx_op("SplitToSequence")
def import_split_to_sequence(g: Importer, node: OnnxNode) -> TensorSequence:
    x = node.value(0)
    axis = node.axis(node.int("axis", 0), x.type.rank)
    size, given = x.type.shape[axis], node.optional_array(1)
    keeps = bool(node.int("keepdims", 1)) or given is not None
    if given is None:
        lengths = [1] * size
    elif given.ndim:
        lengths = [int(n) for n in given]
    else:
        each = int(given)
        lengths = [min(each, size - i) for i in range(0, size, each)] if each > 0 else []
    if sum(lengths) != size or min(lengths, default=0) < 1:
        raise node.invalid(f"{size} elements in parts of {lengths}")
    parts = split(g, x, axis, lengths)
    if not keeps:
        parts = [g.reshape(p, (*p.type.shape[:axis], *p.type.shape[axis + 1 :])) for p in parts]
    return TensorSequence(tuple(parts))


@onnx_op("ConcatFromSequence")
def import_concat_from_sequence(g: Importer, node: OnnxNode) -> Value:
    parts: Sequence[Value] = node.sequence(0)
    if not parts:
        raise node.unsupported("an empty sequence, a result without elements")
    new = bool(node.int("new_axis", 0))
    axis = node.axis(node.int("axis"), parts[0].type.rank + new)
    if new:
        parts = [g.reshape(p, (*p.type.shape[:axis], 1, *p.type.shape[axis:])) for p in parts]
    return parts[0] if len(parts) == 1 else g.emit(Concat(axis), parts)


def _position(node: OnnxNode, operand: int, default: int, size: int, ends: bool = False) -> int:
    """A position in ``size`` places, or behind them if it may be the end; negative ones count from the end."""
    given = node.optional_array(operand)
    if given is not None and given.size != 1:
        raise node.invalid(f"a position of shape {given.shape}")
    position = default if given is None else int(given.reshape(()))
    if not -size <= position < size + ends:
        raise node.invalid(f"position {position} in a sequence with {size} places")
    return position + size if position < 0 else position
