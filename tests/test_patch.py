"""Stages in parts of the image: the same bits, the work and the memory that the optimizer says."""

from __future__ import annotations

import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.verify import verify, verify_integer
from dnncc.passes.planning.patch.problem import Form
from dnncc.patching import state_patches, with_patches
from ir_cases import random_inputs
from patch_networks import quantized, random_cnn

SHAPES: list[tuple[Form, tuple[int, int]]] = [
    ("rows", (1, 1)),
    ("rows", (1, 3)),
    ("patches", (2, 2)),
    ("patches", (3, 1)),
    ("patches", (2, 4)),
]


def same_bits(before: Graph, after: Graph, seed: int = 0) -> None:
    inputs = random_inputs(before, seed)
    for old, new in zip(interpret(before, inputs), interpret(after, inputs), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("seed", range(12))
def test_every_stage_in_every_form_has_the_same_bits(seed: int) -> None:
    plain = quantized(random_cnn(seed))
    candidates = state_patches(plain, {}).candidates
    assert candidates
    rng = np.random.default_rng(seed)
    for index in rng.permutation(len(candidates))[:2]:
        for form, grid in SHAPES:
            patched = with_patches(plain, candidates[index], form, grid)
            verify(patched)
            verify_integer(patched)
            same_bits(plain, patched, seed)
