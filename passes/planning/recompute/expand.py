"""A sequence with repeats as a problem without: every execution an operator of its own, every copy a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.problem import Operator, OrderProblem, Overlap


@dataclass(frozen=True)
class Expansion:
    """The problem whose given order is the sequence.

    Attributes:
        problem: operator i is the i-th execution. The first copy of every tensor keeps its index.
        original: of every tensor, the one that it is a copy of.
    """

    problem: OrderProblem
    original: tuple[int, ...]


def expand(graph: OrderProblem, sequence: Sequence[int]) -> Expansion:
    """What `RematProblem` says about sequences, taken literally.

    Raises:
        InternalError: an operator does not run, or runs before what it reads, or repeats though it may not.
    """
    storage = [_storage(graph, t) for t in range(len(graph.tensors))]
    if set(sequence) != set(range(len(graph.operators))):
        raise _error("sequence", "not every operator runs")
    tensors = list(graph.tensors)
    original = list(range(len(tensors)))
    latest = list(original)
    created = {t for op in graph.operators for t in op.outputs}
    written: set[int] = set()
    operators = []
    for v in sequence:
        op = graph.operators[v]
        if absent := [t for t in op.inputs if not _there(graph, t, created, written)]:
            raise _error(f"operator {v}", f"runs before tensor {absent[0]} is there")
        if not written.isdisjoint(op.outputs):
            _check_repeatable(graph, v, storage)
            copied = {storage[t] for t in op.outputs}
            for t in range(len(graph.tensors)):
                if storage[t] in copied:
                    latest[t] = len(tensors)
                    tensors.append(graph.tensors[t])
                    original.append(t)
            for t in range(len(graph.tensors)):
                parent = graph.tensors[t].view_of
                if storage[t] in copied and parent is not None:
                    tensors[latest[t]] = replace(graph.tensors[t], view_of=latest[parent])
        written.update(op.outputs)
        overlaps = (Overlap(latest[r.output], latest[r.input], r.distance) for r in op.overlaps)
        operators.append(
            Operator(
                tuple(latest[t] for t in op.inputs),
                tuple(latest[t] for t in op.outputs),
                op.workspace,
                tuple(overlaps),
            )
        )
    outputs = tuple(latest[t] for t in graph.outputs)
    return Expansion(OrderProblem(tuple(tensors), tuple(operators), outputs), tuple(original))


def _storage(graph: OrderProblem, tensor: int) -> int:
    parent = graph.tensors[tensor].view_of
    return tensor if parent is None else _storage(graph, parent)


def _there(graph: OrderProblem, tensor: int, created: set[int], written: set[int]) -> bool:
    if tensor in created:
        return tensor in written
    parent = graph.tensors[tensor].view_of
    return parent is None or _there(graph, parent, created, written)


def _check_repeatable(graph: OrderProblem, v: int, storage: Sequence[int]) -> None:
    own = set(graph.operators[v].outputs)
    for t in own:
        if graph.tensors[t].view_of is not None:
            raise _error(f"operator {v}", f"runs twice, but its output {t} is a view")
    for w, op in enumerate(graph.operators):
        if w != v and any(storage[t] in own for t in op.outputs):
            raise _error(f"operator {v}", f"runs twice, but operator {w} writes into its output")


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the sequence with recomputation is not valid", [Culprit(name, reason=reason)])
