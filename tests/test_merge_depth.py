"""Depth merging as a pass: what may merge, what it becomes, and that budgets, exactness and plans are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import pytest
from commandline import dnncc as command
from dnncc.errors import BudgetError, CalibrationError, UnsupportedError, UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.text import write_ir
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.lrn import Lrn
from dnncc.ops.relu import Relu
from dnncc.ops.reshape import Reshape
from dnncc.passes.base import Surroundings
from dnncc.passes.depth.latency import Meter
from dnncc.passes.depth.layers import find_layers
from dnncc.passes.depth.rewrite import merged
from dnncc.passes.depth.training import Data, outputs_of, train
from dnncc.passes.merge_depth import MergeDepth
from dnncc.passes.pipeline import Pipeline

C = 4


class _Builder:
    """A graph of convolutions on [1,8,8,C]."""

    def __init__(self, channels: int = C, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.x = Value("x", TensorType(DType.F32, (1, 8, 8, channels)))
        self.graph = Graph("net", [self.x])

    def conv(
        self, x: Value, name: str, out: int, size: int = 1, groups: int = 1, pad: int | None = None, **op: Any
    ) -> Value:
        pad = size // 2 if pad is None else pad
        shape = (out, size, size, x.type.shape[-1] // groups)
        scale = np.float32(np.prod(shape[1:]) ** -0.5)
        w = self.graph.const(f"{name}_w", self.generator.standard_normal(shape).astype(np.float32) * scale)
        b = self.graph.const(
            f"{name}_b", self.generator.standard_normal(out).astype(np.float32) * np.float32(0.1)
        )
        return self.graph.append(Conv2d(pads=(pad,) * 4, groups=groups, **op), [x, w, b], name)

    def relu(self, x: Value) -> Value:
        return self.graph.append(Relu(), [x], f"{x.name}_relu")

    def add(self, a: Value, b: Value, name: str) -> Value:
        return self.graph.append(Add(), [a, b], name)

    def block(self, x: Value, name: str, expand: int = 6) -> Value:
        """Of a MobileNetV2, with its skip."""
        c = x.type.shape[-1]
        y = self.relu(self.conv(x, f"{name}1", expand * c))
        y = self.relu(self.conv(y, f"{name}2", expand * c, 3, groups=expand * c))
        return self.add(self.conv(y, f"{name}3", c), x, f"{name}_sum")

    def done(self, *outputs: Value) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph


def _mobile(blocks: int = 2) -> Graph:
    """Blocks between a stem and a classifier."""
    b = _Builder()
    x = b.relu(b.conv(b.x, "stem", C, 3))
    for k in range(blocks):
        x = b.block(x, f"block{k}_")
    x = b.graph.append(AveragePool2d(kernel=(8, 8)), [x], "pool")
    x = b.graph.append(Reshape((1, C)), [x], "flat")
    w = b.graph.const("w", b.generator.standard_normal((3, C)).astype(np.float32))
    x = b.graph.append(Linear(), [x, w, b.graph.const("b", np.zeros(3, np.float32))], "logits")
    return b.done(x)


def _samples(graph: Graph, count: int = 8) -> dict[str, Array]:
    generator = np.random.default_rng(1)
    return {
        v.name: generator.standard_normal((count, *v.type.shape[1:])).astype(np.float32) for v in graph.inputs
    }


def _sqnr(graph: Graph, other: Graph) -> float:
    """Decibels, on noise."""
    inputs = tuple(_samples(graph).values())
    a, b = (
        np.concatenate([y.ravel() for y in outputs_of(g, inputs)]).astype(np.float64) for g in (graph, other)
    )
    return float(10 * np.log10(np.square(a).sum() / max(np.square(a - b).sum(), 1e-300)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cost that needs no tools: a multiplication takes one, of a kernel of one channel four, an element one."""

    def cost(meter: Meter, graph: Graph, without: str | None, passes: str | None, samples: Any) -> int:
        total = 0
        for node in graph.nodes:
            depthwise = node.op.name == "conv2d" and node.inputs[1].type.shape[-1] == 1
            total += node.macs * (4 if depthwise else 1) + (node.name != without) * node.output.type.size
        return total

    monkeypatch.setattr(Meter, "_measure", cost)
    monkeypatch.setattr("dnncc.passes.depth.latency._KNOWN", {})


# -- what may merge ----------------------------------------------------------------------------------------------------


