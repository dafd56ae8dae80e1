"""Weights of few bits: how they are packed, and the kernels that unpack them on a core with and without SMLAD."""

from __future__ import annotations

from pathlib import Path

import dnncc
import numpy as np
import pytest
from conftest import Example
from dnncc.artifact import write_artifact
from dnncc.ir.types import Array
from dnncc.targets.lowering.kernels.low_bits import excess_of, pack, pack_taps, stored_bits


def _weights(bits: int, *shape: int) -> Array:
    half = 1 << (bits - 1)
    return np.random.default_rng(bits).integers(-half, half, shape).astype(np.int8)


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("words", [1, 2, 5])
def test_every_field_is_where_the_kernels_look(bits: int, words: int) -> None:
    weights = _weights(bits, 3, words, 2, 4)
    packed = pack(weights, bits)
    assert packed.dtype == np.uint32 and packed.shape == (3, -(-words * bits // 4))
    for (o, g, c, k), w in np.ndenumerate(weights):
        word = int(packed[o, g * bits // 4])
        at = bits * (c + 2 * (k % 2)) + 16 * (k // 2) + (8 * (g % 2) if bits == 2 else 0)
        assert (word >> at) % (1 << bits) - excess_of(bits) == w


def test_every_tap_is_where_the_kernels_look() -> None:
    weights = _weights(4, 3, 9, 4)
    packed = pack_taps(weights)
    assert packed.dtype == np.uint32 and packed.shape == (3, 5)
    for (q, tap, c), w in np.ndenumerate(weights):
        nibble = int(packed[q, tap // 2]) >> (8 * c + 4 * (1 - tap % 2)) & 15
        assert (nibble ^ 8) - 8 == w


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(-2, 1, 2), (-3, 1, 4), (0, 2, 4), (-8, 7, 4), (-9, 0, 8), (0, 8, 8), (0, 0, 2)]
)
def test_weights_take_the_fewest_bits_that_hold_them(low: int, high: int, bits: int) -> None:
    assert stored_bits(np.array([[low, high]], np.int8)) == bits


def test_sums_over_very_many_inputs_keep_bytes() -> None:
    assert stored_bits(np.zeros((1, 1 << 16), np.int8)) == 2
    assert stored_bits(np.zeros((1, (1 << 16) + 1), np.int8)) == 8


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_networks_of_few_bits_are_smaller_and_give_the_interpreters_bits(
    bits: int, digits: Example, tmp_path: Path
) -> None:
    found = dnncc.compile(digits.model, target="cortex-m4", calibrate=digits.calibration, weight_bits=bits)
    strategies = {code.strategy for code in found.program.code.values()}
    assert any(s.endswith("-w2" if bits == 2 else "-w4") for s in strategies)
    whole = dnncc.compile(digits.model, target="cortex-m4", calibrate=digits.calibration)
    # Biases and multipliers stay as they are.
    parameters = sum(w.size for w in _weights_of(whole))
    saved = whole.program.weights_bytes - found.program.weights_bytes
    assert saved > 0.9 * parameters * (1 - (2 if bits == 2 else 4) / 8)
    write_artifact(found, tmp_path / "net")
    samples = dict(np.load(digits.test))
    for on in ("host", "emulator"):
        result = dnncc.validate(tmp_path / "net", on=on, data={"image": samples["image"][:5]})
        assert result.match and result.values == 50
    plain = dnncc.compile(
        digits.model, target="cortex-m0plus", calibrate=digits.calibration, weight_bits=bits
    )
    write_artifact(plain, tmp_path / "plain")
    assert dnncc.validate(tmp_path / "plain", on="emulator", samples=3).match


def _weights_of(compilation: dnncc.Compilation) -> list[Array]:
    return [n.inputs[1].data for n in compilation.graph.find("conv2d", "linear")]  # type: ignore[attr-defined]
