"""Stages in parts of the image: the same bits, the work and the memory that the optimizer says."""

from __future__ import annotations

from pathlib import Path

import dnncc
import numpy as np
import pytest
from dnncc.errors import UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.text import parse_graph, print_graph
from dnncc.ir.verify import verify, verify_integer
from dnncc.ops.softmax import Softmax
from dnncc.passes.pipeline import Pipeline, run_passes
from dnncc.passes.planning import order
from dnncc.passes.planning.patch.problem import Form
from dnncc.patching import PatchOffer, patch_offers, state_patches, with_patches
from dnncc.plan import KernelNeeds, state
from ir_cases import random_inputs
from patch_networks import Net, quantized, random_cnn

SHAPES: list[tuple[Form, tuple[int, int]]] = [
    ("rows", (1, 1)),
    ("rows", (1, 3)),
    ("patches", (2, 2)),
    ("patches", (3, 1)),
    ("patches", (2, 4)),
]


def same_bits(before: Graph, after: Graph, seed: int = 0) -> None:
    inputs = random_inputs(before, seed)
    for old, new in zip(interpret(before, inputs), interpret(after, inputs), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("seed", range(12))
def test_every_stage_in_every_form_has_the_same_bits(seed: int) -> None:
    plain = quantized(random_cnn(seed))
    candidates = state_patches(plain, {}).candidates
    assert candidates
    rng = np.random.default_rng(seed)
    for index in rng.permutation(len(candidates))[:2]:
        for form, grid in SHAPES:
            patched = with_patches(plain, candidates[index], form, grid)
            verify(patched)
            verify_integer(patched)
            same_bits(plain, patched, seed)


@pytest.mark.parametrize("seed", [3, 7])
def test_float_stages_have_the_same_bits(seed: int) -> None:
    plain = random_cnn(seed)
    run_passes("simplify", plain)
    candidates = state_patches(plain, {}).candidates
    for form, grid in SHAPES:
        same_bits(plain, with_patches(plain, candidates[-1], form, grid), seed)


def test_offers_are_no_worse_than_said_and_none_beats_another() -> None:
    plain = quantized(random_cnn(5))
    peak = state_patches(plain, {}).problem.peak
    offers = patch_offers(plain)
    assert offers
    for offer in offers:
        assert offer.graph.macs() - plain.macs() == offer.added_macs
        assert offer.peak < peak
        assert _peak(offer) == offer.peak
    pairs = [(o.peak, o.added_macs) for o in offers]
    assert pairs == sorted(pairs)
    assert [added for _, added in pairs] == sorted({added for _, added in pairs}, reverse=True)


def _peak(offer: PatchOffer) -> int:
    """As the memory planner counts a fused graph in which the stage needs its plan's workspace."""
    graph = offer.graph.clone()
    run_passes("separate-outputs,fuse", graph)
    nodes = [n for n in graph.nodes if not n.op.is_view]
    needs = {n: KernelNeeds(offer.plan.workspace if n.op.name == "patched" else 0, {}) for n in nodes}
    return order.solve(state(graph, needs).problem).peak


def test_the_macs_of_a_patched_graph_are_those_that_are_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = quantized(random_cnn(8))
    candidate = state_patches(plain, {}).candidates[-1]
    executed: list[int] = []

    def counting(graph: Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
        executed.append(graph.macs())
        return interpret(graph, inputs)

    for form, grid in SHAPES:
        patched = with_patches(plain, candidate, form, grid)
        (node,) = patched.find("patched")
        arrays = random_inputs(patched, 1)
        executed.clear()
        with monkeypatch.context() as patch:
            patch.setattr("dnncc.interpreter.interpret", counting)
            node.op.reference(*arrays)
        assert sum(executed) == node.macs, (form, grid)


def test_every_pixel_is_computed_once_when_rows_are_kept() -> None:
    plain = quantized(random_cnn(5))
    for candidate in state_patches(plain, {}).candidates:
        assert with_patches(plain, candidate, "rows", (1, 1)).macs() <= plain.macs()


def test_the_pass() -> None:
    plain = quantized(random_cnn(5))
    best = patch_offers(plain)[0]
    graph = plain.clone()
    run_passes("patch", graph)
    assert graph.find("patched")[0].op.attributes(all_fields=True)["grid"] == best.plan.grid
    same_bits(plain, graph)
    text = print_graph(graph, inline=None)
    assert print_graph(parse_graph(text), inline=None) == text


def test_the_pass_keeps_to_the_work_and_to_the_budget() -> None:
    plain = quantized(random_cnn(5))
    offers = patch_offers(plain)
    for offer in offers:
        graph = plain.clone()
        run_passes(f"patch{{budget={offer.peak}}}", graph)
        assert graph.macs() - plain.macs() == offer.added_macs
    graph = plain.clone()
    run_passes("patch{added=0.0}", graph)
    assert graph.macs() <= plain.macs()


def test_the_pass_ends_a_stage_where_it_is_told_to() -> None:
    plain = quantized(random_cnn(5))
    sink = state_patches(plain, {}).candidates[0].sink.name
    graph = plain.clone()
    run_passes(f'patch{{form=patches,grid=(2, 3),to="{sink}"}}', graph)
    (node,) = graph.find("patched")
    assert node.output.name == sink
    assert node.op.plan.grid == (2, 3)
    same_bits(plain, graph)


def test_a_stage_that_cannot_end_there_is_an_error_that_names_where() -> None:
    plain = quantized(random_cnn(5))
    known = state_patches(plain, {}).candidates[0].sink.name
    with pytest.raises(UsageError, match="%nowhere") as caught:
        run_passes('patch{form=rows,to="nowhere"}', plain)
    assert known in (caught.value.help or "")


@pytest.mark.parametrize("options", ["form=any,to=x", "grid=(0, 1)", "added=-1.0", "budget=-1"])
def test_options_without_sense_are_refused(options: str) -> None:
    with pytest.raises(UsageError):
        Pipeline.parse(f"patch{{{options}}}")


def test_what_does_not_slide_over_rows_ends_the_stage() -> None:
    """A softmax over columns, a convolution whose weights are computed, a broadcast along rows."""
    net = Net(0, 3, 8, 8)
    net.x = net.conv(net.x, 4, (3, 3))
    last = net.x
    net.x = net.emit(Softmax(2), net.x)
    net.x = net.conv(net.x, 4, (3, 3))
    graph = net.finish()
    sinks = {c.sink.name for c in state_patches(graph, {}).candidates}
    assert last.name in sinks
    for candidate in state_patches(graph, {}).candidates:
        assert "softmax" not in [n.op.name for n in candidate.nodes]


@pytest.mark.parametrize(
    ("seed", "form", "grid"), [(8, "rows", (1, 2)), (5, "patches", (2, 2))], ids=["rows", "patches"]
)
def test_generated_code_has_the_same_bits(
    seed: int, form: str, grid: tuple[int, int], tmp_path: Path
) -> None:
    network = random_cnn(seed)
    plain = quantized(network)
    sink = state_patches(plain, {}).candidates[-1].sink.name
    passes = f'simplify,quantize,cse,dce,patch{{form={form},grid={grid},to="{sink}"}}'
    compiled = dnncc.compile(network, target="host-c", passes=passes, output=tmp_path / "net")
    functions = list(compiled.program.functions)
    assert len([f for f in functions if "_patched_" in f]) == 1
    # Strips and patches of the same shape share their kernels.
    assert len(functions) < grid[1] * len(compiled.program.plan.steps[0].op.rows.layers) + 5
    assert dnncc.validate(tmp_path / "net", on="host").match


def test_a_float_stage_compiles(tmp_path: Path) -> None:
    options = {"target": "host-c", "dtype": "float32", "passes": "simplify,patch"}
    dnncc.compile(random_cnn(3), output=tmp_path / "net", **options)
    assert dnncc.validate(tmp_path / "net", on="host").match


def test_least_memory_takes_a_stage_in_parts(tmp_path: Path) -> None:
    """The artifact's meaning stays the whole network, and the emulated core gives its bits."""
    net = Net(1, 3, 24, 24)
    net.x = net.conv(net.x, 8, (3, 3))
    net.x = net.conv(net.x, 8, (3, 3), (2, 2), depthwise=True)
    net.x = net.conv(net.x, 8)
    graph = net.finish()
    quick = dnncc.compile(graph.clone(), target="cortex-m4", optimize="time")
    small = dnncc.compile(graph.clone(), target="cortex-m4", optimize="ram", output=tmp_path / "net")
    assert not small.graph.find("patched")
    assert small.program.graph.find("patched")
    assert small.program.plan.arena_bytes < quick.program.plan.arena_bytes / 2
    assert dnncc.validate(tmp_path / "net", on="emulator").match
