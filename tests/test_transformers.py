"""Encoder-only transformers as integers: imported both ways, near the float network, the same bits everywhere."""

from __future__ import annotations

import io
import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import onnx
import pytest
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.ir.verify import verify_integer
from dnncc.passes.quantize import integer_arguments

torch = pytest.importorskip("torch", reason="transformers are built with PyTorch")
from torch_encoders import TextEncoder, VisionTransformer  # noqa: E402

SAMPLES = 24
NETWORKS = {
    "vit": lambda: (VisionTransformer(), images()),
    "vit-tanh": lambda: (VisionTransformer(depth=4, approximate="tanh"), images()),
    "bert": lambda: (TextEncoder(), np.random.default_rng(0).integers(0, 50, (SAMPLES, 12))),
}
TINY = {
    "vit": lambda: (VisionTransformer(8, 4, 1, 16, 2, 1), images(1, 8)),
    "bert": lambda: (TextEncoder(20, 6, 16, 1), np.random.default_rng(0).integers(0, 20, (SAMPLES, 6))),
}


def images(channels: int = 3, size: int = 16) -> Array:
    return np.random.default_rng(0).normal(0, 1, (SAMPLES, channels, size, size)).astype(np.float32)


def module_of(make: Any) -> tuple[Any, Any, Array]:
    """A module in evaluation, an example input, samples."""
    torch.manual_seed(0)
    module, data = make()
    return module.eval(), torch.from_numpy(data[:1]), data


def through_onnx(module: Any, example: Any, opset: int) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = io.BytesIO()
        torch.onnx.export(module, (example,), exported, dynamo=False, opset_version=opset)
    return onnx.load_from_string(exported.getvalue())


def sqnr(floats: Graph, integers: Graph, samples: dict[str, Array]) -> float:
    """Of the only output over all samples, in decibels."""
    signal = noise = 0.0
    for index in range(SAMPLES):
        arguments = [samples[v.name][index].reshape(v.type.shape) for v in floats.inputs]
        (real,) = interpret(floats, arguments)
        (found,) = interpret(integers, integer_arguments(integers, samples, index))
        found = found * integers.outputs[0].type.scale
        signal, noise = signal + float((real**2).sum()), noise + float(((found - real) ** 2).sum())
    return 10 * math.log10(signal / noise)


QUICK = [("vit", "export"), ("bert", "export"), ("vit", "onnx17")]
WAYS = itertools.product(NETWORKS, ("export", "onnx17", "onnx14"))


@pytest.mark.parametrize(
    ("name", "way"), [pytest.param(*w, marks=[] if w in QUICK else pytest.mark.heavy) for w in WAYS]
)
def test_encoders_are_integers_near_the_float_network(name: str, way: str, tmp_path: Path) -> None:
    """At least 25 dB, and the host's C gives the interpreter's bits."""
    module, example, data = module_of(NETWORKS[name])
    model = module if way == "export" else through_onnx(module, example, int(way[4:]))
    inputs = (example,) if way == "export" else None
    floats = dnncc.load(model, example_inputs=inputs)
    with torch.no_grad():
        expected = module(example).numpy()
    np.testing.assert_allclose(interpret(floats, [example.numpy()])[0], expected, atol=2e-5)
    samples = {floats.inputs[0].name: data}
    found = dnncc.compile(model, target="host-c", calibrate=samples, output=tmp_path, example_inputs=inputs)
    verify_integer(found.graph)
    assert sqnr(floats, found.graph, samples) >= 25
    assert dnncc.validate(tmp_path, on="host", data={k: v[:8] for k, v in samples.items()}).match


@pytest.mark.parametrize("name", TINY)
def test_small_encoders_run_on_the_emulated_core(name: str, tmp_path: Path) -> None:
    module, example, data = module_of(TINY[name])
    program = torch.export.export(module, (example,))
    samples = {dnncc.load(program).inputs[0].name: data}
    dnncc.compile(program, target="cortex-m4", calibrate=samples, output=tmp_path)
    assert dnncc.validate(tmp_path, on="emulator", data={k: v[:2] for k, v in samples.items()}).match


