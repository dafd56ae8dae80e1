"""A placement problem as a model of OR-tools' CP-SAT, and running its solver so that Ctrl-C ends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from dnncc.errors import InternalError
from dnncc.passes.planning.layout import Layout, Pair

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


class PlacementModel:
    """Offsets of at most `top` bytes less the size, counted in the layout's steps; heights in its grain.

    Buffers are rectangles in time and space (an input that may be overlapped, without its last step).

    Attributes:
        model: to be added to.
        at: the offsets' variables.
        height: what no buffer rises above, or None.
    """

    def __init__(self, layout: Layout, top: int) -> None:
        from ortools.sat.python import cp_model

        self.layout = layout
        self.model = cp_model.CpModel()
        self.top = top
        self.at = [
            self.model.new_int_var(0, (top - size) // layout.step[n], f"at{n}")
            for n, size in enumerate(layout.size)
        ]
        self._lent = {i for _, i in layout.rules}
        self._rectangles()

    def _end(self, n: int) -> int:
        """The first step at which the rectangle is over."""
        return self.layout.upper[n] - (n in self._lent)

    def _rectangles(self) -> None:
        layout, model = self.layout, self.model
        times, spaces = [], []
        for n, size in enumerate(layout.size):
            if (length := self._end(n) - layout.lower[n]) > 0:
                place = layout.step[n] // layout.grain * self.at[n]
                times.append(model.new_fixed_size_interval_var(layout.lower[n], length, f"time{n}"))
                spaces.append(model.new_fixed_size_interval_var(place, size // layout.grain, f"space{n}"))
        model.add_no_overlap_2d(times, spaces)

    def uncovered(self) -> list[Pair]:
        """The pairs that the rectangles do not keep apart."""
        layout = self.layout
        return [
            p
            for p in layout.pairs
            if max(layout.lower[p.a], layout.lower[p.b]) >= min(self._end(p.a), self._end(p.b))
        ]

    def separate(self, pairs: Iterable[Pair], start: Sequence[int] | None = None) -> None:
        """One Boolean per pair says who lies above whom; hinted as in `start`."""
        grain, step = self.layout.grain, self.layout.step
        for p in pairs:
            up = self.model.new_bool_var(f"{p.b}above{p.a}")
            rise = (step[p.b] // grain) * self.at[p.b] - (step[p.a] // grain) * self.at[p.a]
            self.model.add(rise >= p.above // grain).only_enforce_if(up)
            self.model.add(rise <= -(p.below // grain)).only_enforce_if(~up)
            if start is not None:
                self.model.add_hint(up, start[p.b] >= start[p.a] + p.above)

    def offsets(self, solver: cp_model.CpSolver) -> list[int]:
        """Those of the solver's answer."""
        return [solver.value(x) * s for x, s in zip(self.at, self.layout.step, strict=True)]


def prepare(threads: int) -> cp_model.CpSolver:
    """A solver with a fixed seed, without what costs much and is hardly counted in deterministic time."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = threads
    solver.parameters.random_seed = 0
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.symmetry_level = 0
    solver.parameters.catch_sigint_signal = False  # it would not give Python's handler back
    return solver


def run(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    callback: cp_model.CpSolverSolutionCallback | None = None,
) -> tuple[cp_model.CpSolverStatus, bool]:
    """The solver's status, and whether Ctrl-C ended it.

    Raises:
        InternalError: the model is invalid.
    """
    from ortools.sat.python import cp_model

    interrupted = False
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(solver.solve, model, callback)
        while not running.done():
            try:
                wait([running], timeout=0.2)  # a wait without a limit could not be interrupted everywhere
                if interrupted:
                    solver.stop_search()
            except KeyboardInterrupt:
                interrupted = True
        status = running.result()
    if status == cp_model.MODEL_INVALID:
        raise InternalError(f"the model is invalid: {model.validate()}")
    return status, interrupted
