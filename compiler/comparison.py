"""What each measure of the planner makes of a network: ``dnncc schedule MODEL --target T``, as a function."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.errors import DnnccError, UsageError
from dnncc.planner import Decision, Planner, Tried

if TYPE_CHECKING:
    from dnncc.driver import Progress
    from dnncc.ir.types import Array

BUDGETS = 4
"""How many budgets between the least bound and the plain plan are asked for, for the trade-off."""


@dataclass(frozen=True)
class Point:
    """A plan on the trade-off of RAM against work; see `Tried` for its attributes.

    Attributes:
        best: no other plan has a smaller arena without more work, or less work without a larger arena.
    """

    measure: str
    arena_bytes: int
    added_percent: float
    added_macs: int
    copied_bytes: int
    best: bool


@dataclass(frozen=True)
class Comparison:
    """The planner's choices for a network on a board. The fields are the keys of the command's JSON document, beside
    ``failure``.

    Attributes:
        target: the board.
        objective: "balanced", "time" or "ram".
        capacity_bytes: RAM that there is, all pools and the budget considered; None without limit.
        budget_bytes: what was asked for, or None.
        fits: whether any plan keeps within that.
        chosen: the measure that ``dnncc compile`` takes; None if nothing fits.
        bound_bytes: no plan by any of these measures has a smaller arena.
        measures: everything that was tried, cheapest measure first.
        curve: every plan, the smallest arena first.
        seconds: wall time.
        failure: why nothing fits, or None.
    """

    target: str
    objective: str
    capacity_bytes: int | None
    budget_bytes: int | None
    fits: bool
    chosen: str | None
    bound_bytes: int
    measures: tuple[Tried, ...]
    curve: tuple[Point, ...]
    seconds: float
    failure: DnnccError | None = None


def schedule_model(
    model: Any,
    example_inputs: Sequence[Any] | None = None,
    *,
    target: str,
    calibrate: str | Path | Mapping[str, Array] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Try every measure that could make a network fit, for the board's RAM and for several smaller budgets.

    Args:
        model, example_inputs, target, calibrate, progress, options: as for ``dnncc.compile``.

    Raises:
        ModelError, UsageError: with every culprit. That nothing fits is no error but part of the result.
    """
    from dnncc.driver import prepare, setting_of
    from dnncc.fits import check_fits
    from dnncc.options import refuse_budget, resolve
    from dnncc.targets.boards import load_board
    from dnncc.targets.hls.parts import is_hls
    from dnncc.targets.program import assemble

    if is_hls(target):
        raise UsageError(
            f"'{target}' is an FPGA", help="the planner places activations in a board's RAM; name a board"
        )
    start = time.perf_counter()
    say = progress or (lambda text: None)
    chosen = resolve(target, options)
    board = load_board(target)
    refuse_budget(chosen, "cycles", "FPGAs")
    network = prepare(model, example_inputs, chosen, calibrate, say)
    say("comparing measures")
    planner = Planner(setting_of(network.graph, chosen, board, say), chosen.optimize)
    decision = planner.explore(BUDGETS)
    taken, failure = decision.chosen, None
    try:
        check_fits(decision, assemble(chosen.name, taken.graph, taken.code, taken.plan), board)
    except DnnccError as error:
        failure = error
    return Comparison(
        target=board.name,
        objective=chosen.optimize,
        capacity_bytes=decision.capacity,
        budget_bytes=decision.budget,
        fits=failure is None,
        chosen=" + ".join(taken.measures) if failure is None else None,
        bound_bytes=decision.bound,
        measures=decision.measures,
        curve=trade_off(decision),
        seconds=round(time.perf_counter() - start, 3),
        failure=failure,
    )


def trade_off(decision: Decision) -> tuple[Point, ...]:
    """Every plan of a decision, the smallest arena first."""
    plans = [
        (t.measure, t.arena_bytes, t.added_percent, t.added_macs or 0, t.copied_bytes or 0)
        for t in decision.measures
        if t.arena_bytes is not None and t.added_percent is not None
    ]

    def beaten(arena: int, added: float) -> bool:
        return any((a, p) != (arena, added) and a <= arena and p <= added for _, a, p, _, _ in plans)

    points = {
        (arena, added): Point(measure, arena, added, macs, copied, not beaten(arena, added))
        for measure, arena, added, macs, copied in reversed(plans)
    }
    return tuple(points[key] for key in sorted(points))
