"""Boards: the files that come with dnncc, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from dnncc.errors import UsageError
from dnncc.runtime.cores import CORES
from dnncc.targets.boards import boards, load_board, read_board

GOOD = """
name = "mine"
description = "a board of mine"
core = "cortex-m4"
fpu = true
clock_hz = 1_000_000

[[pools]]
name = "ram"
kind = "ram"
address = 0x2000_0000
bytes = 1024

[[pools]]
name = "flash"
kind = "flash"
address = 0
bytes = 4096
wait_states = 2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_promised_boards_are_there() -> None:
    promised = ["stm32f4", "stm32f7", "stm32l4", "stm32h7", "stm32g0", "nrf52840", "rp2040", "host-c"]
    assert {board.name for board in boards()} >= {*promised, *CORES}


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_a_shipped_board_is_complete(board) -> None:
    assert load_board(board.name) == board
    assert all(load_board(alias) == board for alias in board.aliases)
    assert board.ram.name == "ram"
    assert board.is_host or CORES[board.core].fpu >= board.fpu
    for pool in board.pools:
        assert (pool.bytes is None) == board.is_host


def test_stm32_is_the_f407_of_the_manual() -> None:
    board = load_board("stm32")
    assert (board.name, board.core, board.clock_hz) == ("stm32f4", "cortex-m4", 168_000_000)
    assert [(pool.name, pool.address, pool.bytes) for pool in board.pools] == [
        ("ram", 0x20000000, 128 * 1024),
        ("ccm", 0x10000000, 64 * 1024),
        ("flash", 0x08000000, 1024 * 1024),
    ]
    assert [pool.name for pool in board.ram_pools] == ["ram", "ccm"]
    assert board.costs.dual_multiply == 1
    assert load_board("rp2040").costs.dual_multiply is None


def test_an_unknown_name_is_answered_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="stm32f4"):
        load_board("stm32f5")


def test_a_board_file_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "[costs]\nload = 1.5\n")
    board = load_board(str(path))
    assert (board.name, board.costs.load, board.costs.store) == ("mine", 1.5, CORES["cortex-m4"].costs.store)
    assert board.flash.wait_states == 2
    assert board.digest != read_board(write(tmp_path, GOOD)).digest


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ('core = "cortex-m4"', 'core = "cortex-m5"', "core", "cortex-m4"),
        ("fpu = true", "fpu = 1", "fpu", "true or false"),
        ('core = "cortex-m4"', 'core = "cortex-m3"', "fpu", "none"),
        ("clock_hz = 1_000_000", "clock = 1_000_000", "clock", "did you mean 'clock_hz'"),
        ("clock_hz = 1_000_000", "", "clock_hz", "missing"),
        ("bytes = 1024", "bytes = 0", "pools[0].bytes", "at least 1"),
        ("bytes = 1024", "bytes = true", "pools[0].bytes", "at least 1"),
        ("bytes = 1024", 'bytes = "1K"', "pools[0].bytes", "whole number"),
        ("wait_states = 2", "waits = 2", "pools[1].waits", "unknown"),
        ('name = "ram"', 'name = "sram"', "pools", "must be named 'ram'"),
        ('name = "flash"', 'name = "ram"', "pools", "two pools"),
        ('kind = "flash"', 'kind = "rom"', "pools[1].kind", "flash"),
        ("address = 0\n", "address = 0x2000_0010\n", "pools", "overlap at 0x20000010"),
        ('name = "mine"', 'name = "mine"\naliases = "me"', "aliases", "list"),
        ("wait_states = 2", "wait_states = 2\n[costs]\nloads = 1", "costs.loads", "did you mean 'load'"),
        ("wait_states = 2", "wait_states = 2\n[costs]\nload = -1", "costs.load", "positive"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, old: str, new: str, key: str, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        read_board(write(tmp_path, GOOD.replace(old, new, 1)))
    assert any(culprit.name == key and reason in culprit.reason for culprit in caught.value.culprits)


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("fpu = true", "fpu = 3").replace("bytes = 4096", "bytes = -1") + "[cost]\nload = 1\n"
    with pytest.raises(UsageError) as caught:
        read_board(write(tmp_path, text))
    assert {culprit.name for culprit in caught.value.culprits} == {"fpu", "pools[1].bytes", "cost"}


def test_a_file_that_is_no_toml_or_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid TOML"):
        read_board(write(tmp_path, "name = "))
    with pytest.raises(UsageError, match="cannot be read"):
        load_board(str(tmp_path / "none.toml"))
