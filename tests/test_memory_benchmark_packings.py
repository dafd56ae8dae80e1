"""Random instances of static allocation: what they are, what checks their placements, and that they are placed."""

from __future__ import annotations

from random import Random

import pytest
from dnncc.passes.planning.problem import Buffer

from benchmarks.memory.packings import collision, cut, run
from benchmarks.memory.suite import Options


@pytest.mark.parametrize("seed", range(5))
def test_the_load_is_the_capacity_at_every_step(seed: int) -> None:
    buffers = cut(Random(seed), 60, 30, 4096, 64)
    assert len(buffers) == 60
    assert all(b.size % 64 == 0 and b.lower < b.upper for b in buffers)
    for step in range(30):
        assert sum(b.size for b in buffers if b.lower <= step < b.upper) == 4096


def test_collisions_are_found() -> None:
    buffers = (Buffer(0, 0, 2, 8), Buffer(1, 1, 3, 8), Buffer(2, 2, 3, 4))
    assert collision(buffers, (0, 8, 0), 16) is None
    assert collision(buffers, (0, 7, 0), 16) == "step 1: buffer 1 begins at 7, below 8"
    assert collision(buffers, (0, 9, 0), 16) == "step 1: 17 of 16 bytes"
    assert collision(buffers, (0, 8, 5), 16) == "step 2: buffer 1 begins at 8, below 9"


def test_the_suite_measures_and_judges() -> None:
    outcome = run(Options(threads=1, only=("20x", "50x1024")), lambda text: None)
    assert [(bar.measured, bar.passed) for bar in outcome.bars] == [("5 of 5", True)] * 3
