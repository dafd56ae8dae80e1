"""The networks whose order is measured."""

from __future__ import annotations

import pytest
from dnncc.passes.planning import order

from benchmarks.memory.architectures import randwire
from benchmarks.memory.order import OPERATORS, SEEDS, instances, run
from benchmarks.memory.suite import Options


def test_every_architecture_is_there_in_both_stackings() -> None:
    names = instances()
    assert len([n for n in names if n.startswith("light-")]) == 9
    for cells in ("nasnet-a", "pnasnet-5", "amoebanet-d", "darts"):
        for stacking in ("", "-cifar"):
            assert {f"{cells}{stacking}", f"{cells}{stacking}+act"} & set(names)


@pytest.mark.parametrize("seed", SEEDS)
def test_randomly_wired_stages_are_watts_strogatz_graphs(seed: int) -> None:
    problem = randwire(seed)
    image, *nodes, average = problem.operators
    assert len(nodes) == 32
    inner = [t for op in nodes for t in op.inputs if t != image.outputs[0]]
    assert len(inner) == 32 * 4 // 2
    read = {t for op in problem.operators for t in op.inputs}
    assert all(t in read for op in nodes for t in op.outputs)
    assert problem.outputs == average.outputs


def test_the_suite_measures_and_judges() -> None:
    options = Options(threads=1, only=("light-shufflenet", "randwire-0", "darts+act"))
    outcome = run(options, lambda text: None)
    assert [r["status"] for r in outcome.records] == ["optimal"] * 3
    assert all(r["bound"] == r["peak"] < r["given_peak"] for r in outcome.records)
    assert outcome.records[2]["operators"] in OPERATORS
    assert [bar.what for bar in outcome.bars] == ["optimum"] * 3


def test_what_is_hard_forwards_is_proven_backwards() -> None:
    """30 000 states do not close this network if time only runs forwards."""
    problem = instances()["nasnet-a-cifar"]()
    solution = order.solve(problem, limit=6_000)
    assert (solution.peak, solution.status) == (442_368, "optimal")
