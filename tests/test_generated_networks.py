"""Random networks from end to end: the artifact's C on this machine and on emulated cores, against the references.

An integer network gives the interpreter's bits. A float network agrees with ONNX Runtime, which nobody here wrote.
Arenas and outputs hold other garbage on every run, and guards lie around every buffer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from dnncc.driver import compile_model
from dnncc.execution import run
from dnncc.validation import validate
from onnx_models import run_onnxruntime
from onnx_random import random_network

SEEDS = range(25)
EMULATED = range(0, 25, 5)
CORES = ("cortex-m4", "cortex-m0plus")
MORE_SEEDS = range(25, 325)


def samples(proto: onnx.ModelProto, count: int) -> np.ndarray:
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(7).normal(0, 1, (count, *shape)).astype(np.float32)


def compile_integers(seed: int, folder: Path) -> Path:
    """The artifact of a network in int8; some with the float border, some for the least memory."""
    proto = random_network(seed)
    options = {"io": "float32"} if seed % 4 == 3 else {"optimize": "ram"} if seed % 4 == 2 else {}
    target = "stm32f4" if seed % 2 else "host-c"
    compile_model(proto, target=target, calibrate={"x": samples(proto, 16)}, output=folder / "net", **options)
    return folder / "net"


def check_integers(seed: int, folder: Path) -> None:
    found = validate(compile_integers(seed, folder), on="host", samples=4)
    assert found.tolerance == 0.0 and found.match, found.first


def check_floats(seed: int, folder: Path) -> None:
    proto = random_network(seed)
    compile_model(proto, target="host-c", dtype="float32", output=folder / "net")
    given = samples(proto, 3)
    found = run(folder / "net", {"x": given}, on="host")
    for i, x in enumerate(given):
        for output, expected in zip(proto.graph.output, run_onnxruntime(proto, {"x": x}), strict=True):
            ours = found[output.name][i].reshape(expected.shape)
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * max(1e-6, np.abs(expected).max()))


@pytest.mark.parametrize("seed", SEEDS)
def test_integer_network_gives_the_interpreters_bits(seed: int, tmp_path: Path) -> None:
    check_integers(seed, tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_float_network_agrees_with_onnx_runtime(seed: int, tmp_path: Path) -> None:
    check_floats(seed, tmp_path)


@pytest.mark.parametrize("seed", EMULATED)
def test_emulated_cores_give_the_interpreters_bits(seed: int, tmp_path: Path) -> None:
    artifact = compile_integers(seed, tmp_path)
    for core in CORES:
        found = validate(artifact, on="emulator", core=core, samples=3)
        assert found.match, f"{core}: {found.first}"


@pytest.mark.heavy
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_more_networks(seed: int, tmp_path: Path) -> None:
    check_integers(seed, tmp_path / "integers")
    check_floats(seed, tmp_path / "floats")
