"""Kernels of merged convolutions against running the convolutions one after the other, and side by side."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.passes.depth.kernel import Kernel, compose, parallel


def _run(kernel: Kernel, x: Array, pads: tuple[int, int, int, int] | None = None) -> Array:
    """The kernel on x in float64, with its own pads or others."""
    op = kernel.op if pads is None else replace(kernel.op, pads=pads)
    (y,) = op.reference(x, kernel.weights, kernel.bias)
    return y


def _kernel(rng: random.Random, c: int, o: int, *, stride: bool = True, bias: bool = True) -> Kernel:
    generator = np.random.default_rng(rng.randrange(1 << 30))
    groups = rng.choice([g for g in range(1, c + 1) if c % g == 0 and o % g == 0])
    kh, kw = rng.randint(1, 3), rng.randint(1, 3)
    op = Conv2d(
        (rng.randint(1, 2), rng.randint(1, 2)) if stride else (1, 1),
        (rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2), rng.randint(0, 2)),
        (rng.randint(1, 2), rng.randint(1, 2)),
        groups,
    )
    weights = generator.standard_normal((o, kh, kw, c // groups))
    return Kernel(op, weights, generator.standard_normal(o) if bias else np.zeros(o))


def _image(rng: random.Random, c: int) -> Array:
    return np.random.default_rng(rng.randrange(1 << 30)).standard_normal((2, 11, 12, c))


@pytest.mark.parametrize("seed", range(60))
def test_composition_is_one_after_the_other_on_an_image_padded_before(seed: int) -> None:
    rng = random.Random(seed)
    c, m, o = (rng.choice([1, 2, 4, 6]) for _ in range(3))
    first, second = _kernel(rng, c, m), _kernel(rng, m, o)
    x = _image(rng, c)
    both = compose(first, second)
    sh, sw = first.op.strides
    p, q = first.op.pads, second.op.pads
    moved = (p[0] + sh * q[0], p[1] + sw * q[1], p[2] + sh * q[2], p[3] + sw * q[3])
    expected = _run(second, _run(first, x, moved), (0, 0, 0, 0))
    found = _run(both, x)
    assert found.shape == _run(second, _run(first, x)).shape
    assert np.abs(found - expected).max() <= 1e-12 * max(1.0, np.abs(expected).max())
    assert both.op.groups == np.gcd(first.op.groups, second.op.groups)


def test_composition_says_whether_the_border_is_right() -> None:
    """Exact means equal; where it is not exact, taps may still miss the border by luck, rarely."""
    counts = {(exact, equal): 0 for exact in (False, True) for equal in (False, True)}
    for seed in range(100):
        rng = random.Random(seed)
        first, second = _kernel(rng, 2, 4, bias=rng.random() < 0.5), _kernel(rng, 4, 2)
        if rng.random() < 0.5:
            first = replace(first, weights=first.weights[:, :1, :1])
        if rng.random() < 0.3:
            second = replace(second, op=replace(second.op, pads=(0, 0, 0, 0)))
        x = _image(rng, 2)
        both = compose(first, second)
        error = np.abs(_run(both, x) - _run(second, _run(first, x))).max()
        counts[both.exact, bool(error < 1e-12)] += 1
    assert counts[True, False] == 0
    assert counts[True, True] > 30
    assert counts[False, False] > 30
    assert counts[False, True] < 5


def test_depthwise_after_depthwise_stays_depthwise() -> None:
    generator = np.random.default_rng(0)
    one = Kernel(Conv2d(groups=8), generator.standard_normal((8, 3, 3, 1)), np.zeros(8))
    both = compose(one, one)
    assert both.op.groups == 8
    assert both.weights.shape == (8, 5, 5, 1)


@pytest.mark.parametrize("seed", range(40))
def test_parallel_is_the_sum(seed: int) -> None:
    rng = random.Random(2000 + seed)
    c = rng.choice([2, 4, 6])
    generator = np.random.default_rng(seed)
    kernels = []
    strides = (rng.randint(1, 2), rng.randint(1, 2))
    for _ in range(2):
        size, groups, dilation = rng.choice([1, 3]), rng.choice([1, 2, c]), rng.randint(1, 2)
        margin = dilation * (size // 2)
        op = Conv2d(strides, (margin,) * 4, (dilation, dilation), groups)
        kernels.append(
            Kernel(op, generator.standard_normal((c, size, size, c // groups)), generator.standard_normal(c))
        )
    if strides == (1, 1) and rng.random() < 0.5:
        kernels[1] = Kernel.identity(c)
    x = _image(rng, c)
    both = parallel(*kernels)
    expected = sum(_run(kernel, x) for kernel in kernels)
    assert both.exact
    assert np.abs(_run(both, x) - expected).max() < 1e-12


def test_parameters_beyond_floats_are_refused() -> None:
    large = Kernel(Conv2d(), np.full((1, 1, 1, 1), 1e30), np.zeros(1))
    assert large.parameters() is not None
    assert compose(large, large).parameters() is None
