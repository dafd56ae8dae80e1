"""A fixed share of the fuzzing (`make fuzz` does more), and that the fuzzer itself works: it finds, and it shrinks."""

from __future__ import annotations

import collections

import numpy as np
import onnx
import pytest
from fuzz.checks import CHECKS, Verdict, guarded, network_for, shrunk
from fuzz.damage import damaged, outcome
from fuzz.network import random_network

NETWORKS = range(5000, 5006)
DAMAGED = range(9000, 9012)


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("seed", NETWORKS)
def test_random_network(seed: int, check: str) -> None:
    verdict = guarded(CHECKS[check], network_for(check, seed), sanitize=False)
    assert not verdict.failed, verdict.why


@pytest.mark.parametrize("seed", DAMAGED)
def test_damaged_file(seed: int) -> None:
    assert outcome(damaged(random_network(seed).SerializeToString(), seed)) == ""


def test_networks_are_valid_and_varied() -> None:
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(60):
        model = random_network(seed)
        onnx.checker.check_model(model, full_check=True)
        assert model == random_network(seed)
        seen.update(node.op_type for node in model.graph.node)
    assert len(seen) > 60


def test_a_failure_shrinks_to_its_operator() -> None:
    """A check that dislikes one operator type gets a model with little else."""

    def dislikes(model: onnx.ModelProto, sanitize: bool) -> str:
        return "found" if any(n.op_type == "MatMul" for n in model.graph.node) else ""

    models = [m for m in map(random_network, range(200)) if len(m.graph.node) > 5]
    model = next(m for m in models if any(n.op_type == "MatMul" for n in m.graph.node[3:]))
    small, verdict = shrunk(dislikes, model, Verdict("wrong", "found"), sanitize=False)
    assert verdict == Verdict("wrong", "found")
    assert len(small.graph.node) < len(model.graph.node)
    assert small.graph.node[-1].op_type == "MatMul"


def test_a_wrong_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator whose reference lies is wrong against ONNX Runtime and against its own code."""
    from dnncc.ops.relu import Relu

    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    assert guarded(CHECKS["float32"], model, sanitize=True) == Verdict("ok")
    monkeypatch.setattr(Relu, "apply", lambda self, x: np.maximum(x, 1).astype(x.dtype))
    assert guarded(CHECKS["float32"], model, sanitize=False).kind == "wrong"
