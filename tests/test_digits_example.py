"""The committed digits example is what its README says: a trained network, its data, a repeatable split."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import Example


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def test_the_network_is_accurate(digits: Example) -> None:
    test = load(digits.test)
    session = onnxruntime.InferenceSession(str(digits.model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": test["image"]})
    assert logits.shape == (297, 10)
    assert np.mean(logits.argmax(axis=1) == test["label"]) >= 0.99


def test_batch_norm_is_left_to_the_compiler(digits: Example) -> None:
    model = onnx.load(digits.model)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == operators.count("BatchNormalization") == 5
    assert set(operators) >= {"Add", "MaxPool", "AveragePool", "Flatten", "Gemm", "Relu"}
    assert any(
        attribute.name == "group" and attribute.i == 16 for n in model.graph.node for attribute in n.attribute
    )


def test_the_samples_do_not_overlap(digits: Example) -> None:
    calibration, test = load(digits.calibration)["image"], load(digits.test)["image"]
    assert calibration.shape == (100, 1, 8, 8)
    assert calibration.dtype == test.dtype == np.float32
    assert (calibration.min(), calibration.max()) == (0, 16)
    seen = {image.tobytes() for image in calibration}
    assert not [index for index, image in enumerate(test) if image.tobytes() in seen]


def test_prepare_makes_the_same_samples(digits: Example, tmp_path: Path) -> None:
    script = "import sys, pathlib, prepare; prepare.write(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=digits.model.parent, check=True)
    for committed in (digits.calibration, digits.test):
        made, kept = load(tmp_path / committed.name), load(committed)
        assert made.keys() == kept.keys()
        for name in kept:
            np.testing.assert_array_equal(made[name], kept[name])


def test_export_matches_pytorch(digits: Example, tmp_path: Path) -> None:
    """The hand-written ONNX form and PyTorch agree on an untrained network with uneven statistics."""
    pytest.importorskip("torch", reason="the export is tested where torch is installed")
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(tmp_path / "random.onnx")], cwd=digits.model.parent, check=False
    )
    assert done.returncode == 0


EXPORT = """
import sys
import numpy, onnxruntime, torch
import export, network

torch.manual_seed(0)
model = network.DigitsNetwork().eval()
for name, tensor in model.state_dict().items():
    if tensor.dtype == torch.float32:
        tensor.uniform_(0.5, 1.5) if "var" in name else tensor.uniform_(-0.5, 0.5)
export.save(model, sys.argv[1])
image = torch.rand(4, 1, 8, 8) * 16
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(logits,) = session.run(["logits"], {"image": image.numpy()})
numpy.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-4, atol=1e-4)
assert abs(logits).max() > 0.1
"""
