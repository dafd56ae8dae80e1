"""Fusion: what ends in which kernel."""

from __future__ import annotations

import pytest
from dnncc.ir.graph import Const, Graph
from dnncc.ir.text import parse_graph, print_graph
from dnncc.ops.fused import Fused
from dnncc.passes.pipeline import run_passes
from ir_cases import assert_same_meaning
from ir_random import random_graph

ANCHORS_MAY_MEET = {"pad", "transpose"}


def kernels(graph: Graph) -> list[Graph]:
    return [node.op.graph for node in graph.nodes if isinstance(node.op, Fused)]


def fused(text: str) -> list[str]:
    """Each kernel of the fused graph as "name: op op ..."."""
    graph = parse_graph(text)
    run_passes("fuse", graph)
    return [f"{k.name}: {' '.join(n.op.name for n in k.nodes)}" for k in kernels(graph)]


@pytest.mark.parametrize("pipeline", ["fuse", "simplify,fuse"])
@pytest.mark.parametrize("seed", range(200, 220))
def test_random_networks(seed, pipeline):
    before = random_graph(seed, 12)
    flat = before.clone()
    run_passes(pipeline.removesuffix("fuse"), flat)
    graph = before.clone()
    run_passes(pipeline, graph)
    assert_same_meaning(before, graph, seed)

    inside = [node for kernel in kernels(graph) for node in kernel.nodes]
    outside = [node for node in graph.nodes if not isinstance(node.op, Fused)]
    assert all(node.op.is_view for node in outside)
    assert not any(node.op.is_view for node in inside)
    assert sorted(repr(n) for n in [*inside, *outside]) == sorted(repr(n) for n in flat.nodes)
    for node, kernel in zip(graph.find("fused"), kernels(graph), strict=True):
        assert not any(isinstance(v, Const) for v in node.inputs)
        assert len(set(node.inputs)) == len(node.inputs)
        assert [(v.name, v.type) for v in kernel.inputs] == [(v.name, v.type) for v in node.inputs]
        assert not {*kernel.values()} & {*graph.values()}
        anchors = [n for n in kernel.nodes if not n.op.elementwise]
        assert len([n for n in anchors if n.op.name not in ANCHORS_MAY_MEET]) <= 1
        assert node.name == kernel.name == (anchors or kernel.nodes)[-1].name

    again = print_graph(graph)
    assert not run_passes("fuse", graph)
    assert print_graph(graph) == again


def test_the_later_producer_takes_the_residual():
    text = """
        graph g(%x: f32[1,2,2,1]) {{
          %w: f32[1,1,1,1] = const [2.0]
          %b: f32[1] = const [0.0]
          %first: f32[1,2,2,1] = conv2d(%x, %w, %b)
          %second: f32[1,2,2,1] = conv2d(%x, %w, %b)
          {}
          %sum: f32[1,2,2,1] = add(%second_r, %first_r)
          %y: f32[1,2,2,1] = clip(%sum) {{hi=6.0}}
          return %y
        }}"""
    relus = ["%first_r: f32[1,2,2,1] = relu(%first)", "%second_r: f32[1,2,2,1] = relu(%second)"]
    for order in (relus, relus[::-1]):
        assert sorted(fused(text.format("\n".join(order)))) == [
            "first: conv2d relu",
            f"second: conv2d {'relu '}add clip",
        ]


def test_a_value_with_two_readers_is_stored():
    assert fused("""
        graph g(%x: f32[1,2,2,1]) {
          %a: f32[1,2,2,1] = max_pool2d(%x)
          %r: f32[1,2,2,1] = relu(%a)
          %c: f32[1,2,2,1] = clip(%r) {hi=1.0}
          %y: f32[1,2,2,1] = mul(%c, %r)
          return %y
        }""") == ["a: max_pool2d relu", "y: clip mul"]


def test_an_operand_that_broadcasts_is_not_computed_for_each_element():
    assert fused("""
        graph g(%x: f32[1,2,2,3], %s: f32[1,1,1,3]) {
          %gate: f32[1,1,1,3] = relu(%s)
          %p: f32[1,2,2,3] = max_pool2d(%x)
          %y: f32[1,2,2,3] = mul(%p, %gate)
          return %y
        }""") == ["gate: relu", "p: max_pool2d mul"]


def test_views_end_kernels():
    assert fused("""
        graph g(%x: f32[1,4]) {
          %s: f32[1,4] = softmax(%x) {axis=1}
          %v: f32[4] = reshape(%s) {shape=(4,)}
          %y: f32[4] = relu(%v)
          return %y
        }""") == ["s: softmax", "y: relu"]


def test_a_prologue_needs_the_data_operand_of_its_only_reader():
    assert fused("""
        graph g(%x: f32[1,1,2,2], %k: f32[1,2,1,1]) {
          %t: f32[1,2,2,1] = transpose(%x) {perm=(0, 2, 3, 1)}
          %w: f32[2,1,1,1] = transpose(%k) {perm=(1, 0, 2, 3)}
          %b: f32[2] = const [0.0, 1.0]
          %y: f32[1,2,2,2] = conv2d(%t, %w, %b)
          %u: f32[1,2,2,2] = pad(%y) {pads=((0, 0), (0, 0), (0, 0), (0, 0))}
          %p: f32[1,1,1,2] = max_pool2d(%u) {kernel=(2, 2)}
          %q: f32[1,2,2,2] = max_pool2d(%u)
          return %p, %q
        }""") == ["w: transpose", "y: transpose conv2d", "u: pad", "p: max_pool2d", "q: max_pool2d"]
