"""PyTorch in: families of networks, through torch.export and through ONNX, against PyTorch itself."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import onnx
import onnxruntime
import pytest
from commandline import dnncc as command
from commandline import failure
from dnncc.errors import UnreadableModelError, UnsupportedError, UsageError
from dnncc.frontends.torch import torch_to_onnx
from dnncc.interpreter import interpret
from dnncc.ir.types import Array

torch = pytest.importorskip("torch", reason="PyTorch models are tested where torch is installed")
from torch_networks import NETWORKS, build  # noqa: E402

QUICK = ("mobilenet-v3", "yolo-tiny", "lstm", "transformer")
FAMILIES = [pytest.param(n, id=n, marks=[] if n in QUICK else pytest.mark.heavy) for n in NETWORKS]


def outputs_of(module: Any, *inputs: Any) -> list[Array]:
    """What PyTorch computes."""
    with torch.no_grad():
        found = module(*inputs)
    tensors = (
        [found]
        if isinstance(found, torch.Tensor)
        else list(found.values() if isinstance(found, dict) else found)
    )
    return [t.numpy() for t in tensors]


def close(found: list[Array], expected: list[Array], tolerance: float = 1e-4) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=tolerance * max(1.0, float(np.abs(theirs).max())))


@pytest.mark.parametrize("name", FAMILIES)
def test_families_agree_with_pytorch_both_ways(name: str) -> None:
    """Through torch.export, the same program as ONNX in ONNX Runtime, and through PyTorch's own ONNX exporter."""
    module, x = build(name)
    expected = outputs_of(module, x)
    proto = torch_to_onnx(module, (x,))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    close(session.run(None, {session.get_inputs()[0].name: x.numpy()}), expected)
    close(interpret(dnncc.load(module, example_inputs=(x,)), [x.numpy()]), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = io.BytesIO()
        torch.onnx.export(module, (x,), exported, dynamo=False, opset_version=17)
    close(interpret(dnncc.load(onnx.load_from_string(exported.getvalue())), [x.numpy()]), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_run_on_the_emulated_core(name: str, tmp_path: Path) -> None:
    """Float and int8, bit for bit as the interpreter."""
    module, x = build(name)
    program = torch.export.export(module, (x,))
    samples = {"x": np.random.default_rng(0).normal(0, 1, (24, *x.shape[1:])).astype(np.float32)}
    graph = dnncc.load(program)
    samples = {graph.inputs[0].name: samples["x"]}
    for dtype in ("float32", "int8"):
        folder = tmp_path / dtype
        dnncc.compile(program, target="cortex-m4", dtype=dtype, calibrate=samples, output=folder)
        assert dnncc.validate(folder, on="emulator", data={k: v[:2] for k, v in samples.items()}).match


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, first: Any, second: Any) -> Any:
        return {"sum": self.layer(first) + second, "product": first * 2}


def test_a_module_a_graph_module_and_a_file_give_the_same_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, inputs = Small(), (torch.randn(1, 4), torch.randn(1, 3))
    graph = dnncc.load(module, example_inputs=inputs)
    assert [v.name for v in graph.inputs] == ["first", "second"]
    assert [v.name for v in graph.outputs] == ["sum", "product"]
    traced = dnncc.load(torch.fx.symbolic_trace(module), example_inputs=inputs)
    torch.export.save(torch.export.export(module.eval(), inputs), tmp_path / "small.pt2")
    saved = dnncc.load(tmp_path / "small.pt2")
    for other in (traced, saved):
        assert [(n.op, [v.type for v in n.outputs]) for n in other.nodes] == [
            (n.op, [v.type for v in n.outputs]) for n in graph.nodes
        ]
        for ours, theirs in zip(
            interpret(other, [x.numpy() for x in inputs]), outputs_of(module, *inputs), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_compile_from_the_command_line_and_from_python(tmp_path: Path) -> None:
    module, inputs = Small(), (torch.randn(1, 4), torch.randn(1, 3))
    torch.export.save(torch.export.export(module.eval(), inputs), tmp_path / "small.pt2")
    done = command("compile", tmp_path / "small.pt2", "--target", "host-c", "-o", tmp_path / "net", "--json")
    assert done.status == 0, done.err
    assert command("validate", tmp_path / "net", "--json").document["match"]
    assert command("inspect", tmp_path / "small.pt2", "--json").document["supported"]
    compilation = dnncc.compile(module, inputs, target="host-c", output=tmp_path / "other")
    assert dnncc.validate(tmp_path / "other", on="host").match
    assert [v.name for v in compilation.graph.inputs] == ["first", "second"]


def test_training_mode_stays_and_dropout_goes() -> None:
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4)
    ).train()
    x = torch.randn(1, 4)
    graph = dnncc.load(module, example_inputs=(x,))
    assert module.training
    close(interpret(graph, [x.numpy()]), outputs_of(module.eval(), x))


def test_what_is_not_supported_is_named_with_its_module(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.linalg.svd(x)[1] + torch.special.i0(x).sum()

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd = Odd()

        def forward(self, x: Any) -> Any:
            return self.odd(x) * 2

    with pytest.raises(UnsupportedError) as caught:
        dnncc.load(Outer(), example_inputs=(torch.randn(3, 3),))
    assert all(c.name.startswith("odd.") for c in caught.value.culprits)
    assert {c.op.split(".")[1] for c in caught.value.culprits} >= {"_linalg_svd"}


def test_modules_that_cannot_be_exported() -> None:
    class Branch(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnreadableModelError, match="Branch"):
        dnncc.load(Branch(), example_inputs=(torch.randn(3),))
    with pytest.raises(UsageError, match="example inputs"):
        dnncc.load(Branch())


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "broken.pt2").write_bytes(b"PK\x03\x04 nothing")
    for path in (tmp_path / "broken.pt2", tmp_path / "missing.pt2"):
        failure(1, "E0102", "inspect", path)


def test_onnx_models_do_not_load_torch(digits: Any) -> None:
    code = f"import sys, dnncc; dnncc.load({str(digits.model)!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
