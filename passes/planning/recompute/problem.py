"""Recomputation under a memory budget: the problem and its solution, as plain immutable data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnncc.passes.planning.problem import OrderProblem

Status = Literal["optimal", "feasible", "infeasible", "unknown"]
"""Proven least work; a plan, not proven best; proven that there is none; none found."""


@dataclass(frozen=True)
class RematProblem:
    """Which operators should run more than once, and when, for the least work within a memory budget?

    A *sequence* runs every operator at least once, after what it reads. Every further execution of an operator
    creates new copies of its outputs; a reader takes the latest copy before it, and a copy lives from its
    execution to its last reader (the latest copy of a graph output to the end). Otherwise memory is counted as
    in `OrderProblem`. An operator runs once only if it writes a view, or a tensor of which another operator
    writes a view: its bytes may be written in parts then. Or if the problem says so.

    Attributes:
        graph: operators, tensors and outputs, in a valid order: the given one.
        work: of one execution of each operator, in any unit, at least 0.
        budget: bytes that no step may exceed.
        fixed_order: whether the operators must run for the first time in the given order.
        once: operators that must not run twice.
    """

    graph: OrderProblem
    work: tuple[int, ...]
    budget: int
    fixed_order: bool = False
    once: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RematSolution:
    """A sequence of executions.

    Attributes:
        sequence: operator indices as they run, with repeats. Where the status is "infeasible" or "unknown" it
            is the one of the lowest peak found, which exceeds the budget.
        peak: bytes at its worst step.
        added: work of all executions beyond the first ones.
        bound: no sequence within the budget adds less work.
        least_budget: no sequence at all has a lower peak than this.
        least_operator: the operator that sets `least_budget`, or None if what lives from the start does.
        status: "optimal" if and only if the peak keeps within the budget and added equals bound.
        interrupted: Ctrl-C or the time limit ended the search, so another run may give another answer.
    """

    sequence: tuple[int, ...]
    peak: int
    added: int
    bound: int
    least_budget: int
    least_operator: int | None
    status: Status
    interrupted: bool = False
