"""The overflow proof: for each sum of an integer graph, the exact worst case of every partial sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.ir.graph import Graph, Node, Value
from dnncc.ir.types import DType
from dnncc.ops.fused import Fused
from dnncc.ops.ranges import Interval
from dnncc.passes.quantize.intervals import interval_of, node_ranges


@dataclass(frozen=True)
class Accumulator:
    """The worst case of one node that sums or computes in 32 bits.

    Attributes:
        node: its name.
        op: its operator.
        low, high: bounds of every partial sum, whatever the input; None where nothing is proven.
        bits: width of the narrowest two's complement integer that holds them; None where nothing is proven.
    """

    node: str
    op: str
    low: int | None
    high: int | None
    bits: int | None

    @property
    def proven(self) -> bool:
        """No partial sum can leave an i32."""
        return self.bits is not None and self.bits <= 32


def accumulator_intervals(graph: Graph) -> list[Accumulator]:
    """One row per node with an i32 result or an inner sum, in execution order, fused bodies included.

    Inputs are taken to be anything that their element type holds.
    """
    rows: list[Accumulator] = []
    _walk(graph, {}, rows)
    return rows


def proven(graph: Graph) -> bool:
    """Whether no accumulator of the integer ``graph`` can overflow."""
    return all(row.proven for row in accumulator_intervals(graph))


def _walk(graph: Graph, known: dict[Value, Interval], rows: list[Accumulator]) -> None:
    for node in graph.nodes:
        if isinstance(node.op, Fused):
            body = node.op.graph
            inner = _passed_on(node.inputs, body.inputs, known)
            _walk(body, inner, rows)
            known.update(_passed_on(body.outputs, node.outputs, inner))
        elif all(v.type.dtype.is_integer for v in (*node.inputs, *node.outputs)):
            _row(node, known, rows)


def _passed_on(
    values: Sequence[Value], names: Sequence[Value], known: dict[Value, Interval]
) -> dict[Value, Interval]:
    """What is known of integers under their names on the other side of a body's border."""
    pairs = zip(values, names, strict=True)
    return {name: interval_of(value, known) for value, name in pairs if value.type.dtype.is_integer}


def _row(node: Node, known: dict[Value, Interval], rows: list[Accumulator]) -> None:
    wide = any(v.type.dtype is DType.I32 for v in node.outputs)
    try:
        ranges = node_ranges(node, known)
    except LookupError:
        rows.append(Accumulator(node.name, node.op.name, None, None, None))
        return
    known[node.outputs[0]] = _bounded(ranges.output, node.outputs[0])
    if wide or ranges.partial is not None:
        whole = ranges.whole
        rows.append(Accumulator(node.name, node.op.name, whole.min, whole.max, whole.bits))


def _bounded(interval: Interval, value: Value) -> Interval:
    """What readers may rely on: a sum that is not proven to fit is no reason to assume more than its type."""
    return interval if interval.fits(value.type.dtype) else Interval.of_dtype(value.type.dtype)
