"""The FPGA target from model to C simulation, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from commandline import dnncc, failure
from dnncc.errors import ToolMissingError
from dnncc.fpga import compile_fpga
from dnncc.runtime.hls import find_headers
from dnncc.targets.hls.parts import parts
from hls_networks import everything, mlp
from onnx import helper
from onnx_models import model

BuiltOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def artifact(built_once: BuiltOnce) -> Path:
    return (
        built_once(
            "hls-everything", lambda f: compile_fpga(everything(), target="hls:pynq-z2", output=f / "net")
        )
        / "net"
    )


@pytest.fixture
def headers() -> Path:
    try:
        return find_headers()
    except ToolMissingError as error:
        pytest.skip(f"{error.message}: {error.help}")


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def save(proto: onnx.ModelProto) -> Path:
        onnx.save(proto, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save


def test_c_simulation_of_a_small_network(headers: Path, tmp_path: Path) -> None:
    compile_fpga(mlp((6, 4, 3)), target="hls:pynq-z2", output=tmp_path / "net")
    found = dnncc("validate", tmp_path / "net", "--samples", "3", "--json")
    assert found.status == 0, found.err
    document = found.document
    assert (document["on"], document["values"], document["mismatches"]) == ("csim", 9, 0)
    assert document["simulation"]["warnings"] == []
    assert document["simulation"]["bounded"] == {"deadlock": False, "mismatches": 0, "warnings": []}
    assert sum(s["values"] for s in document["simulation"]["streams"]) > 50


@pytest.mark.heavy
def test_c_simulation_is_exact_and_bounded_fifos_do_not_get_stuck(artifact: Path, headers: Path) -> None:
    found = dnncc("validate", artifact, "--samples", "4", "--json")
    assert found.status == 0, found.err
    document = found.document
    assert document["on"] == "csim"
    assert document["match"]
    simulation = document["simulation"]
    assert simulation["warnings"] == []
    assert simulation["bounded"] == {"deadlock": False, "mismatches": 0, "warnings": []}
    assert len(simulation["streams"]) > 15
    assert all(s["mismatches"] == 0 and s["values"] > 0 for s in simulation["streams"])
    kinds = {stage["kind"] for stage in json.loads((artifact / "manifest.json").read_text())["stages"]}
    assert kinds >= {"window", "matrix", "channelwise", "elementwise", "concat", "fork", "softmax", "border"}


@pytest.mark.heavy
def test_validation_finds_a_wrong_weight_and_shallow_fifos(
    artifact: Path, headers: Path, tmp_path: Path
) -> None:
    """What the C simulation is for: one weight changed, and one FIFO too small for the residual."""
    broken = tmp_path / "net"
    shutil.copytree(artifact, broken)
    weights = broken / "net_weights.h"
    text = weights.read_text()
    start = text.index("_matrix_weights")
    digit = next(i for i in range(text.index("{", start), len(text)) if text[i].isdigit())
    weights.write_text(text[:digit] + ("1" if text[digit] != "1" else "2") + text[digit + 1 :])
    source = broken / "net.cpp"
    lines = source.read_text().splitlines()
    deep = [i for i, line in enumerate(lines) if "dnncc::fifo<" in line and "_out1" in line]
    assert deep
    for i in deep:
        before, _, after = lines[i].rpartition(", ")
        lines[i] = f"{before}, 1>{after.partition('>')[2]}"
    source.write_text("\n".join(lines))
    found = dnncc("validate", broken, "--samples", "2", "--json")
    assert found.status == 4
    simulation = found.document["simulation"]
    assert any(s["mismatches"] for s in simulation["streams"])
    assert simulation["bounded"]["deadlock"]
    assert any("waits for space in" in warning for warning in simulation["bounded"]["warnings"])
    assert failure(4, "E0401", "validate", broken, "--samples", "1")["nodes"]


def test_compile_says_what_it_predicts(saved: Callable[[onnx.ModelProto], Path], tmp_path: Path) -> None:
    path = saved(mlp())
    found = dnncc("compile", path, "--target", "hls:zu3eg", "-o", tmp_path / "net", "--json")
    assert found.status == 0, found.err
    prediction = found.document["prediction"]
    assert prediction["cycles_per_frame"]["source"] == "analytical"
    assert prediction["cycles_simulated"]["source"] == "token-cycle simulation"
    assert all(prediction["resources"][k] <= prediction["usable"][k] for k in prediction["usable"])
    assert found.document["folding"]["optimal"]
    files = {p.name for p in (tmp_path / "net").iterdir()}
    assert {
        "net.cpp",
        "net.h",
        "net_weights.h",
        "net_testbench.cpp",
        "dnncc_hls.h",
        "run_hls.tcl",
        "vectors",
    } <= files
    slower = dnncc(
        "compile", path, "--target", "hls:zu3eg", "--budget", "cycles=500", "-o", tmp_path / "net", "--json"
    ).document
    assert prediction["cycles_per_frame"]["value"] < slower["prediction"]["cycles_per_frame"]["value"] <= 500
    assert slower["prediction"]["resources"]["lut"] < prediction["resources"]["lut"]
    text = dnncc("compile", path, "--target", "hls:zu3eg", "-o", tmp_path / "net").out
    assert "proven optimal" in text
    report = (tmp_path / "net" / "report.html").read_text()
    assert "bottleneck" in report
    assert "token-cycle simulation" in report


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compile_fpga(mlp((6, 4, 3)), target="hls:zu3eg", output=tmp_path / name)
    first, second = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
        for n in "ab"
    )
    assert first == second


def test_the_streams_order_is_stated() -> None:
    """An image comes in as the convolution wants it, channels last; the manifest says so."""
    design = compile_fpga(everything(), target="hls:zcu104").folded.design
    (port,) = design.network.inputs
    assert port.type.shape == (1, 3, 6, 6)
    assert port.order == (0, 2, 3, 1)


def test_explore(saved: Callable[[onnx.ModelProto], Path]) -> None:
    found = dnncc("explore", saved(mlp((8, 6, 4))), "--steps", "2", "--json")
    assert found.status == 0, found.err
    points = found.document["points"]
    assert {p["target"] for p in points} == {part.target for part in parts()}
    for part in parts():
        own = [p for p in points if p["target"] == part.target]
        assert [p["cycles"] for p in own] == sorted({p["cycles"] for p in own})
        assert len(own) == 2
        assert all(p["optimal"] for p in own)
    shown = dnncc("explore", saved(mlp((8, 6, 4))), "--steps", "1", "--target", "hls:zu3eg")
    assert "hls:zu3eg" in shown.out


def test_inspect_names_the_bottleneck(saved: Callable[[onnx.ModelProto], Path]) -> None:
    path = saved(mlp())
    document = dnncc("inspect", path, "--target", "hls:zu3eg", "--json").document
    assert document["supported"]
    assert document["prediction"]["bottleneck"] in {n["name"] for n in document["nodes"]}
    assert "matrix" in dnncc("inspect", path, "--target", "hls:zu3eg").out


def unstreamable() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], "largest", axes=[1], keepdims=1),
        helper.make_node("Transpose", ["m"], ["t"], "turned", perm=[0, 3, 2, 1]),
        helper.make_node("ReduceMin", ["t"], ["y"], "smallest", axes=[3], keepdims=1),
    ]
    return model(nodes, {"x": [1, 3, 4, 5]}, {}, ["y"])


def test_operators_that_do_not_stream_are_all_named(
    saved: Callable[[onnx.ModelProto], Path], tmp_path: Path
) -> None:
    path = saved(unstreamable())
    error = failure(1, "E0101", "compile", path, "--target", "hls:zu3eg", "-o", tmp_path / "net")
    assert {"largest", "smallest"} <= {node["name"] for node in error["nodes"]}
    assert "microcontrollers" in error["help"]
    assert not (tmp_path / "net").exists()
    document = dnncc("inspect", path, "--target", "hls:zu3eg", "--json").document
    assert not document["supported"]
    assert {"largest", "smallest"} <= {n["node"] for n in document["unsupported"]}


TINY = """
name = "tiny"
description = "for a test"
device = "none"
clock_ns = 10.0
[resources]
lut = 1_500
ff = 400_000
bram18 = 100
dsp = 100
[dsp]
wide = 25
narrow = 18
"""


def test_a_part_that_is_too_small(saved: Callable[[onnx.ModelProto], Path], tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    path = saved(mlp())
    target = f"hls:{tmp_path / 'tiny.toml'}"
    error = failure(3, "E0301", "compile", path, "--target", target, "-o", tmp_path / "net")
    assert [node["name"] for node in error["nodes"]] == ["lut"]
    assert "hls:pynq-z2" in error["help"]
    assert not (tmp_path / "net").exists()
    budget = failure(3, "E0301", "compile", path, "--target", "hls:zu3eg", "--budget", "cycles=2")
    assert budget["nodes"][0]["name"] == "cycles"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TINY.replace("lut = 1_500", "lut = 0"), "resources.lut"),
        (TINY.replace("wide = 25\n", ""), "dsp"),
        (TINY.replace('name = "tiny"', 'nam = "tiny"'), "nam"),
        ("[", "not valid TOML"),
    ],
)
def test_wrong_part_files(
    text: str, named: str, tmp_path: Path, saved: Callable[[onnx.ModelProto], Path]
) -> None:
    (tmp_path / "part.toml").write_text(text)
    error = failure(2, "E0201", "compile", saved(mlp()), "--target", f"hls:{tmp_path / 'part.toml'}")
    assert named in str(error)


def test_usage(saved: Callable[[onnx.ModelProto], Path], artifact: Path) -> None:
    path = saved(mlp())
    assert "zu3eg" in failure(2, "E0201", "compile", path, "--target", "hls:zu3e")["message"]
    failure(2, "E0201", "compile", path, "--target", "hls:zu3eg", "--dtype", "float32")
    failure(2, "E0201", "compile", path, "--target", "stm32", "--budget", "cycles=3")
    failure(2, "E0201", "bench", artifact)
    failure(2, "E0201", "validate", artifact, "--on", "qemu")
    assert dnncc("validate", artifact, "--on", "interpreter").status == 0
    failure(2, "E0201", "list", "ops", "--target", "hls:zu3eg")
    assert "hls:zcu104" in dnncc("list", "targets").out


def test_without_headers(artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("DNNCC_HLS_INCLUDE", str(tmp_path))
    assert "dnncc[hls]" in failure(5, "E0501", "validate", artifact)["help"]


def test_per_channel_numbers_are_as_narrow_as_proven() -> None:
    """Element types hold what the interval analysis proves, and not a bit more."""
    design = compile_fpga(mlp(), target="hls:zu3eg").folded.design
    sums = [s.wire.number for s in design.streams if s.name.endswith("_out") and s.wire.number.bits > 8]
    assert sums
    assert all(n.bits < 32 for n in sums)
    assert np.all([s.lanes * s.words == s.wire.elements for s in design.streams if not s.internal])
