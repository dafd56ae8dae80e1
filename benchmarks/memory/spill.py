"""Spilling: bytes copied off-chip, beside greedy placement with Belady replacement and the published program."""

from __future__ import annotations

from typing import Any

from dnncc.passes.planning import order
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.spill.problem import SpillProblem, SpillSolution
from dnncc.passes.planning.spill.reference import solve_reference
from dnncc.passes.planning.spill.solve import solve

from benchmarks.bars import Bar
from benchmarks.memory.architectures import CLASSIC, SEARCHED, build
from benchmarks.memory.belady import belady
from benchmarks.memory.suite import Options, Outcome, Say, Watch
from benchmarks.tables import Table

REDUCTION = 84.0
MEAN_SECONDS = 0.3
REFERENCE_SECONDS = 600.0

_COSMA = (
    "COSMA (arXiv 2311.18246, Gurobi): 84 % fewer non-compulsory bytes on average, 0.296 s on average; its divide and "
    "conquer on the searched networks 85 %, about two minutes."
)


def run(options: Options, say: Say) -> Outcome:
    """Every network with and without parameters, at M_R, M_P and their mean."""
    rows, bars, records = [], [], []
    reductions: list[float] = []
    seconds: list[float] = []
    for name in CLASSIC | SEARCHED:
        for parameters in (False, True):
            label = f"{name}{'+params' if parameters else ''}"
            if not options.wants(label):
                continue
            problem = build(name, parameters)
            quiet = order.solve(problem)
            least, _ = SpillModel(SpillProblem(problem, 0)).largest_working_set()
            budgets = {"M_R": least, "mean": (least + quiet.peak) // 2, "M_P": quiet.peak}
            for budget, capacity in budgets.items():
                watch = Watch()
                with watch.timed() as spent:
                    found = solve(SpillProblem(problem, capacity), threads=options.threads)
                orders = (tuple(range(len(problem.operators))), quiet.order)
                base = min(belady(problem, o, capacity) for o in orders)
                ilp = _reference(problem, capacity, found, options)
                say(f"{label} {budget}: {found.bytes} bytes (bound {found.bound}), Belady {base}")
                if name in CLASSIC:
                    seconds.append(spent.cpu)
                saved = 100 * (1 - found.bytes / base) if base else None
                if saved is not None:
                    reductions.append(saved)
                shown = "nothing to lose" if saved is None else f"{saved:.1f} %"
                rows.append(
                    (
                        label,
                        f"{len(problem.operators)}",
                        budget,
                        f"{capacity}",
                        f"{found.bytes}",
                        f"{found.bound}",
                        found.status,
                        f"{base}",
                        shown,
                        ilp,
                        f"{spent.cpu:.2f}",
                    )
                )
                records.append(_record(label, budget, capacity, found, base, spent.cpu))
                if budget == "M_P":
                    moved = f"{found.bytes}"
                    bars.append(Bar(label, "bytes at M_P", moved, "0", found.bytes == 0))
                if ilp.isdigit():
                    fewer = found.bytes <= int(ilp)
                    bars.append(Bar(label, f"bytes at {budget}", f"{found.bytes}", f"{ilp} (program)", fewer))
    if reductions:
        mean = sum(reductions) / len(reductions)
        bars.append(
            Bar("all", "fewer bytes than Belady", f"{mean:.1f} %", f"{REDUCTION:.0f} %", mean >= REDUCTION)
        )
    if seconds:
        mean = sum(seconds) / len(seconds)
        bars.append(Bar("classic", "mean seconds", f"{mean:.2f} s", f"{MEAN_SECONDS} s", mean < MEAN_SECONDS))
    head = (
        "network", "operators", "budget", "scratchpad", "bytes", "bound", "status", "Belady", "fewer",
        "program", "CPU seconds",
    )  # fmt: skip
    notes = (
        _COSMA,
        "M_R: largest working set; M_P: least peak; +params: an operator's parameters lie there while it runs.",
        "Belady: the better of the given order and that of least peak; most of it comes from fragmentation.",
        "Copies of parameters are compulsory and not counted.",
        "program: the published integer program; 'proven' where our bound over all orders is met: none is better.",
    )
    table = Table("Spilling: bytes copied off-chip and back", head, tuple(rows), notes)
    return Outcome((table,), tuple(bars), tuple(records))


def _reference(problem: OrderProblem, capacity: int, found: SpillSolution, options: Options) -> str:
    """Bytes of the published program where it might say something and ends in time."""
    if found.status == "optimal":
        return "proven"
    if len(problem.operators) > 200:
        return "not tried"
    answer = solve_reference(
        SpillProblem(problem, capacity), time_limit=REFERENCE_SECONDS, threads=options.threads
    )
    return f"{answer.bytes}" if answer.optimal else "not in 10 min"


def _record(
    label: str, budget: str, capacity: int, found: SpillSolution, base: int, seconds: float
) -> dict[str, Any]:
    return {
        "instance": label,
        "budget": budget,
        "scratchpad": capacity,
        "bytes": found.bytes,
        "bound": found.bound,
        "status": found.status,
        "belady": base,
        "cpu_seconds": seconds,
    }
