"""Whole networks: accuracy against the float model, per-layer errors, reproducibility, random graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Example
from dnncc.calibration import Samples, load_samples, synthetic_samples
from dnncc.errors import UsageError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph
from dnncc.ir.text import parse_graph, print_graph
from dnncc.ir.types import Array, DType
from dnncc.ir.verify import verify, verify_integer
from dnncc.passes.base import Surroundings
from dnncc.passes.pipeline import Pipeline, run_passes
from dnncc.passes.quantize import (
    QuantizeOptions,
    accumulator_intervals,
    integer_arguments,
    proven,
    quantize,
)
from dnncc.passes.quantize.metrics import layer_errors
from ir_random import random_graph


def simplified(path: Path) -> Graph:
    graph = load_onnx(path)
    run_passes("simplify", graph)
    return graph


def classes(graph: Graph, samples: Samples) -> Array:
    """The class that the integer graph chooses for each sample."""
    count = len(next(iter(samples.values())))
    return np.array(
        [interpret(graph, integer_arguments(graph, samples, i))[0].argmax() for i in range(count)]
    )


def float_classes(path: Path, samples: Samples) -> Array:
    """What ONNX Runtime, which nobody here wrote, makes of the float model."""
    runtime: Any = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options)
    ((name, array),) = samples.items()
    return np.array([session.run(None, {name: x[None]})[0].argmax() for x in array])


@pytest.fixture(scope="module")
def keywords(data_dir: Path) -> tuple[Path, Samples, Samples, Array]:
    """The keyword-spotting model, samples 0-99, samples 100-999 and the labels of the latter."""
    path = data_dir / "mlperf-tiny" / "kws.onnx"
    archive = np.load(data_dir / "mlperf-tiny" / "kws01.npz")
    x = (archive["x"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
    x = x.reshape(-1, 1, 49, 10)
    return path, {"input_1": x[:100]}, {"input_1": x[100:]}, archive["y"][100:]


def test_keywords_with_the_default_recipe(keywords: tuple[Path, Samples, Samples, Array]) -> None:
    path, calibration, samples, labels = keywords
    graph = simplified(path)
    q = quantize(graph, calibration)
    verify_integer(q)
    assert proven(q)
    found = classes(q, samples)
    assert (found == labels).mean() >= 0.904
    assert (found == float_classes(path, samples)).mean() >= 0.990
    # As published for this model: more than 16 bits, far fewer than 32.
    widths = [row.bits for row in accumulator_intervals(q) if row.op in ("conv2d", "linear")]
    assert all(bits is not None and 16 < bits <= 24 for bits in widths)
    errors = {e.value: e for e in layer_errors(graph, q, {"input_1": calibration["input_1"][:20]})}
    assert len(errors) > 10 and all(e.sqnr > 20 and e.cosine > 0.99 for e in errors.values())


@pytest.mark.parametrize(
    ("weights", "activations", "accuracy", "agreement"),
    [(4, 8, 0.90, 0.98), (3, 8, 0.875, 0.94), (4, 4, 0.805, 0.89)],
)
def test_keywords_with_low_bits(
    weights: int,
    activations: int,
    accuracy: float,
    agreement: float,
    keywords: tuple[Path, Samples, Samples, Array],
) -> None:
    path, calibration, samples, labels = keywords
    q = quantize(simplified(path), calibration, QuantizeOptions(weights=weights, activations=activations))
    verify_integer(q)
    assert proven(q)
    constants = [c for n in q.find("conv2d", "linear") for c in n.inputs[1:2] if isinstance(c, Const)]
    half = 1 << (weights - 1)
    assert len(constants) == 10 and all(c.data.min() >= -half and c.data.max() < half for c in constants)
    found = classes(q, samples)
    assert (found == labels).mean() >= accuracy
    assert (found == float_classes(path, samples)).mean() >= agreement


def test_digits_stay_within_a_point_of_float(digits: Example) -> None:
    graph = simplified(digits.model)
    archive = np.load(digits.test)
    samples: Samples = {"image": archive["image"]}
    expected = float_classes(digits.model, samples)
    for options in (QuantizeOptions(), QuantizeOptions(observer="mse", equalize=True)):
        q = quantize(graph, load_samples(digits.calibration, graph), options)
        found = classes(q, samples)
        assert (found == archive["label"]).mean() >= (expected == archive["label"]).mean() - 0.01
        assert (found == expected).mean() >= 0.99


@pytest.mark.parametrize(("name", "least"), [("ad", 30), ("ic", 25), ("vww", 20)])
def test_other_models_have_sane_errors_in_every_layer(name: str, least: float, data_dir: Path) -> None:
    graph = simplified(data_dir / "mlperf-tiny" / f"{name}.onnx")
    samples = synthetic_samples(graph, 8, 0)
    q = quantize(graph, samples)
    verify(q)
    verify_integer(q)
    assert proven(q)
    errors = layer_errors(graph, q, {k: a[:4] for k, a in samples.items()})
    assert len(errors) >= len(graph.find("conv2d", "linear"))
    assert min(e.sqnr for e in errors) > least


def test_the_same_input_gives_the_same_graph(digits: Example) -> None:
    graph = simplified(digits.model)
    samples = load_samples(digits.calibration, graph)
    before = str(graph)
    texts = {str(quantize(graph, samples)) for _ in range(2)}
    assert len(texts) == 1 and str(graph) == before


def test_the_pass_is_the_function(digits: Example) -> None:
    graph = simplified(digits.model)
    samples = load_samples(digits.calibration, graph)
    pipeline = Pipeline.parse("quantize{observer=mse,weights=6}")
    bound = pipeline.bind(Surroundings(samples))
    assert str(bound) == str(pipeline) == "quantize{observer=mse,weights=6}"
    expected = quantize(graph, samples, QuantizeOptions(observer="mse", weights=6))
    bound.run(graph)
    assert str(graph) == str(expected)


def test_the_pass_needs_samples_or_is_told_to_make_some_up(digits: Example) -> None:
    graph = simplified(digits.model)
    with pytest.raises(UsageError, match="synthetic"):
        Pipeline.parse("quantize").run(graph)
    run_passes("quantize{synthetic=4}", graph)
    verify_integer(graph)


def test_the_integer_graph_prints_and_parses(digits: Example) -> None:
    graph = simplified(digits.model)
    q = quantize(graph, load_samples(digits.calibration, graph))
    again = parse_graph(print_graph(q, None))
    x = np.full((1, 1, 8, 8), 3, np.int8)
    assert np.array_equal(interpret(again, [x])[0], interpret(q, [x])[0])


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed: int) -> None:
    graph = random_graph(seed, 3 + seed % 8)
    run_passes("simplify", graph)
    samples = synthetic_samples(graph, 8, seed)
    for options in (QuantizeOptions(), QuantizeOptions(observer="minmax", equalize=True, io="float32")):
        q = quantize(graph, samples, options)
        verify(q)
        verify_integer(q)
        assert proven(q)
        rng = np.random.default_rng(seed)
        for fill in (-128, 127, None):
            interpret(q, [anything(rng, v.type.dtype, v.type.shape, fill) for v in q.inputs])
        outputs = {v.name for v in graph.outputs}
        errors = [e for e in layer_errors(graph, q, samples) if e.value in outputs]
        assert len(errors) == len(outputs - {v.name for v in graph.constants()})
        for e in errors:
            assert e.sqnr > 22 or e.largest <= 2 * e.scale


def anything(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...], fill: int | None) -> Array:
    if dtype.is_float:
        return (rng.standard_normal(shape) * 100).astype(np.float32)
    if fill is not None:
        return np.full(shape, fill, dtype.numpy)
    return rng.integers(dtype.min, dtype.max + 1, shape).astype(dtype.numpy)
