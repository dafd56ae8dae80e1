"""The published integer program for order, addresses and tensor replacement at once, for small graphs.

COSMA: Combined Optimization of Scheduling, Memory Allocation and Tensor Replacement (arXiv 2311.18246), with CP-SAT in
the place of a MILP solver. It is what plans are compared with; `solve` does not use it. Steps are counted from 0; names
and numbers of the rows follow the paper's formulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.spill.problem import SpillProblem
from dnncc.passes.planning.storages import bases, producers, storage_rules


@dataclass(frozen=True)
class Reference:
    """What the program found.

    Attributes:
        bytes: spilled and retrieved, None if nothing was found.
        bound: proven.
        optimal: whether both are equal.
        infeasible: whether it is proven that there is no plan.
        rows: constraints of the program.
    """

    bytes: int | None
    bound: int
    optimal: bool
    infeasible: bool
    rows: int


def solve_reference(problem: SpillProblem, *, time_limit: float | None = None, threads: int = 1) -> Reference:
    """The program's answer.

    The formulation knows operators that create whole tensors: no storages that exist from the start, none that several
    operators write, no overlap rules. A graph output must be in the scratchpad, or spilled, at the end.

    Args:
        problem: such a graph.
        time_limit: seconds.
        threads: workers.

    Raises:
        InternalError: the graph has what the formulation does not know.
    """
    from ortools.sat.python import cp_model

    graph = problem.graph
    count = len(graph.operators)
    base = [b.storage for b in bases(graph)]
    made = producers(graph)
    _refuse(problem, base)
    size = {
        s: graph.tensors[s].size for s in sorted({*base}) if graph.tensors[s].size and made[s] is not None
    }
    # A workspace is one more output that nobody reads.
    size |= {len(base) + v: op.workspace for v, op in enumerate(graph.operators) if op.workspace}
    creator = {s: made[s] if s < len(base) else s - len(base) for s in size}
    kept = {base[t] for t in graph.outputs}
    model = cp_model.CpModel()
    steps = range(count)

    def booleans(letter: str) -> dict[tuple[int, int], Any]:
        return {(a, t): model.new_bool_var(f"{letter}{a}_{t}") for a in size for t in steps}

    runs = {(v, t): model.new_bool_var(f"run{v}_{t}") for v in steps for t in steps}
    created = {(a, t): runs[creator[a] or 0, t] for a in size for t in steps}  # (6): outputs share C
    kept_on, spilled, retrieved = booleans("P"), booleans("S"), booleans("R")
    unit = problem.alignment
    top = problem.capacity // unit
    for v in steps:
        model.add_exactly_one(runs[v, t] for t in steps)  # (7)
    for t in steps:
        model.add_exactly_one(runs[v, t] for v in steps)  # (7)
    for a in size:
        for t in steps:
            model.add_at_most_one(created[a, t], kept_on[a, t], spilled[a, t], retrieved[a, t])  # (1)
            if t:
                before = (created[a, t - 1], kept_on[a, t - 1])
                model.add_bool_or([~kept_on[a, t], *before, retrieved[a, t - 1]])  # (2)
                # After a retrieval the copy off-chip is valid, (8), so nobody spills then.
                model.add_bool_or([~spilled[a, t], *before])  # (3)
            else:
                model.add(kept_on[a, t] == 0)
                model.add(spilled[a, t] == 0)
            model.add_bool_or([~retrieved[a, t], *(spilled[a, k] for k in range(t))])  # (4)
        model.add_at_most_one(spilled[a, t] for t in steps)  # (8)
        if a in kept:
            last = count - 1
            on_chip = [created[a, last], kept_on[a, last], retrieved[a, last]]
            model.add_bool_or([*on_chip, *(spilled[a, t] for t in steps)])
    for v, op in enumerate(graph.operators):
        for b in sorted({base[t] for t in op.inputs} & size.keys()):
            for t in steps:
                model.add_bool_or([~runs[v, t], kept_on[b, t], retrieved[b, t]])  # (5)
    lies = {}
    tall = {a: -(-size[a] // unit) for a in size}
    for a in size:
        for t in steps:
            lies[a, t] = model.new_int_var(0, max(top - (size[a] // unit), 0), f"L{a}_{t}")
            model.add(unit * lies[a, t] + size[a] <= problem.capacity)  # (9)
            if t:
                model.add(lies[a, t] == lies[a, t - 1]).only_enforce_if(kept_on[a, t])  # (11)
    for t in steps:  # (10): resident tensors do not overlap
        spans = []
        for a in size:
            there = model.new_bool_var(f"there{a}_{t}")
            model.add(there == created[a, t] + kept_on[a, t] + retrieved[a, t])
            spans.append(
                model.new_optional_fixed_size_interval_var(lies[a, t], tall[a], there, f"span{a}_{t}")
            )
        model.add_no_overlap(spans)
    model.minimize(sum(size[a] * (spilled[a, t] + retrieved[a, t]) for a in size for t in steps))  # (12)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    if time_limit is not None:
        solver.parameters.max_time_in_seconds = time_limit
    status = solver.solve(model)
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the reference program is invalid: {model.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return Reference(
        bytes=round(float(solver.objective_value)) if found else None,
        bound=max(0, math.ceil(float(solver.best_objective_bound) - 1e-6)) if found else 0,
        optimal=status == cp_model.OPTIMAL,
        infeasible=status == cp_model.INFEASIBLE,
        rows=len(model.proto.constraints),
    )


def _refuse(problem: SpillProblem, base: list[int]) -> None:
    graph = problem.graph
    made = {t for op in graph.operators for t in op.outputs}
    culprits = []
    for v, op in enumerate(graph.operators):
        for t in (*op.inputs, *op.outputs):
            if graph.tensors[base[t]].size and base[t] not in made:
                culprits.append(Culprit(f"tensor {base[t]}", reason="no operator creates it"))
            if t in op.outputs and base[t] != t:
                culprits.append(Culprit(f"tensor {t}", reason=f"operator {v} creates a view"))
    if any(storage_rules(graph, bases(graph))):
        culprits.append(Culprit("overlap rules", reason="operators may overwrite their inputs"))
    if culprits:
        raise InternalError("the published program does not know", list(dict.fromkeys(culprits)))
