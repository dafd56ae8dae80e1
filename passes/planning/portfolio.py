"""Placement below a given height: two searches in several orders, with little work each, then more.

Both take the buffer that can lie lowest and put it there, ties going to the earlier one of a fixed order (by demand,
life, area): the canonical search, a tenth of a millisecond per node, and CP-SAT, to which every section of time is a
machine that works off one buffer after the other, with the inference known from job-shop scheduling, and which learns
from dead ends. Which order succeeds, and how soon, differs widely: each gets its turn with a growing limit.

The limits count nodes and conflicts, and the first member of the earliest turn that has an answer gives it, however
many threads run: the answer does not depend on the clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from dnncc.errors import InternalError
from dnncc.passes.planning.canonical import Search, applies
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.cpsat import PlacementModel, prepare
from dnncc.passes.planning.layout import Layout

_NODES = 2_500
_NODES_WITH_SLACK = 8_000
"""Where the height leaves 3 % above the load, the canonical search seldom needs more."""
_SLACK = 33
_CONFLICTS = 140
_WORK = 0.1
"""CP-SAT's deterministic time, which hardly counts this search: a unit takes some thirty seconds."""
_VISITS = 5_000_000
"""Conflicts times conflicting pairs per unit of effort."""


@dataclass(frozen=True)
class Found:
    """Offsets, or proof that there are none, or neither."""

    offsets: list[int] | None = None
    refuted: bool = False
    interrupted: bool = False

    @property
    def decided(self) -> bool:
        return self.offsets is not None or self.refuted or self.interrupted


Key = Callable[[int], tuple[int, ...]]


def _keys(layout: Layout) -> dict[str, Key]:
    """Orders: most demand around the buffer first, longest life, largest area, most rivals, most sections."""
    lower, upper, near = layout.lower, layout.upper, layout.neighbours
    load = layout.loads()
    count = range(len(layout.size))
    spanned = [[now for now in load if lower[n] <= now < upper[n]] for n in count]
    demand = [max(load[now] for now in steps) for steps in spanned]
    life = [upper[n] - lower[n] for n in count]
    area = [life[n] * layout.size[n] for n in count]
    return {
        "demand, rivals": lambda n: (-demand[n], -len(near[n])),
        "demand, life": lambda n: (-demand[n], -life[n], -area[n]),
        "life": lambda n: (-life[n], -area[n], -demand[n]),
        "area": lambda n: (-area[n],),
        "rivals": lambda n: (-len(near[n]), -area[n]),
        "sections": lambda n: (-len(spanned[n]), -demand[n]),
    }


_CANONICAL = ("rivals", "sections", "demand, life")
_LEARNING = ("life", "demand, rivals", "demand, life", "area")


def search(layout: Layout, target: int, effort: float, clock: Clock, threads: int) -> Found:
    """Looks for a placement no higher than `target`.

    Args:
        layout: the problem.
        target: at least the layout's bound.
        effort: how much to try, see `place.solve`.
        clock: when to stop at the latest.
        threads: members that run at the same time.

    Raises:
        TimeUpError: nothing was found in time.
    """
    allowed = effort * _VISITS / max(len(layout.pairs), 1)
    order = {name: sorted(range(len(layout.size)), key=key) for name, key in _keys(layout).items()}
    dives = [Search(layout, target, order[name]) for name in _CANONICAL] if applies(layout) else []
    nodes = _NODES_WITH_SLACK if layout.bound() * _SLACK < target * (_SLACK - 1) else _NODES
    used = 0
    for turn in itertools.count():
        used += (_CONFLICTS << turn) * len(_LEARNING)
        if turn and used > allowed:
            break
        for dive in dives:
            dive.run(nodes << turn, clock)
            if dive.offsets is not None or dive.refuted:
                return Found(dive.offsets, dive.refuted)
        for first in range(0, len(_LEARNING), threads):
            clock.check()
            some = [order[name] for name in _LEARNING[first : first + threads]]
            found = _race([_Member(layout, target, members, turn, clock) for members in some])
            if found.decided:
                return found
    return Found()


def _race(members: Sequence[_Member]) -> Found:
    """Runs the members at the same time; the first of them that has an answer wins."""
    with ThreadPoolExecutor(len(members)) as pool:
        running = [pool.submit(member.run) for member in members]
        try:
            for task in running:
                while not task.done():
                    wait([task], timeout=0.2)  # a wait without a limit could not be interrupted everywhere
                if (found := task.result()).decided:
                    return found
            return Found()
        except KeyboardInterrupt:
            return Found(interrupted=True)
        finally:
            for task, member in zip(running, members, strict=True):
                task.cancel()
                member.solver.stop_search()


class _Member:
    """One search, in one order."""

    def __init__(self, layout: Layout, target: int, order: Sequence[int], turn: int, clock: Clock) -> None:
        from ortools.sat.python import cp_model

        self.placing = PlacementModel(layout, target // layout.grain * layout.grain)
        self.placing.separate(self.placing.uncovered())
        self.placing.model.add_decision_strategy(
            [self.placing.at[n] for n in order], cp_model.CHOOSE_LOWEST_MIN, cp_model.SELECT_MIN_VALUE
        )
        self.solver = prepare(threads=1)
        parameters = self.solver.parameters
        parameters.search_branching = cp_model.FIXED_SEARCH
        parameters.linearization_level = 0
        parameters.max_number_of_conflicts = _CONFLICTS << turn
        parameters.max_deterministic_time = _WORK * 2**turn
        if clock.left is not None:
            parameters.max_time_in_seconds = clock.left

    def run(self) -> Found:
        from ortools.sat.python import cp_model

        status = self.solver.solve(self.placing.model)
        if status == cp_model.MODEL_INVALID:
            raise InternalError(f"the placement model is invalid: {self.placing.model.validate()}")
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Found(self.placing.offsets(self.solver))
        return Found(refuted=status == cp_model.INFEASIBLE)
