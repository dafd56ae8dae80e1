"""Recomputation under a memory budget: the random layered graphs of Moccasin (Bartan et al. 2023)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from dnncc.scheduling import RecomputeSchedule, recompute_graph

from benchmarks.bars import Bar
from benchmarks.memory.suite import Options, Outcome, Say, Watch, data_folder
from benchmarks.tables import Table


@dataclass(frozen=True)
class Run:
    """One instance and what it has to reach.

    Attributes:
        graph: its name.
        budget: fraction of the peak of the given order.
        fixed: whether first executions keep the given order.
        seconds: the time limit.
        limit: the largest duration increase in percent, as printed with two digits; None asks for any plan.
        optimal: whether it has to be proven.
        peer: what others reached with the order fixed, or "-".
    """

    graph: str
    budget: float
    fixed: bool
    seconds: float
    limit: float | None
    optimal: bool = False
    peer: str = "-"

    @property
    def name(self) -> str:
        return f"{self.graph}/{self.budget}/{'fixed' if self.fixed else 'free'}"


# Others: greedy insertion at the peak, measured on a two-core x86 machine; G1 also as interval models of CP-SAT.
RUNS = (
    Run(
        "G1", 0.9, True, 5, 0.79, optimal=True, peer="0.79 in 2.9 s (CP-SAT), 61.8 s (Moccasin's reservoirs)"
    ),
    Run("G1", 0.8, True, 5, 2.30, optimal=True, peer="2.30"),
    Run("G2", 0.9, True, 20, 0.90),
    Run("G2", 0.8, True, 20, 4.70),
    Run("G3", 0.9, True, 20, 0.70, peer="0.70"),
    Run("G3", 0.8, True, 20, 3.80, peer="3.84"),
    Run("G4", 0.9, True, 60, 0.70, peer="0.70 in 29 s"),
    Run("G4", 0.8, True, 60, None, peer="none in 30 s"),
    Run("G1", 0.8, False, 5, 0.0, optimal=True, peer="0 by order alone"),
    Run("G2", 0.8, False, 5, 0.0, optimal=True, peer="0 by order alone"),
    Run("G3", 0.9, False, 5, 0.0, optimal=True, peer="0 by order alone"),
    Run("G4", 0.8, False, 60, None),
)


def run(options: Options, say: Say) -> Outcome:
    """Solves every instance within its time limit."""
    folder = data_folder("rematerialization")
    if folder is None:
        return Outcome(skipped=("remat: no folder rematerialization in the data",))
    watch = Watch()
    found: dict[Run, RecomputeSchedule] = {}
    rows = []
    for each in RUNS:
        if not options.wants(each.name):
            continue
        with watch.timed():
            plan = found[each] = _solve(folder, each, options.threads)
        say(f"{each.name}: {plan.tdi_percent:.2f} % ({plan.status}) in {plan.seconds:.1f} s")
        rows.append(
            (
                each.graph,
                f"{each.budget}",
                "fixed" if each.fixed else "free",
                f"{plan.peak / plan.given_peak:.3f}",
                f"{plan.tdi_percent:.2f}",
                f"{plan.bound_percent or 0.0:.2f}",
                plan.status,
                f"{plan.seconds:.1f}",
                each.peer,
            )
        )
    bars = [bar for each, plan in found.items() for bar in _bars(each, plan)]
    pair = (Run("G4", 0.8, True, 60, None, peer="none in 30 s"), Run("G4", 0.8, False, 60, None))
    if all(each in found for each in pair):
        fixed, free = (found[each] for each in pair)
        better = free.failure is None and free.tdi_percent < fixed.tdi_percent
        limit = f"below {fixed.tdi_percent:.2f} %"
        bars.append(Bar(pair[1].name, "added work", f"{free.tdi_percent:.2f} %", limit, better))
    head = (
        "graph",
        "budget",
        "order",
        "peak",
        "TDI %",
        "bound %",
        "status",
        "seconds",
        "others (fixed order)",
    )
    notes = (
        "TDI: total duration increase over running each operator once.",
        "Budget and peak are fractions of the peak of the given order.",
        "The bound holds for any number of copies; the models of the others allow two.",
    )
    table = Table("Recomputation: random layered graphs", head, tuple(rows), notes)
    records = tuple(
        {"instance": each.name, **{k: v for k, v in asdict(plan).items() if k not in ("sequence", "failure")}}
        for each, plan in found.items()
    )
    return Outcome((table,), tuple(bars), records)


def _solve(folder: Path, each: Run, threads: int) -> RecomputeSchedule:
    path = folder / f"{each.graph}.json"
    return recompute_graph(
        path, each.budget, fixed_order=each.fixed, time_limit=each.seconds, threads=threads
    )


def _bars(each: Run, plan: RecomputeSchedule) -> list[Bar]:
    within = plan.failure is None and plan.peak <= plan.budget
    if each.limit is None:
        return [Bar(each.name, "a plan", plan.status, "feasible", within)]
    measured = f"{plan.tdi_percent:.2f} %"
    # Limits are given with two digits: what rounds to them meets them.
    good = within and round(plan.tdi_percent, 2) <= each.limit
    bars = [Bar(each.name, "added work", measured, f"{each.limit:.2f} %", good)]
    if each.optimal:
        bars.append(
            Bar(each.name, f"in {each.seconds:.0f} s", plan.status, "optimal", plan.status == "optimal")
        )
    return bars
