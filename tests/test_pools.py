"""Boards with several memory pools: the plan shares them, and the artifact computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commandline import dnncc, failure
from conftest import Example
from dnncc.runtime.bundle import Bundle

_BOARD = """
name = "pooled"
description = "a Cortex-M4 with two pools"
core = "cortex-m4"
fpu = true
clock_hz = 100_000_000
[[pools]]
name = "ram"
kind = "ram"
address = 0x2000_0000
bytes = {ram}
wait_states = {ram_waits}
[[pools]]
name = "{second}"
kind = "ram"
address = 0x1000_0000
bytes = {other}
wait_states = {other_waits}
[[pools]]
name = "flash"
kind = "flash"
address = 0x0800_0000
bytes = 1_048_576
"""


def board(folder: Path, ram: int, ram_waits: int, other: int, other_waits: int, second: str = "ccm") -> Path:
    path = folder / "pooled.toml"
    text = _BOARD.format(ram=ram, ram_waits=ram_waits, other=other, other_waits=other_waits, second=second)
    path.write_text(text)
    return path


def compiled(digits: Example, target: Path | str, folder: Path) -> dict[str, Any]:
    words = ("compile", digits.model, "--target", target, "--calibrate", digits.calibration, "-o", folder)
    found = dnncc(*words, "--json")
    assert found.status == 0, found.err
    return found.document


def test_a_second_pool_takes_what_the_first_cannot(digits: Example, tmp_path: Path) -> None:
    """The first pool is half the peak. Same bits on the host and on an emulated Cortex-M4."""
    peak = compiled(digits, "stm32", tmp_path / "plain")["plan"]["peak_bytes"]
    folder = tmp_path / "net"
    document = compiled(digits, board(tmp_path, peak // 2, 0, peak, 4), folder)
    ram, ccm, _ = document["memory"]["pools"]
    assert 0 < ram["used"] <= ram["capacity"] == peak // 2
    assert 0 < ccm["used"] <= ccm["capacity"]
    assert document["memory"]["arena_bytes"] == ram["used"] + ccm["used"]
    assert (
        document["plan"]["bound_bytes"] <= document["plan"]["peak_bytes"] == document["memory"]["arena_bytes"]
    )
    pools = Bundle.open(folder).pools
    assert [(p.name, p.member, p.macro, p.bytes) for p in pools] == [
        ("ram", "arena", "NET_ARENA_SIZE", ram["used"]),
        ("ccm", "arena_ccm", "NET_CCM_SIZE", ccm["used"]),
    ]
    header = (folder / "net.h").read_text()
    assert f"#define NET_CCM_SIZE {ccm['used']}u" in header
    for place in ("host", "emulator"):
        proof = dnncc("validate", folder, "--on", place, "--json")
        assert (proof.status, proof.document["mismatches"]) == (0, 0), proof.err
    outputs = {}
    for name in ("plain", "net"):
        written = tmp_path / f"{name}.npz"
        run = dnncc(
            "run", tmp_path / name, "--input", digits.calibration, "-o", written, "--on", "host", "--raw"
        )
        assert run.status == 0, run.err
        outputs[name] = written.read_bytes()
    assert outputs["plain"] == outputs["net"]


def test_a_faster_pool_is_filled_first(digits: Example, tmp_path: Path) -> None:
    document = compiled(digits, board(tmp_path, 65536, 3, 1024, 0), tmp_path / "net")
    ram, ccm, _ = document["memory"]["pools"]
    assert 0 < ccm["used"] <= 1024
    assert ram["used"] > 0
    everything = compiled(digits, board(tmp_path, 65536, 3, 65536, 0), tmp_path / "net")
    assert everything["memory"]["pools"][0]["used"] == 0
    assert dnncc("validate", tmp_path / "net", "--on", "host").status == 0


def test_a_slower_pool_is_left_alone_where_the_first_suffices(digits: Example, tmp_path: Path) -> None:
    document = compiled(digits, board(tmp_path, 65536, 0, 65536, 3), tmp_path / "net")
    assert document["memory"]["pools"][1]["used"] == 0
    assert [p.name for p in Bundle.open(tmp_path / "net").pools] == ["ram"]


def test_what_fits_no_pool_is_refused_with_the_bound(digits: Example, tmp_path: Path) -> None:
    target = board(tmp_path, 512, 0, 256, 0)
    error = failure(
        3,
        "E0301",
        "compile",
        digits.model,
        "--target",
        target,
        "--calibrate",
        digits.calibration,
        "-o",
        tmp_path / "n",
    )
    assert error["nodes"][0]["name"] == "pool 'ram'"
    assert "all pools together need at least" in error["nodes"][0]["reason"]


@pytest.mark.parametrize("name", ["arena", "input", "output"])
def test_names_that_clash_in_the_header_are_refused(digits: Example, tmp_path: Path, name: str) -> None:
    target = board(tmp_path, 65536, 0, 65536, 0, name)
    result = dnncc("compile", digits.model, "--target", target, "-o", tmp_path / "net")
    assert result.status == 2
    assert "would clash" in result.err
