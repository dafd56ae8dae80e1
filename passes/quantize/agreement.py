"""How far an integer graph is from the model whose grids it keeps to, in steps, and which node is to blame."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.passes.quantize.border import to_floats
from dnncc.passes.quantize.plan import Plan

CALIBRATED = "calibration"
REASONS = {
    CALIBRATED: "on the way are values that the model leaves in floats, on grids from calibration",
    "softmax": "exponentials come from a table and the reciprocal from Newton steps",
    "average_pool2d": "the mean of integers is exact here, and float32's of their reals there: halves fall either way",
}
ROUNDING = "halves are rounded up here, to even there, and float32 rounds sums there"
_STORED = (DType.I8, DType.U8, DType.I16)


@dataclass(frozen=True)
class Agreement:
    """One stored value of both graphs.

    Attributes:
        value: its name.
        node: the float graph's node that makes it.
        elements: how many were compared.
        differing: how many differ although their operands were the same.
        steps: the largest difference of these.
        total: the largest difference from end to end, with what earlier nodes added.
        reason: why they may differ.
    """

    value: str
    node: str
    elements: int
    differing: int
    steps: int
    total: int
    reason: str


def agreements(
    graph: Graph, integers: Graph, samples: Sequence[Sequence[Array]], calibrated: Collection[str] = ()
) -> list[Agreement]:
    """Each value on a given grid that both graphs have, in execution order of the float ``graph``.

    Args:
        graph: floats, with ``fake_quantize`` where the model gives a grid.
        integers: what quantization made of it.
        samples: arguments of ``integers``.
        calibrated: names of the values whose grids calibration chose.
    """
    if [v.name for v in graph.inputs] != [v.name for v in integers.inputs]:
        return []
    plan = Plan(graph)
    given = {v.name for n in graph.nodes for v in n.outputs if plan.is_on_given(v)}
    types = {v.name: v.type for v in integers.values() if v.name in given and _is_stored(v)}
    rows: dict[str, Agreement] = {}
    for arguments in samples:
        reals = _reals(integers, types, arguments)
        floats = [to_floats(a, v.type) for a, v in zip(arguments, integers.inputs, strict=True)]
        total = _all_values(graph, floats)
        for node, value, computed, between in _forced(graph, floats, reals, calibrated):
            step, real = types[value.name].scale, reals[value.name]
            # A clamp that follows may have been made already: what it cuts off does not matter.
            chain = plan.chain(value)
            ours, forced, whole = (
                np.clip(a.astype(np.float64), chain.low, chain.high)
                for a in (real, computed, total[value.name])
            )
            apart, whole = (np.rint(np.abs(a - ours) / step) for a in (forced, whole))
            row = Agreement(
                value.name,
                node.name,
                real.size,
                int((apart > 0).sum()),
                int(apart.max()),
                int(whole.max()),
                next((text for op, text in REASONS.items() if op in between), ROUNDING),
            )
            rows[value.name] = _joined(rows[value.name], row) if value.name in rows else row
    return list(rows.values())


def _is_stored(value: Value) -> bool:
    q = value.type.quantization
    return q is not None and q.axis is None and value.type.dtype in _STORED and not isinstance(value, Const)


def _all_values(graph: Graph, arguments: Sequence[Array]) -> dict[str, Array]:
    found = {v.name: a for v, a in zip(graph.inputs, arguments, strict=True)}
    interpret(graph, arguments, lambda n, r: found.update(zip((v.name for v in n.outputs), r, strict=True)))
    return found


def _reals(integers: Graph, types: Mapping[str, TensorType], arguments: Sequence[Array]) -> dict[str, Array]:
    """What the stored integers stand for, by name."""
    values = _all_values(integers, arguments)
    return {name: to_floats(values[name], type) for name, type in types.items()}


def _forced(
    graph: Graph, arguments: Sequence[Array], reals: Mapping[str, Array], calibrated: Collection[str]
) -> Iterator[tuple[Node, Value, Array, frozenset[str]]]:
    """What each node makes of the reals that the integers stand for, where they do for its operands.

    Yields:
        The node, its value, the array, and the operators since the reals, CALIBRATED among them if it had a part.
    """
    known: dict[Value, Array] = dict(zip(graph.inputs, arguments, strict=True))
    since: dict[Value, frozenset[str]] = {}
    for node in graph.nodes:
        results = node.op.reference(*(v.data if isinstance(v, Const) else known[v] for v in node.inputs))
        own = {node.op.name, *(CALIBRATED for v in node.outputs if v.name in calibrated)}
        between = frozenset(own).union(*(since.get(v, frozenset()) for v in node.inputs))
        for value, computed in zip(node.outputs, results, strict=True):
            real = reals.get(value.name)
            comparable = real is not None and real.shape == computed.shape and value.type.dtype.is_float
            if comparable and real is not None:
                yield node, value, computed, between
                known[value], since[value] = real, frozenset()
            else:
                known[value], since[value] = computed, between


def _joined(a: Agreement, b: Agreement) -> Agreement:
    return Agreement(
        a.value,
        a.node,
        a.elements + b.elements,
        a.differing + b.differing,
        max(a.steps, b.steps),
        max(a.total, b.total),
        a.reason,
    )
