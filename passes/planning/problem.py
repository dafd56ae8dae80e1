"""The problems of the memory planner and their solutions, as plain immutable data.

All sizes, offsets and distances are in bytes. A *storage* is what occupies memory: a tensor that is no view,
together with every view of it, direct or through other views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["optimal", "feasible", "infeasible"]
"""Proven best, not proven best, proven that nothing satisfies the problem (only where capacities are hard)."""

Progress = Callable[[int, int], None]
"""Called with (best value so far, proven lower bound) whenever a solver has news and at regular intervals."""


@dataclass(frozen=True)
class Overlap:
    """An operator may write `output` over `input`, which nobody reads afterwards.

    The two may share bytes when ``offset(output) + distance <= offset(input)``; else they must be disjoint.
    Distance 0 allows the same address or a lower one, a positive distance asks the output to start that much
    below the input, a negative one lets it start up to that much above. ``distance >= size(output)`` means
    disjoint, as without the rule. The rule has effect only where the input dies at the operator that creates
    the output.

    Attributes:
        output: tensor index (`Operator`) or buffer id (`PlaceProblem`).
        input: likewise.
        distance: bytes.
    """

    output: int
    input: int
    distance: int


@dataclass(frozen=True)
class Tensor:
    """Bytes that operators exchange.

    Attributes:
        size: bytes in the arena; 0 for what lives elsewhere (constants, inputs and outputs owned by the
            caller).
        view_of: index of the tensor whose storage this one shares, or None.
        view_offset: where the view starts, in bytes from the start of `view_of`.
    """

    size: int
    view_of: int | None = None
    view_offset: int = 0


@dataclass(frozen=True)
class Operator:
    """One step of the computation.

    Attributes:
        inputs: indices of the tensors it reads.
        outputs: indices of the tensors it creates; no other operator creates them.
        workspace: scratch bytes in the arena while it runs.
        overlaps: which outputs may share bytes with which inputs, in tensor indices. An input without a rule
            stays intact, and so does its whole storage, even where another view of that storage has a rule.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    workspace: int = 0
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True)
class OrderProblem:
    """In which order should the operators run for the least peak memory?

    A storage lives from the first operator that touches it (from the start, if no operator creates its base
    tensor and some operator reads it) to the last one, or beyond the end if it holds a graph output. A view
    that no operator creates is available with the tensor it views. The memory at a step is the sum of the
    living storages and of the workspace; storages that an operator's rules allow to overlap count by the
    least span that the rules allow them together (see `footprint`).

    Attributes:
        tensors: all tensors.
        operators: in a valid order, which is the one to beat.
        outputs: indices of the tensors that live to the end.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class OrderSolution:
    """An order of the operators.

    Attributes:
        order: operator indices as they run.
        peak: bytes at the worst step.
        bound: no order has a smaller peak than this.
        status: "optimal" if and only if peak == bound.
        nodes: search states expanded (0 if a heuristic met the bound).
        interrupted: Ctrl-C or the time limit ended the search, so another run may give another answer.
    """

    order: tuple[int, ...]
    peak: int
    bound: int
    status: Status
    nodes: int
    interrupted: bool = False


@dataclass(frozen=True)
class Buffer:
    """Bytes that need an address for some time.

    Attributes:
        id: unique in the problem.
        lower: first step at which it lives.
        upper: first step at which it does not live any more (half-open).
        size: bytes; an empty buffer conflicts with nothing.
        alignment: its offset is a multiple of this.
        accesses: bytes that are read from it and written to it while it lives; what pools of different speed
            are chosen by.
    """

    id: int
    lower: int
    upper: int
    size: int
    alignment: int = 1
    accesses: int = 0


@dataclass(frozen=True)
class Pool:
    """One of several memories with an address space of its own.

    Attributes:
        name: for messages.
        bytes: its capacity; None for no limit.
        cost: of one byte read or written, in any unit, such as cycles of waiting times a common factor.
    """

    name: str
    bytes: int | None = None
    cost: int = 0


@dataclass(frozen=True)
class PlaceProblem:
    """Where should every buffer lie, for the least arena, or in which of several pools at the least cost?

    Attributes:
        buffers: two that live at a common step must be disjoint (or in different pools), unless a rule says
            otherwise.
        overlaps: in buffer ids, at most one per pair. The two must meet at exactly one step: the last one of
            the input and the first one of the output.
        capacity: a height that is good enough: the search stops there. None asks for the least height. Not
            together with pools.
        pools: where buffers may lie, each starting at an offset that suits every alignment. With pools the
            objective is the sum over the buffers of their accesses times the cost of their pool, subject to
            the capacities. Without, there is one arena without limit.
    """

    buffers: tuple[Buffer, ...]
    overlaps: tuple[Overlap, ...] = ()
    capacity: int | None = None
    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True)
class PlaceSolution:
    """An address for every buffer.

    Attributes:
        offsets: of `PlaceProblem.buffers`, in their order.
        height: the arena's size, or the sum of the pools' heights. It may exceed the problem's capacity;
            where bound does too, nothing fits.
        bound: no placement has a smaller height than this.
        status: without pools "optimal" if and only if height == bound. With pools "optimal" if and only if
            everything fits and cost == cost_bound, "infeasible" if nothing fits for certain.
        method: which stage found it: "first-fit", "local-search", "branch-and-bound" or "cp-sat".
        placements: how many complete placements the heuristics tried.
        pairs: how many pairs of buffers conflict.
        interrupted: Ctrl-C or the time limit ended the search, so another run may give another answer.
        pools: index of every buffer's pool; all 0 without pools.
        heights: of the pools, in their order (of the only arena without pools).
        fits: whether no height exceeds its pool's bytes (the capacity, without pools).
        cost: the sum of accesses times cost; 0 without pools.
        cost_bound: no placement that fits costs less.
    """

    offsets: tuple[int, ...]
    height: int
    bound: int
    status: Status
    method: str
    placements: int
    pairs: int
    interrupted: bool = False
    pools: tuple[int, ...] = ()
    heights: tuple[int, ...] = ()
    fits: bool = True
    cost: int = 0
    cost_bound: int = 0
