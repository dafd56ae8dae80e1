"""Boards with external memory: what does not fit the RAM is copied there and back, bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commandline import dnncc, failure
from dnncc.runtime.bundle import Bundle
from onnx import helper
from onnx_models import floats, model

_BOARD = """
name = "outer"
description = "a Cortex-M4 with external RAM"
core = "cortex-m4"
fpu = true
clock_hz = 100_000_000
[[pools]]
name = "ram"
kind = "ram"
address = 0x2000_0000
bytes = {ram}
[[pools]]
name = "psram"
kind = "external"
address = 0x9000_0000
bytes = {psram}
wait_states = 20
[[pools]]
name = "flash"
kind = "flash"
address = 0x0800_0000
bytes = 1_048_576
"""
DEPTH = 6


def board(folder: Path, ram: int, psram: int = 1 << 20) -> Path:
    path = folder / f"outer{ram}_{psram}.toml"
    path.write_text(_BOARD.format(ram=ram, psram=psram))
    return path


def hourglass() -> onnx.ModelProto:
    """Convolutions whose results are all kept, and added in reverse order: far more lives than one node needs."""
    constants, nodes, kept = {}, [], []
    x = "x"
    for level in range(2 * DEPTH):
        constants[f"w{level}"] = floats(8, 4 if level == 0 else 8, 3, 3, seed=level) / 12
        same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        nodes.append(
            helper.make_node("Conv", [x, f"w{level}"], [f"conv{level}"], name=f"conv{level}", **same)
        )
        x = f"conv{level}"
        if level >= DEPTH:
            nodes.append(helper.make_node("Add", [x, kept.pop()], [f"sum{level}"], name=f"sum{level}"))
            x = f"sum{level}"
        nodes.append(helper.make_node("Relu", [x], [f"relu{level}"], name=f"relu{level}"))
        x = f"relu{level}"
        if level < DEPTH:
            kept.append(x)
    constants["last"] = floats(2, 8, 1, 1, seed=99) / 4
    nodes.append(helper.make_node("Conv", [x, "last"], ["y"], name="last"))
    return model(nodes, {"x": [1, 4, 9, 9]}, constants, ["y"])


def compiled(proto: Path, target: Path | str, folder: Path, *more: str) -> dict[str, Any]:
    found = dnncc("compile", proto, "--target", target, "-o", folder, *more, "--json")
    assert found.status == 0, found.err
    return found.document


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "hourglass.onnx"
    onnx.save(hourglass(), path)
    return path


def outputs(folder: Path, samples: Path, on: str) -> bytes:
    written = folder / f"{on}.npz"
    run = dnncc("run", folder, "--input", samples, "-o", written, "--on", on, "--raw")
    assert run.status == 0, run.err
    with np.load(written) as arrays:
        return b"".join(arrays[name].tobytes() for name in sorted(arrays))


def test_half_the_peak_suffices_with_copies(proto: Path, tmp_path: Path) -> None:
    """Same bits as the plain plan, on the host and on an emulated Cortex-M4."""
    plain, net = tmp_path / "plain", tmp_path / "net"
    peak = compiled(proto, board(tmp_path, 1 << 20), plain)["plan"]["peak_bytes"]
    document = compiled(proto, board(tmp_path, peak // 2), net)
    ram, psram, _ = document["memory"]["pools"]
    assert 0 < ram["used"] == document["memory"]["arena_bytes"] <= ram["capacity"] == peak // 2
    assert 0 < psram["used"] <= psram["capacity"]
    ops = [n["op"] for n in document["nodes"]]
    assert ops.count("spill") > 0 and ops.count("retrieve") > 0
    assert document["plan"]["copied_bytes"] == 9 * 9 * 8 * (ops.count("spill") + ops.count("retrieve"))
    pools = Bundle.open(net).pools
    assert [(p.name, p.member, p.macro, p.bytes) for p in pools] == [
        ("ram", "arena", "NET_ARENA_SIZE", ram["used"]),
        ("psram", "arena_psram", "NET_PSRAM_SIZE", psram["used"]),
    ]
    source = (net / "net.c").read_text()
    assert source.count("NET_SPILL(arena_psram") == ops.count("spill")
    assert source.count("NET_RETRIEVE(arena") == ops.count("retrieve")
    samples = tmp_path / "x.npz"
    np.savez(samples, x=np.random.default_rng(1).standard_normal((3, 4, 9, 9)).astype(np.float32))
    for place in ("host", "emulator"):
        proof = dnncc("validate", net, "--on", place, "--json")
        assert (proof.status, proof.document["mismatches"]) == (0, 0), proof.err
        assert outputs(plain, samples, place) == outputs(net, samples, place)
    report = (net / "report.html").read_text()
    assert "retrieve" in report


def test_nothing_is_copied_where_everything_fits(proto: Path, tmp_path: Path) -> None:
    document = compiled(proto, board(tmp_path, 1 << 20), tmp_path / "net")
    assert document["plan"]["copied_bytes"] == document["memory"]["pools"][1]["used"] == 0
    assert "SPILL" not in (tmp_path / "net" / "net.h").read_text()
    assert [p.name for p in Bundle.open(tmp_path / "net").pools] == ["ram"]


def test_firmware_may_put_a_dma_in_the_place_of_the_copies(proto: Path, tmp_path: Path) -> None:
    """Macros of its own, which count bytes: as many as the plan says."""
    net = tmp_path / "net"
    peak = compiled(proto, board(tmp_path, 1 << 20), tmp_path / "plain")["plan"]["peak_bytes"]
    copied = compiled(proto, board(tmp_path, peak // 2), net)["plan"]["copied_bytes"]
    (net / "dma.h").write_text(
        "#include <stddef.h>\nvoid dma(void *to, const void *from, size_t bytes);\n"
        "#define NET_SPILL(to, from, bytes) dma((to), (from), (bytes))\n"
        "#define NET_RETRIEVE(to, from, bytes) dma((to), (from), (bytes))\n"
    )
    (net / "main.c").write_text(
        "#include <stdio.h>\n#include <string.h>\n"
        '#include "dma.h"\n#include "net.h"\nstatic size_t total;\n'
        "void dma(void *to, const void *from, size_t bytes) { total += bytes; memcpy(to, from, bytes); }\n"
        "static uint32_t ram[NET_ARENA_SIZE / 4 + 1], psram[NET_PSRAM_SIZE / 4 + 1];\n"
        "int main(void) {\n  net_t net = {ram, psram};\n  int wrong = net_selftest(&net);\n"
        '  printf("%d %lu", wrong, (unsigned long)total);\n  return 0;\n}\n'
    )
    sources = ["main.c", "net.c", "net_weights.c", "net_selftest.c"]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-include", "dma.h"]
    subprocess.run(["cc", *flags, *sources, "-o", "main"], cwd=net, check=True)
    wrong, total = subprocess.run(
        ["./main"], cwd=net, check=True, capture_output=True, text=True
    ).stdout.split()
    assert wrong == "0"
    assert int(total) > 0
    assert int(total) % copied == 0  # several inferences


def test_external_memory_has_a_capacity_too(proto: Path, tmp_path: Path) -> None:
    """What cannot be copied is computed again where that suffices; the error says how far each measure came."""
    plain = compiled(proto, board(tmp_path, 1 << 20), tmp_path / "plain")
    document = compiled(proto, board(tmp_path, plain["plan"]["peak_bytes"] // 2, 64), tmp_path / "again")
    assert document["plan"]["copied_bytes"] == 0
    assert document["macs"] == plain["macs"]
    assert sum(n["macs"] for n in document["nodes"]) > plain["macs"]
    error = failure(
        3, "E0301", "compile", proto, "--target", board(tmp_path, 2032, 64), "-o", tmp_path / "net"
    )
    assert error["nodes"][0]["name"] == "pool 'ram'"
    assert any("too many in 'psram'" in node["reason"] for node in error["nodes"])


def test_ram_below_the_largest_working_set(proto: Path, tmp_path: Path) -> None:
    error = failure(3, "E0301", "compile", proto, "--target", board(tmp_path, 1000), "-o", tmp_path / "net")
    tried = {n["name"]: n["reason"] for n in error["nodes"]}
    assert "alone needs" in tried["measure 'spill'"]
    assert not (tmp_path / "net").exists()


def test_the_pass_makes_copies_that_compile(proto: Path, tmp_path: Path) -> None:
    """In a pipeline of one's own, for the host, which has memory enough."""
    passes = "simplify,quantize,cse,dce,replace{scratchpad=3000},cse,dce"
    document = compiled(proto, "host-c", tmp_path / "net", "--passes", passes)
    assert "spill" in [n["op"] for n in document["nodes"]]
    assert document["memory"]["arena_bytes"] <= 4096
    proof = dnncc("validate", tmp_path / "net", "--on", "host", "--json")
    assert (proof.status, proof.document["mismatches"]) == (0, 0), proof.err
    found = failure(
        3, "E0301", "compile", proto, "--target", "stm32", "-o", tmp_path / "other", "--passes", passes
    )
    assert "external" in found["nodes"][0]["reason"]


def test_boards_with_two_external_pools_are_refused(proto: Path, tmp_path: Path) -> None:
    path = board(tmp_path, 4096)
    text = path.read_text()
    second = '[[pools]]\nname = "sd"\nkind = "external"\naddress = 0xa0000000\nbytes = 4096\n'
    path.write_text(text + second)
    result = dnncc("compile", proto, "--target", path, "-o", tmp_path / "net")
    assert result.status == 2
    assert "more than one pool of kind 'external'" in result.err
