"""Recomputation in graphs: nodes that run again, the same bits everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dnncc
import numpy as np
import onnx
import pytest
from commandline import failure
from dnncc.artifact import write_artifact
from dnncc.errors import BudgetError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Node
from dnncc.ir.text import write_ir
from dnncc.ir.verify import verify
from dnncc.passes.pipeline import run_passes
from dnncc.plan import KernelNeeds, make_plan, state
from dnncc.rematerialization import Rematerialized, node_work, peak_of, rematerialize
from dnncc.targets.program import lower_group
from ir_cases import assert_same_meaning, random_inputs
from onnx import helper
from onnx_models import floats, model

PIPELINE = "simplify,quantize,cse,dce"


def u_net() -> onnx.ModelProto:
    """A wide level between a first convolution and the addition of its result: 2 KiB that wait for 8 KiB."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w0", "b0"], ["c0"], name="first", pads=[1, 1, 1, 1]),
        make("Relu", ["c0"], ["skip"], name="first_relu"),
        make("MaxPool", ["skip"], ["low"], name="down", kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["low", "w1", "b1"], ["c1"], name="widen", pads=[1, 1, 1, 1]),
        make("Relu", ["c1"], ["wide"], name="widen_relu"),
        make("Conv", ["wide", "w2", "b2"], ["c2"], name="deep", pads=[1, 1, 1, 1]),
        make("Relu", ["c2"], ["deeper"], name="deep_relu"),
        make("Conv", ["deeper", "w3", "b3"], ["c3"], name="narrow"),
        make("Relu", ["c3"], ["narrowed"], name="narrow_relu"),
        make("ConvTranspose", ["narrowed", "w4", "b4"], ["up"], name="up", strides=[2, 2]),
        make("Add", ["up", "skip"], ["sum"], name="join"),
        make("GlobalAveragePool", ["sum"], ["pooled"], name="pool"),
        make("Flatten", ["pooled"], ["flat"], name="flatten"),
        make("Gemm", ["flat", "w5", "b5"], ["y"], name="classify", transB=1),
    ]
    shapes = [(8, 3, 3, 3), (64, 8, 3, 3), (64, 64, 3, 3), (8, 64, 1, 1), (8, 8, 2, 2), (4, 8)]
    constants = {}
    for i, shape in enumerate(shapes):
        constants[f"w{i}"] = floats(*shape, seed=i) / np.float32(np.prod(shape[1:]) ** 0.5)
        constants[f"b{i}"] = floats(shape[1] if i == 4 else shape[0], seed=10 + i) / np.float32(10)
    return model(nodes, {"x": (1, 3, 16, 16)}, constants, ["y"])


