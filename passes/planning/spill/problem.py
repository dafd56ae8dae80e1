"""Spilling to off-chip memory: the problem and its solution, as plain immutable data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnncc.passes.planning.problem import OrderProblem

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
"""Proven least traffic; a plan, not proven best; proven that there is none; none found."""

Kind = Literal["spill", "retrieve"]


@dataclass(frozen=True)
class SpillProblem:
    """In which order should operators run, and which storages leave the scratchpad when, for the least traffic?

    Whatever an operator reads, writes or uses as workspace lies in the scratchpad while it runs. A storage that is
    not needed for a while may leave: it is *spilled* (written off-chip) unless the copy there is still valid, and
    *retrieved* (read back) before its next use. A copy stays valid until an operator writes to the storage. Storages
    that no operator creates begin, and graph outputs end, in the scratchpad or off-chip, as the plan likes. Overlap
    rules of an operator have effect for an input that leaves at that operator, for good or for a while.

    Attributes:
        graph: operators, tensors and outputs, in a valid order.
        capacity: bytes of the scratchpad.
        alignment: of every storage and workspace in it, in bytes.
    """

    graph: OrderProblem
    capacity: int
    alignment: int = 1


@dataclass(frozen=True)
class Event:
    """A copy between the scratchpad and off-chip memory, made right before the operator of its step.

    Attributes:
        step: position in the order.
        kind: "spill" writes off-chip, "retrieve" reads back.
        storage: the tensor (no view) whose bytes are copied, all of them.
    """

    step: int
    kind: Kind
    storage: int


@dataclass(frozen=True)
class Residency:
    """A storage in the scratchpad.

    Attributes:
        storage: index of the tensor that is no view.
        start, end: half-open interval of steps; a graph output that stays ends one after the last step.
        offset: bytes from the scratchpad's start.
    """

    storage: int
    start: int
    end: int
    offset: int


@dataclass(frozen=True)
class SpillSolution:
    """A plan for the scratchpad.

    Attributes:
        order: operator indices as they run.
        events: sorted by step; at one step spills come before retrievals.
        residencies: sorted by start.
        workspaces: offset of every operator's workspace, None where it has none.
        bytes: that the events copy.
        bound: no plan, in any order, copies fewer. For status "infeasible", 0.
        least_capacity: bytes of the largest working set: no plan exists in fewer.
        least_operator: the operator that sets it; None for a graph without operators.
        height: bytes of the scratchpad that are used.
        status: "optimal" if and only if bytes == bound; "infeasible" and "unknown" come without residencies.
        interrupted: Ctrl-C or the time limit ended the search, so another run may give another answer.
    """

    order: tuple[int, ...]
    events: tuple[Event, ...]
    residencies: tuple[Residency, ...]
    workspaces: tuple[int | None, ...]
    bytes: int
    bound: int
    least_capacity: int
    least_operator: int | None
    height: int
    status: Status
    interrupted: bool = False
