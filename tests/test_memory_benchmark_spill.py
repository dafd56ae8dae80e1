"""The networks that spilling is measured on, and what it is compared with."""

from __future__ import annotations

import pytest
from dnncc.passes.planning.problem import Operator, OrderProblem, Tensor

from benchmarks.memory.architectures import CLASSIC, SEARCHED, build
from benchmarks.memory.belady import belady
from benchmarks.memory.spill import run
from benchmarks.memory.suite import Options

PARAMETERS = {
    "resnet50": 25.6,
    "densenet121": 8.0,
    "vit-b16": 86.6,
    "googlenet": 7.0,
    "lraspp": 3.2,
    "fcn": 33.0,
}
"""Millions, as published, for the classic networks (L-RASPP and FCN with 21 classes)."""


@pytest.mark.parametrize("name", CLASSIC)
def test_networks_have_the_published_parameters(name: str) -> None:
    bytes_ = sum(op.workspace for op in build(name, True).operators)
    assert abs(bytes_ / 1e6 - PARAMETERS[name]) < 0.04 * PARAMETERS[name]


@pytest.mark.parametrize("name", SEARCHED)
def test_searched_networks_have_hundreds_of_operators(name: str) -> None:
    assert 400 <= len(build(name, False).operators) <= 900


def test_belady_writes_once_and_moves_what_is_scattered() -> None:
    """A tensor of 4 bytes is read at the end again. The last but one fits into its place, or not: then the one of 9
    bytes beside it has to move, out and back."""

    def copied(size: int, capacity: int) -> int:
        tensors = tuple(map(Tensor, (4, 9, size, 1)))
        operators = (
            Operator((), (0,)),
            Operator((0,), (1,)),
            Operator((1,), (2,)),
            Operator((0, 2), (3,)),
        )
        return belady(OrderProblem(tensors, operators), range(4), capacity)

    assert copied(5, 18) == 0
    assert copied(4, 14) == 4 + 4
    assert copied(5, 14) == 4 + 4 + 2 * 9


def test_the_suite_measures_and_judges() -> None:
    outcome = run(Options(threads=1, only=("googlenet",)), lambda text: None)
    assert [r["bytes"] for r in outcome.records] == [0] * 6
    assert all(r["belady"] > 0 for r in outcome.records)
    assert {bar.what for bar in outcome.bars} == {"bytes at M_P", "fewer bytes than Belady", "mean seconds"}
