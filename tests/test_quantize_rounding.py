"""Rounding of weights that makes up for its own errors: against brute force, against nearest rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.relu import Relu
from dnncc.passes.quantize import QuantizeOptions
from dnncc.passes.quantize.metrics import layer_errors
from dnncc.passes.quantize.rounding import Moments, compensated, taps_of
from quantize_graphs import Net


def _moments(x: Array, weights: Array) -> Moments:
    moments = Moments.empty(1, weights.shape[0], weights.shape[1])
    for part in np.array_split(x, 3):
        moments.add(part[None], part @ weights.T)
    return moments


def _loss(found: Array, weights: Array, x: Array) -> Array:
    """The variance of the error of each output."""
    error: Array = ((found - weights) @ x.T).var(axis=1)
    return error


@pytest.mark.parametrize("seed", range(5))
def test_the_error_lies_between_the_best_rounding_and_the_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6)) + 3.0
    weights = rng.uniform(-3, 3, (8, 6))
    found = compensated(weights, _moments(x, weights), levels=3)
    ups = np.array(list(itertools.product((0, 1), repeat=6)))
    around = np.clip(np.floor(weights)[:, None] + ups, -4, 3)
    best = np.array(
        [min(_loss(c[None], w[None], x)[0] for c in cs) for cs, w in zip(around, weights, strict=True)]
    )
    nearest = _loss(np.clip(np.rint(weights), -4, 3), weights, x)
    reached = _loss(found, weights, x)
    assert reached.sum() < 0.7 * nearest.sum()
    assert reached.sum() < best.sum() + 0.5 * (nearest.sum() - best.sum())
    assert found.min() >= -4 and found.max() <= 3


def test_inputs_that_never_change_leave_the_weights_alone() -> None:
    weights = np.array([[0.4, 1.6, -2.5]])
    moments = _moments(np.ones((10, 3)), weights)
    assert compensated(weights, moments, levels=3).tolist() == [[0, 2, -2]]


@pytest.mark.parametrize(
    "op",
    [
        Conv2d((2, 1), (1, 0, 2, 1), (1, 2)),
        Conv2d((1, 2), (0, 1, 1, 0), groups=3),
        Conv2d(groups=6),
        Linear(),
    ],
)
def test_taps_are_what_the_operator_sums(op: Conv2d | Linear) -> None:
    rng = np.random.default_rng(0)
    groups = op.groups if isinstance(op, Conv2d) else 1
    shape = (12, 3, 2, 6 // groups) if isinstance(op, Conv2d) else (12, 6)
    x = rng.integers(-128, 128, (1, 7, 9, 6) if isinstance(op, Conv2d) else (5, 6)).astype(np.int8)
    w = rng.integers(-128, 128, shape).astype(np.int8)
    (y,) = op.reference(x, w, np.zeros(12, np.int32))
    taps = taps_of(op, x, shape)
    sums = np.einsum("gpk,gok->pgo", taps, w.reshape(groups, 12 // groups, -1).astype(np.float64))
    assert np.array_equal(sums.reshape(-1, 12), y.reshape(-1, 12))


@pytest.mark.parametrize("bits", [3, 4])
def test_low_bit_networks_come_nearer_to_the_float_network(bits: int) -> None:
    net = Net((1, 8, 8, 4), samples=16)
    x = net.inputs[0]
    for i in range(3):
        # Inputs that have much in common, as those of real layers.
        x = net.emit(Relu(), net.conv(x, 12, name=f"conv{i}"))
    ratios = {}
    for rounding in ("nearest", "compensated"):
        q = net.quantized(x, options=QuantizeOptions(weights=bits, rounding=rounding))
        ratios[rounding] = {e.value: e.sqnr for e in layer_errors(net.graph, q, net.samples)}[x.name]
    assert ratios["compensated"] > ratios["nearest"] + 1.0


def test_eight_bits_are_rounded_to_the_nearest_unless_asked() -> None:
    options = QuantizeOptions()
    assert not options.compensates
    assert QuantizeOptions(weights=4).compensates and QuantizeOptions(rounding="compensated").compensates
    with pytest.raises(Exception, match="unknown rounding 'up'"):
        QuantizeOptions(rounding="up")
