"""Whether what the planner chose fits, and if not: by how much, what sets the bound, and what every measure reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dnncc.errors import BudgetError, Culprit, DoesNotFitError
from dnncc.ops.fused import operator_name
from dnncc.targets.program import needs_of
from dnncc.working_set import LOWER, WorkingSet, largest_working_set

if TYPE_CHECKING:
    from dnncc.planner import Decision
    from dnncc.targets.boards import Board
    from dnncc.targets.program import Program


def check_fits(decision: Decision, program: Program, board: Board) -> None:
    """Arenas against the budget and the board's memories, constants against its flash.

    Raises:
        DoesNotFitError: they exceed the board, with every pool that they exceed.
        BudgetError: they exceed the budget only.
    """
    pools, flash = list(_pools(program, board)), list(_flash(program, board))
    if pools or flash:
        reached = [] if decision.chosen.fits else list(_reached(decision))
        raise DoesNotFitError(
            f"the network does not fit '{board.name}'",
            [*pools, *flash, *reached],
            help="choose a board with more memory (dnncc list boards), a smaller input, or a smaller network"
            + ("" if decision.chosen.fits else f"; {_lower(decision, board)}"),
        )
    if not decision.chosen.fits:
        raise _over_budget(decision, board)


def _pools(program: Program, board: Board) -> Iterator[Culprit]:
    plan = program.plan
    node = plan.steps[plan.peak_step] if plan.steps else None
    for pool in plan.pools:
        if node is not None and pool.capacity is not None and pool.bytes > pool.capacity:
            yield Culprit(
                f"pool '{pool.name}'",
                reason=f"needs {pool.bytes:,} of {pool.capacity:,} bytes, "
                f"{pool.bytes - pool.capacity:,} too many; all pools together need at least "
                f"{plan.bound_bytes:,}; the peak is at node '{node.name}' ({operator_name(node)})",
            )
    if plan.copied_bytes and board.external is None and not board.is_host:
        yield Culprit(
            plan.pools[-1].name,
            reason=f"the graph spills {plan.pools[-1].bytes:,} bytes, but the board has no pool of kind 'external'",
        )


def _flash(program: Program, board: Board) -> Iterator[Culprit]:
    flash = next((p for p in board.pools if p.kind == "flash"), None)
    if flash is None or flash.bytes is None or program.weights_bytes <= flash.bytes:
        return
    largest = max(program.steps, key=lambda s: sum(program.constants[c].nbytes for c in s.constants))
    yield Culprit(
        f"pool '{flash.name}'",
        reason=f"needs {program.weights_bytes:,} of {flash.bytes:,} bytes for weights, "
        f"{program.weights_bytes - flash.bytes:,} too many; most are of node '{largest.node.name}'",
    )


def _reached(decision: Decision) -> Iterator[Culprit]:
    """How far each measure came."""
    for tried in decision.measures:
        if tried.verdict == "baseline":
            continue
        name = f"measure '{tried.measure}'"
        if tried.arena_bytes is None:
            yield Culprit(name, reason=tried.reason)
        else:
            reached = (
                f"{tried.arena_bytes:,} bytes, {tried.reason}; at least {tried.bound_bytes:,} are needed"
            )
            yield Culprit(name, tried.detail, reached)


def _floor(decision: Decision) -> WorkingSet:
    """The least that any of the graphs that were tried needs at once."""
    sets = (largest_working_set(c.graph, needs_of(c.graph, c.code)) for c in decision.candidates)
    return min(sets, key=lambda s: s.bytes)


def _lower(decision: Decision, board: Board) -> str:
    floor = _floor(decision)
    ways = [] if floor.node is None else [LOWER.format(node=floor.node.name)]
    if board.external is None and floor.bytes <= (decision.capacity or 0):
        ways.append("a board with external memory can spill what does not fit")
    return "; ".join(ways)


def _over_budget(decision: Decision, board: Board) -> BudgetError:
    floor, budget = _floor(decision), decision.capacity or 0
    if floor.node is not None and floor.bytes > budget:
        return BudgetError(
            f"no plan keeps within {budget:,} bytes of RAM: at least {floor.bytes:,} are needed, because node "
            f"'{floor.node.name}' needs what it reads and what it writes at once",
            [*floor.culprits, *_reached(decision)],
            help=f"a budget of at least {floor.bytes:,} bytes; {_lower(decision, board)}",
        )
    least = min(c.plan.arena_bytes for c in decision.candidates)
    return BudgetError(
        f"no plan was found that keeps within {budget:,} bytes of RAM: the smallest has {least:,}, and none can have "
        f"less than {decision.bound:,}"
        + (
            "" if floor.node is None else f", of which node '{floor.node.name}' needs {floor.bytes:,} at once"
        ),
        list(_reached(decision)),
        help=f"a budget of at least {least:,} bytes; {_lower(decision, board)}",
    )
