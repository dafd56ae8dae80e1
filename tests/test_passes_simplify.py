"""Simplification as a whole: real and random networks keep their meaning and become regular."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import UsageError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.text import parse_graph, print_graph
from dnncc.passes.pipeline import Pipeline, run_passes
from dnncc.passes.simplify import SIMPLIFY
from ir_cases import assert_same_meaning, random_inputs
from ir_random import random_graph

SINGLE = SIMPLIFY.split(",")


def simplified(path: Path) -> Graph:
    graph = load_onnx(path)
    Pipeline.parse("simplify").run(graph)
    return graph


def counts(graph: Graph) -> dict[str, int]:
    return {name: len(graph.find(name)) for name in sorted({node.op.name for node in graph.nodes})}


def assert_like_onnxruntime(path: Path, graph: Graph) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for seed in range(3):
        inputs = random_inputs(graph, seed)
        feed = dict(zip((v.name for v in graph.inputs), inputs, strict=True))
        expected = session.run([v.name for v in graph.outputs], feed)
        for ours, theirs in zip(interpret(graph, inputs), expected, strict=True):
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(theirs).max()))
            )


IMAGE_CLASSIFIER = {"average_pool2d": 1, "linear": 1, "reshape": 1, "softmax": 1}
EXPECTED = {
    "kws": {**IMAGE_CLASSIFIER, "conv2d": 9, "relu": 9, "reshape": 2},
    "ic": {**IMAGE_CLASSIFIER, "add": 3, "conv2d": 9, "relu": 7, "transpose": 1},
    "vww": {**IMAGE_CLASSIFIER, "conv2d": 27, "relu": 27, "transpose": 1},
    "ad": {"linear": 10, "relu": 9},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_mlperf_tiny(name, data_dir):
    path = data_dir / "mlperf-tiny" / f"{name}.onnx"
    graph = simplified(path)
    assert counts(graph) == EXPECTED[name]
    assert all(node.inputs[0] in graph.inputs for node in graph.find("transpose"))
    assert_like_onnxruntime(path, graph)


def test_digits(digits):
    graph = simplified(digits.model)
    assert counts(graph) == {
        "add": 1,
        "average_pool2d": 1,
        "conv2d": 5,
        "linear": 1,
        "max_pool2d": 1,
        "relu": 5,
        "reshape": 2,
    }
    assert_like_onnxruntime(digits.model, graph)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    before = random_graph(seed, 10)
    graph = before.clone()
    assert run_passes("simplify", graph)
    assert_same_meaning(before, graph, seed)
    # A batch_norm by itself becomes two nodes.
    assert len([n for n in graph.nodes if n.op.name != "reshape"]) <= len(before.nodes) + len(
        before.find("batch_norm")
    )
    assert not run_passes("simplify", graph), "the fixpoint is none"
    text = print_graph(graph, inline=None)
    assert print_graph(parse_graph(text), inline=None) == text


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("seed", range(100, 108))
def test_each_pass_alone_on_random_networks(name, seed):
    before = random_graph(seed, 10)
    graph = before.clone()
    run_passes(name, graph)
    assert_same_meaning(before, graph, seed)


def test_the_bound_on_rounds():
    graph = random_graph(7, 10)
    once = graph.clone()
    run_passes("simplify{rounds=1}", once)
    run_passes(SIMPLIFY, graph)
    assert print_graph(once) == print_graph(graph)
    with pytest.raises(UsageError, match="rounds must be positive"):
        run_passes("simplify{rounds=0}", graph)


def test_the_same_graph_gives_the_same_text():
    texts = set()
    for _ in range(2):
        graph = random_graph(11, 12)
        run_passes("simplify,fuse", graph)
        texts.add(print_graph(graph, inline=None))
    assert len(texts) == 1
