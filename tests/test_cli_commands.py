"""Each command on the digits example: its JSON keys, its text, its exit status."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from commandline import dnncc, failure
from conftest import Example

BuiltOnce = Callable[[str, Callable[[Path], object]], Path]


def compile_digits(digits: Example, folder: Path, *words: str) -> None:
    target = () if "--target" in words else ("--target", "stm32")
    found = dnncc("compile", digits.model, "--calibrate", digits.calibration, "-o", folder, *target, *words)
    assert found.status == 0, found.err
    assert found.err == ""


@pytest.fixture(scope="session")
def artifact(digits: Example, built_once: BuiltOnce) -> Path:
    """The digits network for an STM32F4."""
    return built_once("cli-digits", lambda folder: compile_digits(digits, folder / "net")) / "net"


def test_compile(digits: Example, tmp_path: Path) -> None:
    folder = tmp_path / "build" / "net"
    words = ("compile", digits.model, "--target", "stm32", "-o", folder)
    found = dnncc(*words, "--json")
    assert found.status == 0
    document = found.document
    assert document["artifact"] == str(folder)
    assert document["target"] == "stm32f4"
    assert document["macs"] == sum(node["macs"] for node in document["nodes"]) == 347392
    assert all({"name", "op", "macs"} <= set(node) for node in document["nodes"])
    memory, plan = document["memory"], document["plan"]
    pools = {pool["name"]: pool for pool in memory["pools"]}
    assert pools["ram"] == {"name": "ram", "used": memory["arena_bytes"], "capacity": 131072}
    assert pools["flash"] == {"name": "flash", "used": memory["weights_bytes"], "capacity": 1048576}
    assert (
        plan["peak_bytes"] == memory["arena_bytes"] >= memory["lower_bound_bytes"] == plan["bound_bytes"] > 0
    )
    assert plan["status"] in ("optimal", "feasible")
    assert document["accumulators"]["proven"] is True
    assert document["seconds"] > 0
    assert (folder / "manifest.json").is_file()
    # Without samples the user must know what that means, once, on stderr.
    assert found.err.count("warning: ") == len(document["warnings"]) == 1
    assert "--calibrate" in found.err
    # A second time, over the first, from within: as text.
    again = dnncc(*words)
    assert again.status == 0
    assert f"{memory['arena_bytes']:,} of 131,072 bytes" in again.out
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_compile_reads_a_config(digits: Example, tmp_path: Path) -> None:
    config = tmp_path / "net.toml"
    config.write_text('target = "host-c"\noutput = "net"\nname = "digits"\ncalibrate = "samples.npz"\n')
    shutil.copy(digits.calibration, tmp_path / "samples.npz")
    document = dnncc("compile", digits.model, "--config", config, "--json").document
    assert document["target"] == "host-c"
    assert document["calibrated"]
    assert (tmp_path / "net" / "digits.c").is_file()


def test_compile_dumps_the_graph(digits: Example, tmp_path: Path) -> None:
    compile_digits(digits, tmp_path / "net", "--dump-ir", str(tmp_path / "ir"))
    dumps = sorted(path.name for path in (tmp_path / "ir").glob("*.ir"))
    assert dumps[0] == "00-input.ir"
    assert "02-quantize.ir" in dumps


@pytest.mark.parametrize("on", ["host", "interpreter"])
def test_validate(on: str, artifact: Path, digits: Example) -> None:
    found = dnncc("validate", artifact, "--on", on, "--samples", "5", "--json")
    assert found.status == 0
    expected = {"on": on, "samples": 5, "values": 50, "mismatches": 0, "match": True, "tolerance": 0.0}
    assert found.document.items() >= expected.items()
    text = dnncc("validate", artifact, "--on", on, "--data", digits.calibration)
    assert "1,000 values of 100 samples" in text.out
    assert "bit by bit" in text.out
    assert text.err == ""


def test_validate_ignores_labels_and_says_so(artifact: Path, digits: Example) -> None:
    found = dnncc("validate", artifact, "--on", "host", "--data", digits.test, "--samples", "3", "--json")
    assert found.status == 0
    assert found.document["samples"] == 3
    assert found.err == f"note: the samples in {digits.test}: no inputs of the model, ignored: label\n"


def test_validate_finds_a_changed_weight(artifact: Path, tmp_path: Path) -> None:
    changed = tmp_path / "net"
    shutil.copytree(artifact, changed)
    source = changed / "net.c"
    text = source.read_text()
    # The network's last call reads one weight too far.
    head, call, tail = text.rpartition("net_w")
    assert call
    source.write_text(f"{head}1 + {call}{tail}")
    found = dnncc("validate", changed, "--on", "host", "--json")
    assert found.status == 4
    document = found.document
    assert document["match"] is False
    assert 0 < document["mismatches"] <= document["values"] == 200
    first = document["first"]
    assert first["output"] == "logits"
    assert first["actual"] != first["expected"]
    assert 0 <= first["sample"] < 20
    assert len(first["index"]) == 2
    assert document["error"]["code"] == "E0401"
    assert f"{first['actual']:g} instead of {first['expected']:g}" in found.err
    shown = dnncc("validate", changed, "--on", "host")
    assert (shown.status, shown.out) == (4, "")
    assert "of 200 values" in shown.err
    # Where no code runs, the files are compared with the manifest.
    error = failure(4, "E0401", "validate", changed, "--on", "interpreter")
    assert error["nodes"] == [{"name": "net.c", "op": "", "reason": "was changed"}]


def test_validate_options_that_do_not_go_together(artifact: Path, digits: Example) -> None:
    failure(2, "E0201", "validate", artifact, "--on", "host", "--core", "cortex-m7")
    failure(2, "E0201", "validate", artifact, "--on", "qemu", "--compiler", "zig")
    failure(2, "E0201", "validate", artifact, "--on", "host", "--samples", "0")
    error = failure(
        2, "E0201", "validate", artifact, "--on", "host", "--data", digits.calibration, "--samples", "101"
    )
    assert "the data have 100" in error["message"]


def test_missing_tools(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unicorn", None)
    error = failure(5, "E0501", "validate", artifact, "--on", "emulator")
    assert "dnncc[emulate]" in error["help"]
    monkeypatch.setenv("PATH", "")
    failure(5, "E0501", "bench", artifact, "--on", "qemu")


def test_bench_on_the_host(artifact: Path) -> None:
    document = dnncc("bench", artifact, "--on", "host", "--json").document
    keys = (
        "on",
        "instructions",
        "cycles_estimated",
        "milliseconds",
        "flash_bytes",
        "ram_bytes",
        "stack_bytes",
    )
    assert set(keys) <= set(document)
    assert document["milliseconds"] > 0
    assert document["instructions"] is None
    assert {"name", "op", "macs", "instructions", "cycles_estimated"} <= set(document["nodes"][0])
    assert "ms\n" in dnncc("bench", artifact, "--on", "host").out


def test_bench_on_the_emulator(artifact: Path) -> None:
    pytest.importorskip("unicorn", reason="the emulator comes with dnncc[emulate]")
    document = dnncc("bench", artifact, "--json").document
    assert document["on"] == "emulator"
    assert document["core"] == "cortex-m4"
    for key in ("instructions", "cycles_estimated", "flash_bytes", "ram_bytes", "stack_bytes"):
        assert document[key] > 0
    assert document["macs"] == 347392
    assert document["instructions_per_mac"] == document["instructions"] / document["macs"]
    nodes = document["nodes"]
    assert sum(node["macs"] for node in nodes) == document["macs"]
    measured = sum(node["instructions"] for node in nodes)
    assert abs(measured - document["instructions"]) < 0.1 * document["instructions"]
    shown = dnncc("bench", artifact).out
    assert f"{document['instructions']:,} (" in shown
    assert all(node["name"] in shown for node in nodes)


def test_run_agrees_with_onnx_runtime(artifact: Path, digits: Example, tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    words = ("run", artifact, "--on", "host", "--input", digits.test, "-o", path)
    document = dnncc(*words, "--json").document
    assert document["samples"] == 297
    assert document["outputs"] == [{"name": "logits", "dtype": "float32", "shape": [297, 10]}]
    with np.load(path) as file:
        logits = file["logits"]
    images, labels = (np.load(digits.test)[name] for name in ("image", "label"))
    session = onnxruntime.InferenceSession(digits.model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["logits"], {"image": images})
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.98
    assert (logits.argmax(1) == labels).mean() > 0.96
    first = path.read_bytes()
    assert dnncc(*words, "--raw").status == 0
    with np.load(path) as file:
        raw = file["logits"]
    assert raw.dtype == np.int8
    scale = np.unique((logits[raw != 0] / raw[raw != 0]).round(5))
    assert scale.size == 1
    assert dnncc(*words).status == 0
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_run_needs_a_place_to_write(artifact: Path, digits: Example, tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "missing" / "y.npz", Path("/dev/null")):
        failure(2, "E0202", "run", artifact, "--on", "host", "--input", digits.test, "-o", output)
    assert list(tmp_path.iterdir()) == []


def test_inspect(digits: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = dnncc("inspect", digits.model, "--target", "stm32", "--json").document
    assert document["supported"] is True
    assert document["unsupported"] == []
    assert document["macs"] == sum(node["macs"] for node in document["nodes"]) == 347392
    assert document["parameters"] == sum(node["parameters"] for node in document["nodes"])
    # The pointwise convolution: 8x8x16 bytes in, 8x8x32 out, and nothing else is alive.
    assert document["peak_bytes"] == max(node["live_bytes"] for node in document["nodes"]) == 64 * (16 + 32)
    assert document["capacity"]["ram"] == 131072
    floats = dnncc("inspect", digits.model, "--dtype", "float32", "--json").document
    assert floats["peak_bytes"] == 4 * document["peak_bytes"]
    shown = dnncc("inspect", digits.model, "--target", "stm32").out
    assert "3,072 of 131,072 bytes" in shown
    assert all(node["name"] in shown for node in document["nodes"])
    assert list(tmp_path.iterdir()) == []


def test_inspect_a_quantized_graph(artifact: Path, digits: Example) -> None:
    integers, floats = (dnncc("inspect", model, "--json").document for model in (artifact, digits.model))
    assert integers["supported"] is True
    assert [integers[key] for key in ("macs", "peak_bytes")] == [
        floats[key] for key in ("macs", "peak_bytes")
    ]
    assert integers["inputs"][0]["dtype"] == "i8"


GRAPH = """graph g(%x: f32[1,4]) {
  %a: f32[4] = const [1.0, 2.0, 3.0, 4.0]
  %y: f32[1,4] = add(%x, %a)
  %z: f32[1,4] = relu(%y)
  %r: f32[1,4] = relu(%z)
  return %r
}
"""


def opt(monkeypatch: pytest.MonkeyPatch, text: str, *words: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    found = dnncc("opt", "-", *words)
    assert found.status == 0, found.err
    return found.out


def test_opt_is_text_in_text_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert opt(monkeypatch, GRAPH) == GRAPH
    merged = opt(monkeypatch, GRAPH, "--passes", "merge-activations,dce")
    assert merged.count("relu") == 1
    assert opt(monkeypatch, merged, "--passes", "merge-activations") == merged
    source, target = tmp_path / "g.ir", tmp_path / "out.ir"
    source.write_text(GRAPH)
    document = dnncc("opt", source, "--passes", "simplify{rounds=3}", "-o", target, "--json").document
    assert document["passes"] == "simplify{rounds=3}"
    assert document["changed"] is True
    assert document["graph"] is None
    assert dnncc("opt", target).out == dnncc("opt", source, "--passes", "simplify").out
    as_json = dnncc("opt", source, "--json").document
    assert (as_json["graph"] + "\n", as_json["changed"]) == (GRAPH, False)


def test_opt_keeps_large_constants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits: Example) -> None:
    """What goes through a pipe is complete: the second opt needs nothing but the text."""
    import dnncc as package
    from dnncc.ir.text import write_ir

    write_ir(package.load(digits.model), tmp_path / "g.ir")
    text = dnncc("opt", tmp_path / "g.ir", "--passes", "simplify").out
    assert opt(monkeypatch, text) == text
    short = dnncc("opt", tmp_path / "g.ir", "--passes", "simplify", "--elide").out
    assert len(short) < len(text) / 10


def test_opt_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "g.ir"
    path.write_text(GRAPH.replace("relu(%y)", "rleu(%y)"))
    assert "did you mean 'relu'" in failure(1, "E0108", "opt", path)["message"]
    path.write_text(GRAPH.replace("add(%x, %a)", "add(%x, %q)"))
    assert failure(1, "E0108", "opt", path)
    assert failure(1, "E0102", "opt", tmp_path / "missing.ir")
    path.write_text(GRAPH)
    assert failure(2, "E0202", "opt", path, "-o", tmp_path / "missing" / "g.ir")
    assert failure(2, "E0201", "opt", path, "--passes", "quantize{weights=9}")


def test_python_does_the_same(artifact: Path, digits: Example, tmp_path: Path) -> None:
    import dnncc as package

    compilation = package.compile(
        digits.model, target="stm32", calibrate=digits.calibration, output=tmp_path / "net"
    )
    files = {path.relative_to(artifact) for path in artifact.rglob("*")}
    assert files == {path.relative_to(tmp_path / "net") for path in (tmp_path / "net").rglob("*")}
    assert package.validate(tmp_path / "net", on="host", samples=3).match
    assert package.inspect(digits.model).macs == compilation.graph.macs()
    images = {"image": np.load(digits.test)["image"][:4]}
    results: dict[str, Any] = package.run(artifact, images, on="interpreter")
    assert np.array_equal(results["logits"], package.run(artifact, images, on="host")["logits"])
    assert str(package.load(artifact)) == str(compilation.graph)
    assert package.bench(artifact, on="host").macs == compilation.graph.macs()
