"""One meaning: the same bits from the interpreter, from every C compiler at every level, and on every core."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import dnncc
import numpy as np
import pytest
from conftest import REPOSITORY, Example
from dnncc.artifact import write_artifact
from dnncc.driver import Compilation
from dnncc.runtime.cores import CORES

sys.path.insert(0, str(REPOSITORY))  # benchmarks is no installed package

from benchmarks.bitexact import (
    CORE_LEVELS,
    Cell,
    Place,
    all_places,
    compare,
    differing_bytes,
    expected_outputs,
    find_places,
    missing_tools,
    places_inside,
    prove,
    samples_of,
)
from benchmarks.inside import with_inside
from benchmarks.networks import NAMES, find_networks

QUICK = [place for place in all_places() if place.opt not in CORE_LEVELS or place.kind == "host"]
SAMPLES = (2, 3)  # real ones; all lowest, all highest, uniform


@cache
def lacking() -> tuple[str, ...]:
    return tuple(missing_tools())


def here(place: Place) -> Place:
    missing = [tool for tool in place.tools if tool in lacking()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return place


@pytest.fixture(scope="module")
def compilation(digits: Example) -> Compilation:
    return dnncc.compile(digits.model, target="stm32f4", calibrate=digits.calibration)


@pytest.fixture(scope="module")
def artifacts(
    digits: Example, built_once: Callable[[str, Callable[[Path], object]], Path]
) -> dict[str, Path]:
    """The digits example, and the same with every kernel's output as an output."""

    def build(folder: Path) -> None:
        found = dnncc.compile(digits.model, target="stm32f4", calibrate=digits.calibration)
        write_artifact(found, folder / "digits")
        write_artifact(with_inside(found), folder / "inside")

    folder = built_once("bitexact", build)
    return {"digits": folder / "digits", "inside": folder / "inside"}


def cell(artifact: Path, place: Place) -> Cell:
    (network,), _ = find_networks(["digits"])
    samples = samples_of(network, artifact, *SAMPLES)
    return compare("digits", artifact, place, samples, expected_outputs(artifact, samples))


@pytest.mark.parametrize("place", QUICK, ids=lambda place: place.label)
def test_the_digits_network_gives_the_interpreters_bits(place: Place, artifacts: dict[str, Path]) -> None:
    found = cell(artifacts["digits"], here(place))
    assert found.problem == ""
    assert (found.samples, found.values, found.mismatches) == (5, 50, 0)


@pytest.mark.parametrize(
    "place",
    [
        Place("host", "", "zig", "-O1"),
        Place("emulator", "cortex-m0plus", "zig", "-O2"),
        Place("emulator", "cortex-m4", "zig", "-O2"),
    ],
    ids=lambda place: place.label,
)
def test_so_does_every_kernel(place: Place, artifacts: dict[str, Path]) -> None:
    found = cell(artifacts["inside"], here(place))
    assert found.problem == ""
    assert found.values > 10_000
    assert (found.samples, found.mismatches) == (5, 0)


@pytest.mark.parametrize("core", [core for core in CORES if core != "cortex-m4"])
def test_so_does_what_was_compiled_for_another_core(core: str, digits: Example, tmp_path: Path) -> None:
    dnncc.compile(digits.model, target=core, calibrate=digits.calibration, output=tmp_path / "net")
    found = cell(tmp_path / "net", Place("emulator", core, "zig", "-O2"))
    assert (found.problem, found.values, found.mismatches) == ("", 50, 0)


def test_the_inside_has_the_networks_own_kernels(compilation: Compilation) -> None:
    inside = with_inside(compilation)
    assert len(inside.graph.outputs) == len(compilation.program.steps)
    assert set(inside.program.functions.values()) == set(compilation.program.functions.values())
    assert [step.node.name for step in inside.program.steps] == [
        step.node.name for step in compilation.program.steps
    ]


def test_a_single_wrong_weight_is_found(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """The proof can fail: one weight, one more than it is."""
    changed = tmp_path / "net"
    shutil.copytree(artifacts["inside"], changed)
    weights = changed / "net_weights.c"
    text = weights.read_text()
    head, numbers = text.split("= {\n", 1)
    first, rest = numbers.split(",", 1)
    weights.write_text(f"{head}= {{\n    {int(first) + 1},{rest}")
    found = cell(changed, Place("host", "", "zig", "-O1"))
    assert found.problem == ""
    assert found.mismatches > 0
    assert not found.exact


def test_code_that_does_not_compile_is_a_problem(artifacts: dict[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "net"
    shutil.copytree(artifacts["digits"], changed)
    with (changed / "net.c").open("a") as file:
        file.write("static int unused;\n")
    found = cell(changed, Place("host", "", "zig", "-O1"))
    assert "unused" in found.problem
    assert (found.values, found.exact) == (0, False)


def test_differing_bytes() -> None:
    a = np.array([1, -1, 300], np.int32)
    assert differing_bytes(a, a.copy()) == 0
    assert differing_bytes(a, np.array([1, -1, 301], np.int32)) == 1
    assert differing_bytes(a, np.array([1, 0, 300], np.int32)) == 4
    assert differing_bytes(a.astype(np.int64), a) == 12
    assert differing_bytes(a[:2], a) == 12


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_matrix(name: str, tmp_path: Path) -> None:
    """24 samples at every place, 8 with the output of every kernel."""
    networks, missing = find_networks([name])
    if missing:
        pytest.skip(missing[0])
    cells = prove(networks, tmp_path, lambda text: None)
    outside, inside = ([c for c in cells if c.network == shown] for shown in (name, f"{name}, inside"))
    assert [c.place for c in outside] == find_places()
    assert [c.place for c in inside] == [place for place in find_places() if place in places_inside()]
    assert [(c.network, c.place.label, c.mismatches, c.problem) for c in cells if not c.exact] == []
    assert {c.samples for c in outside} == {24}
    assert {c.samples for c in inside} == {8}