def test_rows_end_where_values_are_needed_and_skips_are_barriers() -> None:
    graph = _mobile(2)
    layers = find_layers(graph)
    assert [layer.conv.name for layer in layers.layers] == [
        "stem", "block0_1", "block0_2", "block0_3", "block1_1", "block1_2", "block1_3",
    ]  # fmt: skip
    assert [layer.skip for layer in layers.layers] == [None, None, None, 1, None, None, 4]
    assert [layer.unsigned for layer in layers.layers] == [False, True, True, True, False, True, True]
    # Inside a block everything may merge but what leaves the skip's start or end inside: (0, 2), (3, 5) and so on.
    assert set(layers.segments(7)) == {
        (0, 4), (0, 7), (1, 3), (1, 4), (1, 7), (2, 4), (4, 6), (4, 7), (5, 7),
    }  # fmt: skip


def test_a_value_that_others_read_stays() -> None:
    b = _Builder()
    first = b.conv(b.x, "first", C)
    second = b.conv(first, "second", C)
    third = b.conv(second, "third", C)
    graph = b.done(third, b.relu(first))
    assert set(find_layers(graph).segments(5)) == {(1, 3)}
    graph.outputs.append(second)
    assert not set(find_layers(graph).segments(5))


def test_a_sum_with_a_value_from_elsewhere_is_a_barrier() -> None:
    b = _Builder()
    other = b.graph.append(Relu(), [b.x], "other")
    x = b.add(b.conv(b.conv(b.x, "first", C), "second", C), other, "sum")
    graph = b.done(b.conv(x, "third", C))
    layers = find_layers(graph)
    assert set(layers.segments(5)) == {(0, 2)}
    assert _sqnr(graph, merged(graph, [(0, 2, ())])) > 120


def test_merging_a_block_gives_one_convolution_with_the_skip_inside() -> None:
    """Equal to the network without the activations whose padding is moved: here the border is looked away from."""
    b = _Builder()
    x = b.conv(b.x, "one", 3 * C)
    x = b.conv(x, "two", 3 * C, 3, groups=3 * C)
    graph = b.done(b.add(b.conv(x, "three", C), b.x, "sum"))
    found = merged(graph, [(0, 3, ())])
    (node,) = found.nodes
    assert node.op == Conv2d(pads=(1, 1, 1, 1))
    assert [v.name for v in found.outputs] == [v.name for v in graph.outputs]
    x0 = next(iter(_samples(graph, 1).values()))
    inner = [interpret(g, [x0])[0][:, 1:-1, 1:-1] for g in (graph, found)]
    assert np.abs(inner[0] - inner[1]).max() < 1e-5
    assert _sqnr(graph, found) < 60


# -- exact mode --------------------------------------------------------------------------------------------------------


def _exact_network() -> Graph:
    """Bottlenecks without activations, strided, dilated and grouped, without padding but in the first one."""
    b = _Builder(channels=8)
    x = b.conv(b.x, "a", 4, 3, dilations=(1, 1))
    x = b.conv(x, "b", 8, pad=0, groups=2)
    x = b.relu(b.conv(x, "c", 4, 2, pad=0, strides=(2, 2)))
    x = b.conv(x, "d", 16, pad=0)
    return b.done(b.relu(b.conv(x, "e", 4, pad=0)))


@pytest.mark.usefixtures("counted")
def test_exact_merges_change_nothing_and_cost_less() -> None:
    graph = _exact_network()
    before = graph.clone()
    step = MergeDepth(target="cortex-m4")
    assert step.run(graph)
    assert len(graph.find("conv2d")) < len(before.find("conv2d"))
    assert graph.macs() < before.macs()
    assert _sqnr(before, graph) > 120
    assert step.notes() == ()
    assert step.resolved().plan == tuple(tuple(ends) for ends in step.record()["merges"])


@pytest.mark.usefixtures("counted")
def test_a_merge_that_would_be_slower_is_refused() -> None:
    """Pointwise, then depthwise, no activation, no padding: exact, but dense."""
    b = _Builder(channels=8)
    graph = b.done(b.relu(b.conv(b.conv(b.x, "pointwise", 32), "depthwise", 32, 3, groups=32, pad=0)))
    before = str(graph)
    step = MergeDepth(target="cortex-m4")
    assert not step.run(graph)
    assert str(graph) == before
    (segment,) = step.record()["segments"]
    assert segment["names"] == ["pointwise", "depthwise"]
    assert segment["merged"] > segment["apart"]


