"""Masks of attention: what is added to logits so that a softmax gives next to nothing there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import DType
from dnncc.ops.add import Add
from dnncc.ops.logic import Where

MASKED = -1000.0
"""Logits this low say "nothing here": minus infinity, the lowest float, -10^9, or -10000."""

BOUND = -256.0
"""What stands for it in integers: e^-256 is nothing, and a grid of 8 bits that reaches it is 2^8 times finer where sums
are added up, so that the other logits lose less than 1/256."""


def bound_masks(graph: Graph) -> None:
    """Let masks be ``BOUND``: no grid could hold minus infinity, or the lowest float beside logits.

    Constants that are added to what only a softmax reads, or that such an addend is selected from or a product with;
    a selection between logits and such a constant becomes a sum.
    """
    producers, uses = graph.producers(), graph.uses()
    for node in list(graph.nodes):
        if node.op.name not in ("softmax", "log_softmax"):
            continue
        source = _behind_moves(node.inputs[0], producers)
        if source is None or any(len(uses[v]) != 1 for v in source.outputs):
            continue
        if source.op.name == "where":
            _select_to_sum(graph, source)
        for holder, index in _masks(source, producers):
            const = holder.inputs[index]
            assert isinstance(const, Const)
            holder.inputs[index] = graph.const(const.name, np.where(const.data <= MASKED, BOUND, const.data))


def mask_constants(graph: Graph) -> set[Const]:
    """The constants that ``bound_masks`` replaces."""
    bounded = graph.clone()
    before = {v.name for v in bounded.values() if isinstance(v, Const)}
    bound_masks(bounded)
    kept = {v.name for v in bounded.values() if isinstance(v, Const)}
    return {v for v in graph.values() if isinstance(v, Const) and v.name in before - kept}


def _behind_moves(value: Value, producers: dict[Value, Node]) -> Node | None:
    """The node that calculates a value, before its elements were moved."""
    node = producers.get(value)
    while node is not None and node.op.moves and node.op.name not in ("where", "concat", "pad"):
        node = producers.get(node.inputs[0])
    return node


def _masks(source: Node, producers: dict[Value, Node]) -> Iterator[tuple[Node, int]]:
    """The operands, as node and position, that are masks of a sum of logits."""
    if source.op.name != "add":
        return
    for index, operand in enumerate(source.inputs):
        if _is_mask(operand):
            yield source, index
            continue
        maker = _behind_moves(operand, producers)
        if maker is not None and maker.op.name in ("mul", "where"):
            yield from ((maker, i) for i, v in enumerate(maker.inputs) if _is_mask(v))


def _is_mask(value: Value) -> bool:
    return isinstance(value, Const) and value.type.dtype is DType.F32 and bool((value.data <= MASKED).any())


def _select_to_sum(graph: Graph, node: Node) -> None:
    """where(condition, x, mask) is x + where(condition, 0, mask), and likewise the other way round."""
    condition, *choices = node.inputs
    masks = [_is_mask(v) and isinstance(v, Const) and bool((v.data <= MASKED).all()) for v in choices]
    if masks[0] == masks[1]:
        return
    ends = [np.float32(BOUND if masked else 0.0) for masked in masks]
    if isinstance(condition, Const):
        addend: Value = graph.const("mask", np.where(condition.data, *ends).astype(np.float32))
    else:
        zeros = [graph.const("mask", np.asarray(end, np.float32)) for end in ends]
        addend = graph.insert_before(node, Where(), [condition, *zeros], f"{node.name}_mask")
    logits = choices[masks.index(False)]
    if logits.type.shape == node.output.type.shape:
        node.op, node.inputs = Add(), [logits, addend]
