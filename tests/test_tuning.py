"""Measured tiles: they are found, kept, read by later compiles, and change no bit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dnncc
import pytest
from artifact_models import branches
from dnncc.errors import UsageError
from dnncc.fpga import compile_fpga
from dnncc.runtime.cpus import host_cpu
from dnncc.targets.cpu.tuned import read_entries
from dnncc.targets.lowering.cpu.choice import Problem, Shape

SHAPE = Shape(1, 14, 14, 64, 14, 14, 96, 3, 3, pads=(1, 1, 1, 1))


def test_a_measured_tile_is_taken_and_an_unknown_one_is_not() -> None:
    problem = Problem(host_cpu(), "f32", SHAPE, 192, True)
    first, *_, last = problem.ranked()
    assert problem.choose({}) == first
    from dnncc.targets.cpu.tuned import Entry

    assert problem.choose({problem.key: Entry.of(last, 1.0)}) == last
    assert problem.choose({problem.key: Entry(99, 99, 9, False, 1.0)}) == first
    assert problem.choose({problem.key + " else": Entry.of(last, 1.0)}) == first


@pytest.mark.parametrize("form", ["f32", "i16x2", "u8x4"])
def test_every_tile_fits_the_registers_beside_weights_and_an_activation(form: str) -> None:
    cpu = host_cpu()
    for tile in Problem(cpu, form, SHAPE, 48, True).ranked():
        assert tile.lines * tile.pixels * tile.vectors + tile.vectors + 1 <= cpu.registers
        assert tile.lines == 1 or tile.pixels == SHAPE.ow


def test_what_was_measured_is_kept_and_compiled_with(tmp_path: Path) -> None:
    model, database = branches(), tmp_path / "tuned.json"
    with ThreadPoolExecutor(1) as executor:
        layers = dnncc.tune(model, target="cpu", output=database, trials=2, executor=executor)
        assert layers and all(layer.entry.microseconds > 0 and layer.trials <= 2 for layer in layers)
        assert set(read_entries(database)) == {layer.key for layer in layers}
        before = database.read_text()
        assert dnncc.tune(model, target="cpu", output=database, trials=2, executor=executor) == []
        assert database.read_text() == before
    compiled = dnncc.compile(model, target="cpu", tuned=database, output=tmp_path / "net")
    assert dnncc.validate(tmp_path / "net", samples=3).match
    assert compiled.options.tuned == database
    assert json.loads((tmp_path / "net" / "manifest.json").read_text())["options"]["tuned"] == "tuned.json"


def test_what_is_not_tuned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to tune for stm32f4"):
        dnncc.tune(branches(), target="stm32f4", output=tmp_path / "t.json")
    damaged = tmp_path / "t.json"
    damaged.write_text('{"schema": 7}')
    with pytest.raises(UsageError, match="no tuning file"):
        dnncc.compile(branches(), target="cpu", tuned=damaged)
    damaged.write_text('{"schema": 1, "layers": {}}')
    with pytest.raises(UsageError, match="not tuned"):
        dnncc.compile(branches(), target="stm32f4", tuned=damaged)
    with pytest.raises(UsageError, match="not tuned"):
        compile_fpga(branches(), target="hls:zu3eg", tuned=damaged)