def test_on_the_emulator_exact_merges_keep_every_bit_and_pointwise_plus_depthwise_is_refused(
    tmp_path: Path,
) -> None:
    """Measured for real: the first two become one, the last two do not."""
    b = _Builder(channels=16)
    x = b.relu(b.conv(b.conv(b.x, "narrow", 8), "wide", 16))
    graph = b.done(b.relu(b.conv(b.conv(x, "pointwise", 32), "depthwise", 32, 3, groups=32, pad=0)))
    compilation = dnncc.compile(
        graph,
        target="cortex-m4",
        calibrate=_samples(graph),
        output=tmp_path / "net",
        passes="simplify,merge-depth,simplify,quantize,cse,dce",
    )
    (choice,) = compilation.choices
    assert choice["merges"] == [["narrow", "wide"]]
    apart = {tuple(s["names"]): s["apart"] for s in choice["segments"]}
    merged = {tuple(s["names"]): s["merged"] for s in choice["segments"]}
    assert merged["pointwise", "depthwise"] > apart["pointwise", "depthwise"]
    assert choice["after"] < choice["before"]
    assert "merge-depth{plan=((narrow, wide),)}" in compilation.pipeline
    assert json.loads((tmp_path / "net" / "manifest.json").read_text())["choices"] == [choice]
    assert _sqnr(graph, compilation.float_graph) > 120
    validation = dnncc.validate(tmp_path / "net", on="emulator", samples=4)
    assert validation.match and validation.values > 0


# -- approximate mode --------------------------------------------------------------------------------------------------


def _approximate(graph: Graph, **options: Any) -> MergeDepth:
    step = MergeDepth(mode="approximate", **options)
    return step.bind(Surroundings(_samples(graph, 16), target="cortex-m4"))


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("budget", [0.8, 0.6, 0.45])
def test_budgets_are_kept_and_a_plan_repeats_the_choice(budget: float) -> None:
    graph = _mobile(2)
    meter = Meter("cortex-m4", "int8")
    before = meter.network(graph)
    again = graph.clone()
    step = _approximate(graph, budget=budget)
    assert step.run(graph)
    assert meter.network(graph) <= budget * before
    (note,) = step.notes()
    assert "another network" in note
    assert step.record()["after"] == meter.network(graph)
    text = str(Pipeline((step.resolved(),)))
    (repeated,) = Pipeline.parse(text).passes
    repeated.run(again)
    assert str(again) == str(graph)


@pytest.mark.usefixtures("counted")
def test_a_budget_out_of_reach_is_an_error_that_says_what_is_reached() -> None:
    graph = _mobile(1)
    with pytest.raises(BudgetError, match="the fastest take"):
        _approximate(graph, budget=0.01).run(graph)


@pytest.mark.usefixtures("counted")
def test_the_least_important_block_goes_first() -> None:
    """The second block hardly adds anything, so that merging it loses less."""
    graph = _mobile(2)
    weights = next(n for n in graph.nodes if n.name == "block1_3").inputs[1]
    small = graph.const("small", weights.data * np.float32(1e-3))  # type: ignore[attr-defined]
    graph.replace_uses(weights, small)
    step = _approximate(graph, budget=0.7)
    step.run(graph)
    assert step.record()["merges"] == [["block1_1", "block1_3"]]


def test_training_brings_the_outputs_back_and_accuracy_counts_labels() -> None:
    graph = _mobile(1)
    samples = _samples(graph, 64)
    (outputs,) = outputs_of(graph, list(samples.values()))
    labels = outputs.argmax(axis=1)
    pipeline = Pipeline.parse(
        'merge-depth{mode=approximate,plan=(("block0_1", "block0_3"),),finetune=60,rate=0.01,labels=label}'
    )
    plain = graph.clone()
    trained = pipeline.bind(Surroundings(samples, {"label": labels}))
    trained.run(graph)
    untrained = Pipeline.parse('merge-depth{mode=approximate,plan=(("block0_1", "block0_3"),)}').bind(
        Surroundings(samples)
    )
    untrained.run(plain)
    after, before = (
        float(np.square(outputs_of(g, list(samples.values()))[0] - outputs).sum()) for g in (graph, plain)
    )
    assert after < 0.5 * before
    assert trained.passes[0].record()["distortion"] > 0


def test_training_takes_all_operators_or_names_those_that_it_does_not() -> None:
    b = _Builder()
    graph = b.done(b.graph.append(Lrn(size=3), [b.conv(b.x, "conv", C)], "norm"))
    data = Data.of(graph, _samples(graph))
    with pytest.raises(UnsupportedError, match="norm"):
        train(graph, data, 1, 1e-3)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("merge-depth{mode=approximate}", "needs a budget"),
        ("merge-depth{budget=-1}", "must be positive"),
        ("merge-depth{finetune=3}", "exact merges train and drop nothing"),
        ("merge-depth{mode=approximate,budget=0.5,importance=accuracy}", "needs labels"),
        ("merge-depth{longest=0}", "must be positive"),
    ],
)
def test_options_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Pipeline.parse(text)