@pytest.fixture(scope="module")
def samples() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(3).normal(0, 1, (16, 3, 16, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def plain(samples: dict[str, np.ndarray]) -> dnncc.Compilation:
    return dnncc.compile(u_net(), target="stm32f4", calibrate=samples)


def needs_of(compilation: dnncc.Compilation) -> dict[Node, KernelNeeds]:
    return {node: code.needs for node, code in compilation.program.code.items()}


@pytest.fixture(scope="module")
def smaller(plain: dnncc.Compilation) -> Rematerialized:
    return rematerialize(plain.program.graph, needs_of(plain), 9000)


def test_a_fused_graph_within_a_budget(plain: dnncc.Compilation, smaller: Rematerialized) -> None:
    before = str(plain.program.graph)
    assert plain.program.plan.arena_bytes == smaller.given_peak == 10_880
    assert [(again.name, node.name) for again, node in smaller.clones.items()] == [("first_again", "first")]
    assert smaller.solution.status == "optimal"
    (again,) = smaller.clones
    assert smaller.solution.added == node_work(again) == 16 * 16 * 8 * 27 + 16 * 16 * 8
    verify(smaller.graph)
    assert_same_meaning(plain.program.graph, smaller.graph)
    assert str(plain.program.graph) == before
    stated = state(smaller.graph, smaller.needs)
    assert peak_of(stated) == smaller.solution.peak <= 9000
    plan = make_plan(smaller.graph, smaller.needs)
    assert plan.arena_bytes <= 9000
    assert plan.status == "optimal"


def test_a_fixed_order_keeps_first_executions(plain: dnncc.Compilation) -> None:
    graph = plain.program.graph
    found = rematerialize(graph, needs_of(plain), 9000, fixed_order=True)
    firsts = [n.name for n in found.graph.nodes if n not in found.clones]
    assert firsts == [n.name for n in graph.nodes]


def test_work_decides_what_runs_again(plain: dnncc.Compilation) -> None:
    graph = plain.program.graph
    dear = {n: 1000 if n.name == "first" else 1 for n in graph.nodes}
    found = rematerialize(graph, needs_of(plain), 9000, work=dear)
    assert found.solution.added == 1000


def test_a_budget_below_the_bound_names_the_node(plain: dnncc.Compilation) -> None:
    with pytest.raises(BudgetError) as caught:
        rematerialize(plain.program.graph, needs_of(plain), 8831)
    assert "at least 8,832" in caught.value.message
    assert "'deep'" in caught.value.message
    assert "patches" in caught.value.help


@pytest.mark.parametrize("place", ["interpreter", "host", "emulator"])
def test_compiled_through_the_pass_it_is_bit_exact(
    place: str,
    plain: dnncc.Compilation,
    samples: dict[str, np.ndarray],
    built_once: Callable[[str, Callable[[Path], object]], Path],
) -> None:
    def build(folder: Path) -> None:
        found = dnncc.compile(
            u_net(),
            target="stm32f4",
            calibrate=samples,
            passes=f"{PIPELINE},rematerialize{{budget=8300}}",
        )
        assert [n.name for n in found.program.plan.steps].count("first_again") == 1
        assert found.program.plan.arena_bytes == 8832
        assert found.program.weights_bytes == plain.program.weights_bytes
        assert found.program.functions.keys() == plain.program.functions.keys()
        for sample in found.samples:
            for one, other in zip(
                interpret(plain.graph, sample), interpret(found.graph, sample), strict=True
            ):
                np.testing.assert_array_equal(one, other)
        write_artifact(found, folder / "net")

    folder = built_once("rematerialized", build) / "net"
    validation = dnncc.validate(folder, on=place)
    assert validation.match
    assert validation.values > 0


def test_the_pass_on_float_graphs(tmp_path: Path) -> None:
    graph = dnncc.load(u_net())
    run_passes("simplify", graph)
    before = graph.clone()
    path = tmp_path / "g.ir"
    write_ir(graph, path)
    assert run_passes("rematerialize{budget=0.82,order=fixed}", graph)
    assert len(graph.nodes) > len(before.nodes)
    assert_same_meaning(before, graph)
    error = failure(3, "E0302", "opt", path, "--passes", "rematerialize{budget=0.5}")
    assert "no order and no recomputation" in error["message"]
    assert (
        "no positive number"
        in failure(2, "E0201", "opt", path, "--passes", "rematerialize{budget=0}")["message"]
    )


def test_a_graph_with_several_outputs_and_views_keeps_its_outputs() -> None:
    from dnncc.ir.text import parse_graph

    graph = parse_graph(
        """graph g(%x: u8[1,8,8,1] scale=0.5) {
          %e: u8[1,8,8,1] scale=0.5 = max_pool2d(%x) {kernel=(3, 3), pads=(1, 1, 1, 1)}
          %v: u8[8,8] scale=0.5 = reshape(%e) {shape=(8, 8)}
          %p: u8[1,8,8,1] scale=0.5 = max_pool2d(%e) {kernel=(3, 3), pads=(1, 1, 1, 1)}
          %q: u8[1,8,8,2] scale=0.5 = concat(%p, %p) {axis=3}
          %s: u8[1,1,1,2] scale=0.5 = max_pool2d(%q) {kernel=(8, 8)}
          %t: u8[8,8] scale=0.5 = transpose(%v) {perm=(1, 0)}
          return %s, %x, %t, %t, %p
        }"""
    )
    before = graph.clone()
    assert run_passes("rematerialize{budget=130,order=fixed}", graph)
    assert_same_meaning(before, graph)
    assert [n.op.name for n in graph.nodes].count("max_pool2d") == 4
    assert isinstance(graph, Graph)
    assert len(random_inputs(graph, 0)) == 1


def test_lowered_clones_share_code_and_constants(smaller: Rematerialized) -> None:
    (again,) = smaller.clones
    assert lower_group(again).function == lower_group(smaller.clones[again]).function