class MaskedText(torch.nn.Module):
    """Words, of which some are padding, as the network is told while it runs."""

    def __init__(self, fill: float, select: bool) -> None:
        super().__init__()
        self.words, self.fill, self.select = torch.nn.Embedding(20, 16), fill, select
        self.q, self.k, self.v = (torch.nn.Linear(16, 16) for _ in range(3))

    def forward(self, ids: Any, present: Any) -> Any:
        x = self.words(ids)
        scores = self.q(x) @ self.k(x).transpose(1, 2) * 0.25
        if self.select:
            scores = scores.masked_fill(~present[:, None, :].bool(), self.fill)
        else:
            scores = scores + (1 - present[:, None, :].float()) * self.fill
        return scores.softmax(-1) @ self.v(x)


@pytest.mark.parametrize(
    ("fill", "select"),
    [(-10000.0, False), (float(np.finfo(np.float32).min), False), (-math.inf, True), (-1e9, True)],
)
def test_masks_that_are_known_at_run_time(fill: float, select: bool) -> None:
    rng = np.random.default_rng(0)
    ids, lengths = rng.integers(0, 20, (SAMPLES, 6)), rng.integers(1, 7, SAMPLES)
    present = (np.arange(6) < lengths[:, None]).astype(np.int64)
    torch.manual_seed(0)
    module = MaskedText(fill, select).eval()
    example = (torch.from_numpy(ids[:1]), torch.from_numpy(present[:1]))
    floats = dnncc.load(module, example_inputs=example)
    samples = dict(zip((v.name for v in floats.inputs), (ids, present), strict=True))
    found = dnncc.compile(module, target="host-c", calibrate=samples, example_inputs=example)
    assert sqnr(floats, found.graph, samples) >= 25


class Attention(torch.nn.Module):
    """PyTorch's multi-head attention of a query over other keys and values, with a mask or causal."""

    def __init__(self, mask: Array | None) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.mask = None if mask is None else torch.from_numpy(mask)

    def forward(self, x: Any) -> Any:
        return self.attention(x, x * 2, x + 1, attn_mask=self.mask, need_weights=False)[0]


@pytest.mark.parametrize("mask", [None, np.triu(np.ones((7, 7), bool), 1)], ids=["open", "causal"])
def test_multi_head_attention(mask: Array | None, tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(0, 1, (SAMPLES, 7, 16)).astype(np.float32)
    module, example, _ = module_of(lambda: (Attention(mask), data))
    floats = dnncc.load(module, example_inputs=(example,))
    with torch.no_grad():
        expected = module(example).numpy()
    np.testing.assert_allclose(interpret(floats, [example.numpy()])[0], expected, atol=1e-5)
    samples = {floats.inputs[0].name: data}
    found = dnncc.compile(
        module, target="host-c", calibrate=samples, output=tmp_path, example_inputs=(example,)
    )
    assert sqnr(floats, found.graph, samples) >= 25
    assert dnncc.validate(tmp_path, on="host", data={k: v[:4] for k, v in samples.items()}).match


def trained_on_digits() -> tuple[Any, Array, Array, Array, Array]:
    """A vision transformer trained on two thirds of scikit-learn's digits: module, images, labels for both parts."""
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target[order]
    torch.manual_seed(0)
    module = VisionTransformer(8, 2, 1, 32, 4, 2)
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3, weight_decay=0.05)
    x, y = torch.from_numpy(images[:1200]), torch.from_numpy(labels[:1200])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25)
    for _ in range(25):
        for batch in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
    return module.eval(), images[:1200], labels[:1200], images[1200:], labels[1200:]


@pytest.mark.heavy
def test_a_vision_transformer_trained_on_digits(tmp_path: Path) -> None:
    """Integers lose at most a point of accuracy on 597 images, calibrated on 100 others."""
    module, images, _, others, labels = trained_on_digits()
    with torch.no_grad():
        exact = module(torch.from_numpy(others)).numpy().argmax(1)
    program = torch.export.export(module, (torch.from_numpy(others[:1]),))
    name = dnncc.load(program).inputs[0].name
    dnncc.compile(program, target="host-c", calibrate={name: images[:100]}, output=tmp_path)
    (found,) = dnncc.run(tmp_path, {name: others}, on="host").values()
    answers = found.reshape(len(others), -1).argmax(1)
    assert dnncc.validate(tmp_path, on="host", data={name: others[:20]}).match
    floats, integers = (exact == labels).mean(), (answers == labels).mean()
    print(f"float {floats:.4f}, integers {integers:.4f}, agreement {(answers == exact).mean():.4f}")
    assert floats > 0.93 and integers >= floats - 0.01
