"""Operators from another package, through an entry point: the page of the documentation, executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import REPOSITORY
from onnx import TensorProto, helper


def install(folder: Path, module: str) -> None:
    """What pip leaves behind of a package `acme` with this module."""
    (folder / "acme").mkdir(parents=True)
    (folder / "acme" / "__init__.py").write_text("")
    (folder / "acme" / "operators.py").write_text(module)
    info = folder / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dnncc.ops]\nacme = acme.operators\n")


def documented() -> str:
    """The module on the documentation's page."""
    page = (REPOSITORY / "docs" / "custom-operators.md").read_text(encoding="utf-8")
    return "from __future__ import annotations\n\n" + re.findall(r"```python\n(.*?)```", page, re.S)[0]


def dnncc(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-m", "dnncc", *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    node = helper.make_node("Snake", ["x"], ["y"], name="snake", domain="com.acme", rate=0.5)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("com.acme", 1)], ir_version=8
    )
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_the_documented_operator_compiles_and_runs(model: Path, dtype: str, tmp_path: Path) -> None:
    install(tmp_path / "site", documented())
    x = np.random.default_rng(0).normal(0, 1, (20, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    artifact, samples = str(tmp_path / "net"), str(tmp_path / "x.npz")
    for arguments in (
        (
            "compile",
            str(model),
            "--target",
            "host-c",
            "--dtype",
            dtype,
            "--calibrate",
            samples,
            "-o",
            artifact,
        ),
        ("validate", artifact, "--on", "host"),
        ("run", artifact, "--input", samples, "-o", str(tmp_path / "y.npz")),
    ):
        done = dnncc(tmp_path / "site", *arguments)
        assert done.returncode == 0, done.stderr
    y = np.load(tmp_path / "y.npz")["y"]
    np.testing.assert_allclose(y, x + np.maximum(x, 0) ** 2 * 0.5, atol=0.06 if dtype == "int8" else 1e-5)


def test_it_is_listed(tmp_path: Path) -> None:
    install(tmp_path / "site", documented())
    done = dnncc(tmp_path / "site", "list", "ops", "--json")
    listed = json.loads(done.stdout)
    assert "acme_snake" in json.dumps(listed)
    assert "com.acme.Snake" in json.dumps(listed)


def test_without_the_package_the_error_names_the_domain(model: Path, tmp_path: Path) -> None:
    done = dnncc(tmp_path, "compile", str(model), "--target", "host-c", "-o", str(tmp_path / "net"))
    assert done.returncode == 1
    assert "com.acme.Snake" in done.stderr
    assert not (tmp_path / "net").exists()


def test_a_broken_package_is_named(model: Path, tmp_path: Path) -> None:
    install(tmp_path / "site", "import no_such_module\n")
    done = dnncc(tmp_path / "site", "compile", str(model), "--target", "host-c", "-o", str(tmp_path / "net"))
    assert done.returncode == 5
    assert "'acme'" in done.stderr
    assert "no_such_module" in done.stderr
    assert "Traceback" not in done.stderr
