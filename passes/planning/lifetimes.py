"""From an ordered sequence of operators to buffers with lifetimes, and from placed buffers to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.passes.planning.problem import Buffer, OrderProblem, Overlap, PlaceProblem, PlaceSolution
from dnncc.passes.planning.storages import bases, producers, storage_rules


def place_problem(
    problem: OrderProblem, order: Sequence[int], alignment: int = 1, capacity: int | None = None
) -> PlaceProblem:
    """The placement problem of an order.

    Step t is the t-th operator of the order; the caller reads the graph's outputs at one more step after the
    last. A storage's buffer has the index of its base tensor as id, the workspace of operator v has
    ``len(problem.tensors) + v``. Empty storages and those that nobody touches get no buffer. A tensor counts as
    accessed once per operator that reads it and once when it is written, a workspace twice.

    Args:
        problem: the operators.
        order: a valid order of them, such as `OrderSolution.order`.
        alignment: of every buffer, in bytes.
        capacity: passed on.

    Returns:
        A problem whose height is at least the order's peak; equal if the placement loses nothing.
    """
    base = bases(problem)
    made = producers(problem)
    rules = storage_rules(problem, base)
    position = {v: now for now, v in enumerate(order)}
    end = len(problem.operators) + 1
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    accesses: dict[int, int] = {}
    for now, v in enumerate(order):
        op = problem.operators[v]
        for t in (*op.inputs, *op.outputs):
            s = base[t].storage
            first.setdefault(s, 0 if made[s] is None else now)
            last[s] = now
            accesses[s] = accesses.get(s, 0) + problem.tensors[t].size
    for t in problem.outputs:
        s = base[t].storage
        first.setdefault(s, 0)
        last[s] = end - 1
    buffers = [
        Buffer(s, first[s], last[s] + 1, problem.tensors[s].size, alignment, accesses.get(s, 0))
        for s in sorted(first)
        if problem.tensors[s].size
    ]
    buffers += [
        Buffer(
            len(problem.tensors) + v, position[v], position[v] + 1, op.workspace, alignment, 2 * op.workspace
        )
        for v, op in enumerate(problem.operators)
        if op.workspace
    ]
    overlaps = [
        Overlap(o, i, gap)
        for v in range(len(problem.operators))
        for o, i, gap in rules[v]
        if first[o] == position[v] == last[i] and made[o] is not None
    ]
    return PlaceProblem(tuple(buffers), tuple(overlaps), capacity)


@dataclass(frozen=True)
class Addresses:
    """Where everything lies in the arena, in bytes from its start; None for what has no bytes there.

    Attributes:
        tensors: of `OrderProblem.tensors`, views included.
        workspaces: of `OrderProblem.operators`.
    """

    tensors: tuple[int | None, ...]
    workspaces: tuple[int | None, ...]


def addresses(problem: OrderProblem, placing: PlaceProblem, solution: PlaceSolution) -> Addresses:
    """The addresses of tensors and workspaces.

    Args:
        problem: the operators.
        placing: what `place_problem` made of it.
        solution: a placement of that.
    """
    at = {b.id: x for b, x in zip(placing.buffers, solution.offsets, strict=True)}
    tensors = (None if b.storage not in at else at[b.storage] + b.offset for b in bases(problem))
    workspaces = (at.get(len(problem.tensors) + v) for v in range(len(problem.operators)))
    return Addresses(tuple(tensors), tuple(workspaces))