def _refuses(graph: Graph, text: str, surroundings: Surroundings | None = None) -> Callable[[], None]:
    pipeline = Pipeline.parse(text)
    bound = pipeline if surroundings is None else pipeline.bind(surroundings)
    return lambda: bound.run(graph) and None


def test_what_is_missing_is_named() -> None:
    graph = _mobile(1)
    samples = _samples(graph)
    with pytest.raises(UsageError, match="needs a target"):
        _refuses(graph, "merge-depth{budget=0.5}")()
    with pytest.raises(UsageError, match="needs calibration samples"):
        _refuses(graph, "merge-depth{mode=approximate,budget=0.5,target=cortex-m4}")()
    with pytest.raises(UsageError, match=r"no array 'lable'.*label"):
        _refuses(
            graph,
            "merge-depth{mode=approximate,budget=0.5,labels=lable}",
            Surroundings(samples, {"label": np.zeros(8, np.int64)}, target="cortex-m4"),
        )()
    with pytest.raises(CalibrationError, match=r"one integer in 0\.\.2"):
        _refuses(
            graph,
            "merge-depth{mode=approximate,budget=0.5,labels=label}",
            Surroundings(samples, {"label": np.full(8, 3)}, target="cortex-m4"),
        )()


def test_a_plan_that_does_not_fit_is_refused_with_everything_wrong_with_it() -> None:
    graph = _mobile(1)
    with pytest.raises(UsageError, match=r"(?s)block0_4.*block0_9"):
        _refuses(graph, 'merge-depth{mode=approximate,plan=(("block0_4", "block0_9"),)}')()
    with pytest.raises(UsageError, match="cannot be merged exactly"):
        _refuses(graph, 'merge-depth{plan=(("block0_1", "block0_3"),)}')()
    with pytest.raises(UsageError, match="overlaps"):
        plan = '(("block0_1", "block0_2"), ("block0_2", "block0_3"))'
        _refuses(graph, f"merge-depth{{mode=approximate,plan={plan}}}")()


def test_the_command_line_merges_graphs_in_text_form(tmp_path: Path) -> None:
    """``dnncc opt`` with samples and labels from a file: the document says what was chosen, for the second run."""
    graph = _mobile(1)
    write_ir(graph, tmp_path / "net.ir")
    np.savez(tmp_path / "samples.npz", label=np.zeros(8, np.int64), **_samples(graph))  # type: ignore[arg-type]
    plan = 'plan=(("block0_1", "block0_3"),)'
    words = [
        "opt",
        str(tmp_path / "net.ir"),
        "--passes",
        f"merge-depth{{mode=approximate,finetune=1,{plan}}}",
    ]
    assert command(*words, "--json").status == 2
    document = command(*words, "--calibrate", tmp_path / "samples.npz", "--json").document
    assert document["choices"][0]["merges"] == [["block0_1", "block0_3"]]
    assert document["passes"].endswith("plan=((block0_1, block0_3),)}")
    assert document["graph"].count("conv2d") == 2


@pytest.mark.usefixtures("counted")
def test_layers_may_be_dropped_and_the_plan_says_which() -> None:
    """Without its depthwise convolution a block becomes a pointwise one, which costs less than any other merge."""
    graph = _mobile(2)
    again = graph.clone()
    before = Meter("cortex-m4", "int8").network(graph)
    kept = _approximate(graph, budget=0.15, longest=3, drop=True)
    plain = _approximate(graph, budget=0.15, longest=3)
    with pytest.raises(BudgetError):
        plain.run(graph.clone())
    kept.run(graph)
    assert kept.record()["after"] <= 0.15 * before
    assert kept.record()["merges"] == [["block0_1", "block0_3", "block0_2"], ["block1_1", "block1_3"]]
    assert [n.inputs[1].type.shape[1:3] for n in graph.find("conv2d")] == [(3, 3), (1, 1), (3, 3)]
    (note,) = kept.notes()
    assert "1 convolutions" in note
    kept.resolved().run(again)
    assert str(again) == str(graph)
    with pytest.raises(UsageError, match="cannot be merged"):
        _refuses(_mobile(1), 'merge-depth{mode=approximate,plan=(("block0_1", "block0_3", "block0_1"),)}')()
