"""Building artifacts: the cache, the warnings, and what is said when a compiler is missing or refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from dnncc.errors import OutputError, ToolFailedError, ToolMissingError, UsageError
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.compilers import cache_root, find_compiler, first_host_compiler
from dnncc.runtime.cores import CORES, get_core
from dnncc.runtime.firmware import read_firmware
from dnncc.runtime.runner import open_runner
from dnncc.runtime.toolchain import compile_firmware, compile_host
from handwritten import write_artifact


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a tool on PATH nor the ziglang package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_a_build_leaves_the_artifact_alone_and_is_done_once(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    first = compile_host(bundle)
    changed = first.stat().st_mtime_ns
    assert compile_host(bundle) == first
    assert first.stat().st_mtime_ns == changed
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert first.is_relative_to(cache_root())


def test_a_build_depends_on_every_source_header_and_option(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    built = {compile_host(bundle), compile_host(bundle, opt="-O1"), compile_host(bundle, defines=["X=1"])}
    for name in ("net.c", "net.h", "dnncc.h", "net_weights.c"):
        with (tmp_path / name).open("a") as file:
            file.write("/* changed */\n")
        built.add(compile_host(bundle))
    assert len(built) == 7


@pytest.mark.parametrize("core", CORES)
def test_a_warning_is_an_error_for_every_compiler(tmp_path: Path, core: str) -> None:
    narrows = write_artifact(tmp_path, "int wide = in[0] * 3; out[0] = wide;")
    with pytest.raises(ToolFailedError, match="conversion"):
        compile_host(narrows)
    with pytest.raises(ToolFailedError, match="conversion"):
        compile_firmware(narrows, core)


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNCC_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ToolFailedError, match=r"net\.c"):
        compile_host(write_artifact(tmp_path / "net", "this is not C"))
    assert list((tmp_path / "cache" / "builds").iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DNNCC_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cache"):
        compile_host(write_artifact(tmp_path / "net"))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("name", "advice"), [("zig", "emulate"), ("gcc", "gcc"), ("clang", "clang"), ("gcc-arm", "none-eabi")]
)
def test_a_missing_compiler_is_named_with_the_way_to_get_it(name: str, advice: str) -> None:
    with pytest.raises(ToolMissingError) as caught:
        find_compiler(name)
    assert advice in caught.value.help


@pytest.mark.usefixtures("nothing_installed")
def test_no_compiler_at_all(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="no C compiler"):
        first_host_compiler()
    for place in ("host", "emulator", "qemu"):
        with pytest.raises(ToolMissingError):
            open_runner(write_artifact(tmp_path), on=place)


def test_unknown_names_are_answered_with_suggestions(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    for call, suggestion in (
        (lambda: find_compiler("gc"), "gcc"),
        (lambda: get_core("cortex-m34"), "cortex-m33"),
        (lambda: open_runner(bundle, on="emulater"), "emulator"),
    ):
        with pytest.raises(UsageError, match=suggestion):
            call()
    with pytest.raises(UsageError, match="for the host"):
        open_runner(write_artifact(tmp_path / "host", core="host"), on="emulator")


@pytest.mark.parametrize("core", CORES)
def test_profiling_adds_no_code(tmp_path: Path, core: str) -> None:
    body = "NET_NODE_BEGIN(0); for (int i = 0; i < 8; i++) out[i] = (int8_t)(in[i] / 3); NET_NODE_END(0);"
    bundle = write_artifact(tmp_path, body, nodes=["a"])
    plain = read_firmware(compile_firmware(bundle, core), "net_run")
    marked = read_firmware(compile_firmware(bundle, core, profile=True), "net_run")
    assert plain.marks == {}
    assert sorted(marked.marks.values()) == [0, 1]
    assert marked.code_bytes == plain.code_bytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.pop("core"), "core"),
        (lambda manifest: manifest.update(name="a-b"), "identifier"),
        (lambda manifest: manifest["inputs"][0].update(dtype="i7"), "i7"),
        (lambda manifest: manifest["pools"][0].update(align=3), "power of two"),
        (lambda manifest: manifest.update(sources=["../net.c"]), "in the artifact's folder"),
        (lambda manifest: manifest.update(sources=["gone.c"]), "not complete"),
        (lambda manifest: manifest.update(pools=3), "C artifact"),
    ],
)
def test_a_damaged_manifest_is_a_usage_error(tmp_path: Path, change, message: str) -> None:
    write_artifact(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=message):
        Bundle.open(tmp_path)


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an artifact"):
        Bundle.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="not valid JSON"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("core", [core for core in CORES if CORES[core].unaligned])
def test_a_small_copy_is_no_call(tmp_path: Path, core: str) -> None:
    bundle = write_artifact(tmp_path, "uint32_t word; memcpy(&word, in + 1, 4); memcpy(out, &word, 4);")
    firmware = read_firmware(compile_firmware(bundle, core), "net_run")
    assert firmware.symbols.names.count("memcpy") == 0
