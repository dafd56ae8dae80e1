"""Operator order for the least peak: real networks, randomly wired ones, and those of architecture search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnncc.passes.planning import order
from dnncc.passes.planning.problem import OrderProblem, OrderSolution

from benchmarks.bars import Bar
from benchmarks.memory.architectures import SEARCHED, SEARCHED_CIFAR, build, randwire
from benchmarks.memory.suite import Options, Outcome, Say, Seconds, Watch
from benchmarks.tables import Table

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
SEEDS = range(10)
OPERATORS = range(500, 901)
PROVEN_SECONDS = 10.0
LIMIT_SECONDS = 60.0
GAP_PERCENT = 2.0

_NOTES = (
    "gap: how far the peak may be above the optimum. given: the order in which the network is stated.",
    "+act: the activations before the operations of a cell are operators of their own.",
    "SERENITY (Ahn et al. 2020): 1.68 times less than TFLite, 1.86 times with graph rewriting, on such networks.",
    "HMCOS (Wang et al. 2022): 8.7 to 42.4 % less than the given order on networks of architecture search.",
    "MODeL (Steiner et al. 2022): about 30 % less than the given order, with Gurobi.",
    "Plain best-first search by others (Python): NASNet-A large 2.6 s, PNASNet-5 large 1.6 s, RandWire 0.4 to 19 s.",
    "The same on NASNet for CIFAR: not closed, 20 % after 25 s.",
)


def light(name: str) -> OrderProblem:
    """One of the networks that the onnx package brings, imported as it is, float activations."""
    import onnx
    from dnncc.frontends.onnx import load_onnx
    from dnncc.plan import KernelNeeds, state

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    graph = load_onnx(folder / f"light_{name}.onnx")
    return state(graph, {node: KernelNeeds(0, {}) for node in graph.nodes}).problem


def instances() -> dict[str, Callable[[], OrderProblem]]:
    """Name -> what states the problem. Networks of architecture search are there where they have as many operators
    as `OPERATORS` says."""
    found: dict[str, Callable[[], OrderProblem]] = {}
    for name in LIGHT:
        found[f"light-{name}"] = lambda name=name: light(name)
    for seed in SEEDS:
        found[f"randwire-{seed}"] = lambda seed=seed: randwire(seed)
    for name in SEARCHED | SEARCHED_CIFAR:
        for activations in (False, True):
            if len(build(name, False, activations).operators) in OPERATORS:
                label = f"{name}+act" if activations else name
                found[label] = lambda name=name, separate=activations: build(name, False, separate)
    return found


def run(options: Options, say: Say) -> Outcome:
    """Orders every instance, with a minute at most."""
    rows, bars, records = [], [], []
    for name, make in instances().items():
        if not options.wants(name):
            continue
        problem = make()
        with Watch().timed() as seconds:
            found = order.solve(problem, time_limit=LIMIT_SECONDS, threads=options.threads)
        given = max(order.loads(problem, range(len(problem.operators))))
        gap = 100 * (found.peak - found.bound) / found.bound
        say(f"{name}: {found.peak} (bound {found.bound}) in {seconds.wall:.1f} s")
        rows.append(
            (
                name,
                f"{len(problem.operators)}",
                f"{given}",
                f"{found.peak}",
                f"{found.bound}",
                f"{gap:.1f} %",
                f"{found.nodes}",
                f"{seconds.cpu:.2f}",
            )
        )
        records.append(_record(name, problem, given, found, seconds))
        bars.append(_bar(name, found, gap, seconds))
    head = ("network", "operators", "given", "peak", "bound", "gap", "states", "CPU seconds")
    table = Table("Order: peak bytes of the activations", head, tuple(rows), _NOTES)
    return Outcome((table,), tuple(bars), tuple(records))


def _bar(name: str, found: OrderSolution, gap: float, seconds: Seconds) -> Bar:
    if found.status == "optimal":
        measured = f"proven in {seconds.cpu:.1f} s"
        return Bar(name, "optimum", measured, f"{PROVEN_SECONDS:.0f} s", seconds.cpu <= PROVEN_SECONDS)
    return Bar(name, "gap after a minute", f"{gap:.1f} %", f"{GAP_PERCENT:.0f} %", gap <= GAP_PERCENT)


def _record(
    name: str, problem: OrderProblem, given: int, found: OrderSolution, seconds: Seconds
) -> dict[str, Any]:
    return {
        "instance": name,
        "operators": len(problem.operators),
        "given_peak": given,
        "peak": found.peak,
        "bound": found.bound,
        "status": found.status,
        "states": found.nodes,
        "seconds": seconds.wall,
        "cpu_seconds": seconds.cpu,
    }
