"""What users get wrong: each gives one message and its exit status, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from commandline import dnncc, failure
from conftest import Example
from dnncc.ir.types import Array
from dnncc.npz import write_npz
from onnx import helper
from onnx_models import floats, model


def save(folder: Path, network: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(network.SerializeToString())
    return path


def refused(status: int, code: str, path: Path, *words: str | Path) -> dict[str, Any]:
    """The error of a compile that must fail so, with the folder as it was."""
    folder = path.parent
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    target = () if "--target" in words else ("--target", "stm32")
    error = failure(status, code, "compile", path, "-o", folder / "build" / "net", *target, *words)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    return error


def names(error: Mapping[str, Any]) -> list[str]:
    return [node["name"] for node in error["nodes"]]


def relu(inputs: Sequence[str] = ("x",), name: str = "act", output: str = "y") -> onnx.NodeProto:
    return helper.make_node("Relu", list(inputs), [output], name=name)


# -- the file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["missing", "empty", "truncated", "text", "picture", "folder"])
def test_no_model(content: str, tmp_path: Path, digits: Example) -> None:
    path = tmp_path / "m.onnx"
    if content == "empty":
        path.touch()
    elif content == "truncated":
        data = digits.model.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
    elif content == "text":
        path.write_text("Dear Sir or Madam,\n" * 10)
    elif content == "picture":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    elif content == "folder":
        path.mkdir()
    error = refused(1, "E0102", path)
    assert str(path) in error["message"]
    if content != "folder":
        assert failure(1, "E0102", "inspect", path)["message"] == error["message"]


# -- the graph -------------------------------------------------------------------------------------------------


def test_all_unsupported_operators_are_listed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="norm/1"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("Frobnicate", ["b"], ["c"], name="frob", domain="com.example"),
        helper.make_node("Bernoulli", ["c"], ["y"], name=""),
    ]
    path = save(tmp_path, model(nodes, {"x": [1, 3, 4, 4]}, {}, ["y"]))
    error = refused(1, "E0101", path)
    assert [(n["name"], n["op"]) for n in error["nodes"][:2]] == [
        ("norm/1", "Det"),
        ("frob", "com.example.Frobnicate"),
    ]
    assert error["nodes"][2]["op"] == "Bernoulli"
    assert "dnncc list ops" in error["help"]
    found = dnncc("inspect", path, "--json")
    assert found.status == 1
    assert found.document["supported"] is False
    unsupported = found.document["unsupported"]
    assert [(n["node"], n["op"]) for n in unsupported] == [(n["name"], n["op"]) for n in error["nodes"]]
    assert found.document["error"] == error


FLOAT_ONLY = """graph g(%x: f32[1,8]) {
  %a: f32[1,8] = relu(%x)
  %rest: f32[1,8] = mod(%a, %x)
  %product: f32[1,1] = reduce_prod(%rest) {axes=(1,)}
  return %product
}
"""


def test_what_cannot_be_quantized_is_listed_beside_the_rest(tmp_path: Path) -> None:
    (tmp_path / "g.ir").write_text(FLOAT_ONLY)
    found = dnncc("inspect", tmp_path / "g.ir", "--json")
    assert found.status == 1
    document = found.document
    assert document["supported"] is False
    assert [(n["node"], n["op"]) for n in document["unsupported"]] == [
        ("rest", "mod"),
        ("product", "reduce_prod"),
    ]
    assert document["error"]["code"] == "E0107"
    assert "float32" in document["error"]["help"]
    assert document["inputs"] == [{"name": "x", "dtype": "f32", "shape": [1, 8]}]
    assert len(document["nodes"]) > 0
    assert dnncc("inspect", tmp_path / "g.ir", "--dtype", "float32").status == 0


def test_dangling_inputs(tmp_path: Path) -> None:
    path = save(tmp_path, model([relu(["x"], output="a"), relu(["ghost"], "act2")], {"x": [1, 4]}, {}, ["y"]))
    error = refused(1, "E0103", path)
    assert "act2" in names(error)
    assert any("ghost" in node["reason"] for node in error["nodes"])


def test_cycles(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="two"),
        helper.make_node("Relu", ["b"], ["y"], name="three"),
    ]
    error = refused(1, "E0103", save(tmp_path, model(nodes, {"x": [1, 4]}, {}, ["y"])))
    assert {"one", "two"} <= set(names(error))


def test_unknown_dimensions(tmp_path: Path) -> None:
    path = save(tmp_path, model([relu()], {"x": ["batch", "height", 3]}, {}, ["y"]))
    error = refused(1, "E0104", path)
    assert names(error) == ["x"]
    assert "--dim height=" in error["help"]
    failure(2, "E0201", "inspect", path, "--dim", "hight=4", "--dim", "height=4")
    failure(2, "E0201", "inspect", path, "--dim", "height=0")
    found = dnncc("inspect", path, "--dim", "height=4", "--json")
    assert found.document["inputs"] == [{"name": "x", "dtype": "f32", "shape": [1, 4, 3]}]


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="dense")]
    error = refused(1, "E0103", save(tmp_path, model(nodes, {"x": [1, 4]}, {"w": floats(5, 2)}, ["y"])))
    assert names(error) == ["dense"]


# -- external data ---------------------------------------------------------------------------------------------


def external(folder: Path, location: str) -> Path:
    """A model whose weights are in another file."""
    network = model(
        [helper.make_node("Gemm", ["x", "w"], ["y"], name="dense")],
        {"x": [1, 4]},
        {"w": floats(4, 2)},
        ["y"],
    )
    (tensor,) = network.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "32"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return save(folder, network)


def test_external_weights_that_are_missing_or_short(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    error = refused(1, "E0105", path)
    assert names(error) == ["w"]
    assert "weights.bin" in error["nodes"][0]["reason"]
    (tmp_path / "weights.bin").write_bytes(bytes(31))
    refused(1, "E0105", path)
    (tmp_path / "weights.bin").write_bytes(bytes(32))
    assert dnncc("inspect", path).status == 0


def test_external_weights_outside_of_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(32))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    for location in ("../secret.bin", str(secret), "link.bin", "../model/../secret.bin"):
        assert names(refused(1, "E0105", external(folder, location))) == ["w"]


# -- calibration -----------------------------------------------------------------------------------------------

SHAPE = (5, 1, 8, 8)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"imaeg": np.zeros(SHAPE, np.float32)}, ["image", "imaeg"]),
        ({}, ["image"]),
        ({"image": np.zeros((5, 1, 8, 9), np.float32)}, ["image"]),
        ({"image": np.zeros((0, 1, 8, 8), np.float32)}, ["image"]),
        ({"image": np.zeros(SHAPE, np.uint8)}, ["image"]),
        ({"image": np.full(SHAPE, np.nan, np.float32)}, ["image"]),
        ({"image": np.full(SHAPE, np.inf, np.float32)}, ["image"]),
        ({"image": np.full(SHAPE, 1e300)}, ["image"]),
        ({"image": np.float32(3)}, ["image"]),
    ],
)
def test_samples_that_do_not_fit(
    arrays: dict[str, Array], expected: list[str], tmp_path: Path, digits: Example
) -> None:
    write_npz(tmp_path / "x.npz", arrays)
    path = Path(shutil.copy(digits.model, tmp_path))
    error = refused(1, "E0106", path, "--calibrate", tmp_path / "x.npz")
    assert names(error) == expected
    assert str(tmp_path / "x.npz") in error["message"]
    assert "first axis = samples" in error["help"]


@pytest.mark.parametrize("content", ["missing", "empty", "text", "npy", "truncated", "pickle", "folder"])
def test_no_samples(content: str, tmp_path: Path, digits: Example) -> None:
    path, samples = Path(shutil.copy(digits.model, tmp_path)), tmp_path / "x.npz"
    if content == "empty":
        samples.touch()
    elif content == "text":
        samples.write_text("image: 0\n")
    elif content == "npy":
        with samples.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "truncated":
        data = digits.calibration.read_bytes()
        samples.write_bytes(data[: len(data) // 2])
    elif content == "pickle":
        np.savez(samples, image=np.array([{"a": 1}], object))
    elif content == "folder":
        samples.mkdir()
    error = refused(1, "E0106", path, "--calibrate", samples)
    assert str(samples) in error["message"]


# -- the board -------------------------------------------------------------------------------------------------


def test_too_much_ram(tmp_path: Path) -> None:
    """Activations of 4 x 128 x 128 bytes, four images at once, which no measure can take in parts."""
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="wide"),
        helper.make_node("Conv", ["a", "w1"], ["b"], name="reduce", strides=[8, 8]),
        helper.make_node("Conv", ["b", "w1"], ["y"], name="last", strides=[8, 8]),
    ]
    constants = {"w0": floats(1, 1, 1, 1), "w1": floats(1, 1, 8, 8)}
    path = save(tmp_path, model(nodes, {"x": [4, 1, 128, 128]}, constants, ["y"]))
    error = refused(3, "E0301", path, "--target", "stm32g0")
    pool = error["nodes"][0]
    assert "'ram'" in pool["name"]
    # The caller owns the input; between the first two nodes there are 4 * 128 * 128 bytes on a board with 36,864.
    assert "of 36,864 bytes" in pool["reason"]
    needed = int(pool["reason"].partition("needs ")[2].partition(" of")[0].replace(",", ""))
    assert needed >= 4 * 128 * 128
    assert f"{needed - 36864:,} too many" in pool["reason"]
    assert "'wide'" in pool["reason"] or "'reduce'" in pool["reason"]
    assert "board" in error["help"]


def test_too_much_flash(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="dense")]
    path = save(tmp_path, model(nodes, {"x": [1, 512]}, {"w": floats(512, 512)}, ["y"]))
    error = refused(3, "E0301", path, "--target", "stm32g0")
    (pool,) = error["nodes"]
    assert "'flash'" in pool["name"]
    assert "of 131,072 bytes" in pool["reason"]
    assert "'dense'" in pool["reason"]


def test_board_files(tmp_path: Path, digits: Example) -> None:
    path = Path(shutil.copy(digits.model, tmp_path))
    assert "cannot be read" in refused(2, "E0201", path, "--target", tmp_path / "b.toml")["message"]
    (tmp_path / "b.toml").write_text('name = "b"\ncore = "cortex-m99"\n')
    assert "core" in names(refused(2, "E0201", path, "--target", tmp_path / "b.toml"))


# -- options ---------------------------------------------------------------------------------------------------


def test_unknown_target_pass_and_prefix(tmp_path: Path, digits: Example) -> None:
    path = Path(shutil.copy(digits.model, tmp_path))
    assert "did you mean 'stm32'" in refused(2, "E0201", path, "--target", "stm23")["message"]
    assert "did you mean 'quantize'" in refused(2, "E0201", path, "--passes", "simplify,quantise")["message"]
    assert "did you mean 'weights'" in refused(2, "E0201", path, "--passes", "quantize{wights=4}")["message"]
    for name in ("int", "2net", "my-net", "net;system", ""):
        assert "--name" in refused(2, "E0201", path, f"--name={name}")["help"]


# -- the output ------------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be_written(tmp_path: Path, digits: Example) -> None:
    """Found before any work: the model of these commands does not even exist."""
    (tmp_path / "file").write_text("mine\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine\n")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for output in ("file", "file/net", "full", "link"):
        error = failure(2, "E0202", "compile", "no.onnx", "--target", "stm32", "-o", tmp_path / output)
        assert str(tmp_path / output) in error["message"]
        assert "-o" in error["help"]
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine\n"


def test_folders_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0 and not Path("/proc/self").exists():
        pytest.skip("everything can be written by this user")
    folder = tmp_path / "locked"
    folder.mkdir(0o500)
    # Root may write everywhere, but not into /proc.
    output = Path("/proc/net") if os.geteuid() == 0 else folder / "net"
    failure(2, "E0202", "compile", "no.onnx", "--target", "stm32", "-o", output / "a" / "b")
    folder.chmod(0o700)
    assert list(folder.iterdir()) == []


def test_a_failure_while_writing_leaves_the_earlier_artifact(
    tmp_path: Path, digits: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    words = ("compile", digits.model, "--target", "host-c", "--calibrate", digits.calibration, "-o")
    with monkeypatch.context() as patch:
        patch.setattr("dnncc.artifact.write_ir", full)
        failure(2, "E0202", *words, tmp_path / "a" / "net")
    assert list(tmp_path.rglob("*.*")) == []
    assert dnncc(*words, tmp_path / "net").status == 0
    before = content()
    monkeypatch.setattr("dnncc.artifact.write_ir", full)
    error = failure(2, "E0202", *words, tmp_path / "net")
    assert "No space left" in error["message"]
    assert content() == before


# -- names -----------------------------------------------------------------------------------------------------


def test_names_that_are_no_c_identifiers(tmp_path: Path) -> None:
    """They are the user's: C has names of its own, and everything that is shown has the user's."""
    strange = ["", "int", "2/conv:0", "*/ #error", "ünï cödé", 'quo"te', "back\\slash", "new\nline", "??/"]
    values = ["x\\", *(f"{name}#{i}" for i, name in enumerate(strange)), "y %s"]
    nodes = [
        helper.make_node("Gemm", [values[i], "w*/"], [values[i + 1]], name=name)
        for i, name in enumerate(strange)
    ]
    nodes.append(helper.make_node("Relu", [values[-2]], [values[-1]], name="main"))
    path = save(tmp_path, model(nodes, {values[0]: [1, 8]}, {"w*/": floats(8, 8) / 4}, [values[-1]]))
    folder = tmp_path / "net"
    found = dnncc("compile", path, "--target", "host-c", "-o", folder, "--json")
    assert found.status == 0, found.err
    shown = [node["name"] for node in found.document["nodes"]]
    assert [name for name in strange if name] == [name for name in shown if name in strange]
    validated = dnncc("validate", folder, "--on", "host", "--json")
    assert validated.status == 0, validated.err
    assert validated.document["match"] is True
    write_npz(tmp_path / "x.npz", {values[0]: floats(3, 8)})
    assert (
        dnncc("run", folder, "--on", "host", "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz").status
        == 0
    )
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs.files == [values[-1]]
