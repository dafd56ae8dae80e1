"""Shared libraries for general-purpose processors: the same bits on every level, with any number of threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dnncc
import numpy as np
import pytest
from dnncc.errors import ToolMissingError
from dnncc.runtime.cpus import CPUS, host_cpu, runnable
from dnncc.runtime.library import LibraryModel
from dnncc.targets.boards import boards, load_board
from dnncc.targets.cpu.build import library_compiler

LEVELS = [cpu.name for cpu in runnable()]
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"


def test_every_level_is_a_board_and_cpu_is_the_best_of_them() -> None:
    assert {b.core for b in boards() if b.family == "cpu"} == set(CPUS)
    assert load_board("cpu").core == host_cpu().name == LEVELS[-1]


@pytest.mark.parametrize(
    "level", [LEVELS[-1], *(pytest.param(n, marks=pytest.mark.heavy) for n in LEVELS[:-1])]
)
def test_digits_in_integers_agree_bit_by_bit_with_any_number_of_threads(level: str, tmp_path: Path) -> None:
    compilation = dnncc.compile(DIGITS, target=level, output=tmp_path / "net")
    found = dnncc.validate(tmp_path / "net", samples=4)
    assert found.match and found.on == "host" and found.values == 40
    two = LibraryModel(tmp_path / "net", threads=2)
    for sample in compilation.samples:
        assert np.array_equal(two.run(sample)[0], dnncc.interpret(compilation.graph, sample)[0])


def test_a_library_loads_without_tvm_and_needs_the_c_library_only(tmp_path: Path) -> None:
    dnncc.compile(DIGITS, target="cpu", dtype="float32", output=tmp_path / "net")
    script = (
        "import sys, numpy as np, dnncc; m = dnncc.load_artifact(sys.argv[1]); "
        "p, = m.bundle.inputs; y, = m(np.ones(p.shape, np.float32)); assert np.isfinite(y).all(); "
        "assert not {'tvm', 'torch', 'onnx', 'ortools'} & {n.partition('.')[0] for n in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "net")], check=True, env={"PATH": ""})
    needed = subprocess.run(
        ["readelf", "-d", str(tmp_path / "net" / "libnet.so")], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split("[")[1].split("]")[0] for line in needed.splitlines() if "(NEEDED)" in line}
    assert names <= {"libc.so.6", "libpthread.so.0", "libm.so.6"}


def test_a_missing_compiler_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> None:
        raise ToolMissingError(name)

    monkeypatch.setattr("dnncc.targets.cpu.build.find_compiler", missing)
    with pytest.raises(ToolMissingError, match="x86-64-v3") as error:
        library_compiler(CPUS["x86-64-v3"])
    assert error.value.exit_code == 5 and "pip install dnncc[emulate]" in error.value.help
    with pytest.raises(ToolMissingError):
        dnncc.compile("no-such-model.onnx", target="x86-64-v3", output=tmp_path / "net")  # before it is read
    assert not (tmp_path / "net").exists()


def test_code_for_another_machine_is_compiled_and_refused_to_run(tmp_path: Path) -> None:
    other = "aarch64" if host_cpu().machine != "aarch64" else "x86-64-v2"
    dnncc.compile(DIGITS, target=other, output=tmp_path / "net")
    assert (tmp_path / "net" / "libnet.so").is_file()
    with pytest.raises(ToolMissingError, match=f"cannot run code for {other}"):
        dnncc.load_artifact(tmp_path / "net")
