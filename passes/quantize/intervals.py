"""Interval analysis of integer graphs: which values can occur at all (A2Q, Colbert et al., section 3)."""

from __future__ import annotations

from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import DType
from dnncc.ops.ranges import Interval, Ranges


def node_ranges(node: Node, known: dict[Value, Interval]) -> Ranges:
    """The ranges of one node's first output; its inputs' intervals are in ``known`` (constants and unknown inputs go
    by themselves). An operator that says nothing is bounded by its output's element type.

    Raises:
        LookupError: the operator sums in 32 bits and does not say what it can reach, or its constants are not
            constant.
    """
    if all(v.type.dtype.is_integer for v in node.inputs):
        ranges = node.op.ranges(node.inputs, [interval_of(v, known) for v in node.inputs])
        if ranges is not None:
            return ranges
    out = node.outputs[0].type.dtype
    if out is DType.I32:
        raise LookupError(f"{node.op.name} says nothing of its range")
    return Ranges(Interval.of_dtype(out))


def interval_of(value: Value, known: dict[Value, Interval]) -> Interval:
    """What is known of ``value``: its data, the analysis so far, or its element type."""
    if isinstance(value, Const):
        return Interval.of_const(value)
    return known.get(value) or Interval.of_dtype(value.type.dtype)
