"""The planner that joins all measures: what it offers means the same, and it chooses what the objective asks for."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from dnncc.comparison import trade_off
from dnncc.ir.graph import Graph, Node, Value
from dnncc.ir.types import DType, TensorType
from dnncc.ir.verify import verify
from dnncc.measures import MEASURES, Candidate, Goal, Setting, recompute, reorder
from dnncc.ops.add import Add
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.patched import Patched
from dnncc.passes.planning import order
from dnncc.passes.planning.problem import Pool
from dnncc.plan import KernelNeeds, state
from dnncc.planner import WORK_LIMIT, Planner, summary
from dnncc.targets.program import GroupCode, Kernels, needs_of
from dnncc.working_set import largest_working_set
from ir_cases import assert_same_meaning


def lower(node: Node, compact: bool) -> GroupCode:
    """No code: what kernels need. Outputs go over inputs of the same size where nothing has a window."""
    elementwise = all(n.op.elementwise for n in node.op.graph.nodes)  # type: ignore[attr-defined]
    rules = {
        (0, i): 0 for i, v in enumerate(node.inputs) if elementwise and v.type.bytes == node.output.type.bytes
    }
    scratch = 0 if elementwise else 8 if compact else 24
    if isinstance(node.op, Patched):
        scratch += -(-node.op.plan.workspace // 4) * 4
    return GroupCode("none", None, (), KernelNeeds(scratch, rules))  # type: ignore[arg-type]


def network(rng: Random, layers: int) -> Graph:
    """Pools and sums over images of few sizes; what is read late makes copies and recomputation pay."""
    graph = Graph("net", [Value("x", TensorType(DType.F32, (1, 4, 4, 2)))])
    values = [graph.inputs[0]]
    for i in range(layers):
        x = rng.choice(values[-3:])
        same = [v for v in values if v is not x and v.type == x.type and v is not graph.inputs[0]]
        if same and rng.random() < 0.5:
            values.append(graph.append(Add(), [x, rng.choice(same)], f"sum{i}"))
            continue
        height, width = x.type.shape[1:3]
        half = rng.random() < 0.3 and height % 2 == 0
        op = MaxPool2d((2, 2), (2, 2)) if half else MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1))
        assert height == width
        values.append(graph.append(op, [x], f"pool{i}"))
    graph.outputs = [graph.append(MaxPool2d((1, 1)), [values[-1]], "last")]
    graph.prune()
    return graph


def ladder(meaning: Graph, ram: int | None, outer: int | None = None, budget: int | None = None) -> Setting:
    external = None if outer is None else Pool("psram", outer, 5)
    return Setting(meaning, Kernels(lower), [Pool("ram", ram, 1)], external, budget, 4, 2.0)


def skipping(depth: int = 8) -> Graph:
    """Values that are all kept and added in reverse order."""
    graph = Graph("net", [Value("x", TensorType(DType.F32, (1, 4, 4, 2)))])
    same = MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1))
    x, kept = graph.inputs[0], []
    for i in range(2 * depth):
        x = graph.append(same, [x], f"pool{i}")
        if i >= depth:
            x = graph.append(Add(), [x, kept.pop()], f"sum{i}")
        else:
            kept.append(x)
    graph.outputs = [graph.append(same, [x], "last")]
    return graph


@pytest.mark.parametrize("seed", range(12))
def test_every_candidate_means_the_same_and_keeps_its_word(seed: int) -> None:
    rng = Random(seed)
    meaning = network(rng, rng.randint(4, 10))
    text = str(meaning)
    plain = next(iter(reorder(ladder(meaning, None), (), Goal())))
    assert isinstance(plain, Candidate)
    ram = rng.randint(plain.plan.arena_bytes // 3, plain.plan.arena_bytes)
    for objective in ("balanced", "time", "ram"):
        planner = Planner(ladder(meaning, ram, rng.choice([None, 256, 100_000])), objective)
        decision = planner.explore(3) if seed % 2 else planner.decide()
        for found in decision.candidates:
            verify(found.graph)
            assert_same_meaning(meaning, found.graph)
            assert found.bound <= found.plan.arena_bytes
            assert set(found.code) == {n for n in found.plan.steps if n.op.name == "fused"}
            assert found.fits == found.plan.fits == (found.excess == 0)
            assert found.work >= plain.work
        fits = [c for c in decision.candidates if c.fits]
        assert decision.chosen.fits == bool(fits)
        assert [t.verdict for t in decision.measures].count("chosen") == 1
        assert {t.measure.split(" + ")[-1] for t in decision.measures} >= {m.name for m in MEASURES}
        cheap = [c for c in fits if c.work <= (1 + WORK_LIMIT) * plain.work]
        if objective == "ram" and cheap and not seed % 2:
            assert decision.chosen.plan.arena_bytes == min(c.plan.arena_bytes for c in cheap)
        if objective == "time" and fits and not seed % 2:
            assert decision.chosen.work == min(c.work for c in fits)
    assert str(meaning) == text


@pytest.mark.parametrize("seed", range(10))
def test_against_every_order(seed: int) -> None:
    """Brute force: the plain plan has the least peak of all orders, and no bound exceeds it."""
    meaning = network(Random(100 + seed), 6)
    setting = ladder(meaning, None)
    plain = next(iter(reorder(setting, (), Goal())))
    assert isinstance(plain, Candidate)
    graph = setting.fused(meaning)
    needs = needs_of(graph, setting.kernels.of(graph))
    problem = state(graph, needs).problem
    made = {t: v for v, op in enumerate(problem.operators) for t in op.outputs}

    def valid(sequence: tuple[int, ...]) -> bool:
        at = {v: i for i, v in enumerate(sequence)}
        return all(
            made[t] not in at or at[made[t]] < at[v]
            for v, op in enumerate(problem.operators)
            for t in op.inputs
            if t in made
        )

    least = min(
        max(order.loads(problem, sequence))
        for sequence in permutations(range(len(problem.operators)))
        if valid(sequence)
    )
    assert plain.plan.order_peak_bytes == least
    assert largest_working_set(graph, needs).bytes <= plain.plan.bound_bytes <= least


def test_objectives_choose_differently() -> None:
    """Where the plain plan fits only "ram" does anything; at half the peak there is more than one way."""
    meaning = skipping()
    plain = Planner(ladder(meaning, None), "balanced").decide()
    assert plain.chosen.measures == ("reorder",)
    assert [t.verdict for t in plain.measures if t.measure in ("recompute", "spill")] == ["not tried"] * 2
    peak = plain.chosen.plan.arena_bytes
    others = [m for m in MEASURES if m.name != "recompute"]
    copied = Planner(ladder(meaning, peak // 2, 1 << 16), "balanced", others).decide()
    assert "spill" in copied.chosen.measures
    assert copied.chosen.fits
    assert copied.chosen.plan.copied_bytes > 0
    again = Planner(ladder(meaning, peak // 2), "balanced").decide()
    assert "recompute" in again.chosen.measures
    assert again.chosen.fits
    assert len(again.chosen.plan.steps) > len(plain.chosen.plan.steps)
    least = Planner(ladder(meaning, None), "ram").decide()
    assert least.chosen.plan.arena_bytes < peak
    assert least.chosen.work <= (1 + WORK_LIMIT) * plain.chosen.work


def test_a_budget_is_kept_by_all_pools_together() -> None:
    meaning = skipping()
    plain = Planner(ladder(meaning, None), "balanced").decide().chosen
    peak = plain.plan.arena_bytes
    pools = [Pool("ram", peak, 4), Pool("ccm", peak // 4, 1)]
    setting = Setting(meaning, Kernels(lower), pools, None, peak // 2, 4, 2.0)
    decision = Planner(setting, "balanced").decide()
    assert decision.chosen.fits
    assert 0 < decision.chosen.plan.arena_bytes <= peak // 2
    assert {p.name: p.capacity for p in decision.chosen.plan.pools} == {"ram": peak, "ccm": peak // 4}
    assert decision.capacity == decision.budget == peak // 2


def test_a_pool_is_no_budget_for_recomputation_alone() -> None:
    """Where a goal is above the board, bytes beyond the board do not count."""
    meaning = skipping()
    peak = Planner(ladder(meaning, None), "balanced").decide().chosen.plan.arena_bytes
    setting = ladder(meaning, peak // 2)
    plain = next(iter(reorder(setting, (), Goal())))
    assert isinstance(plain, Candidate)
    (wide,) = recompute(setting, [plain], Goal(peak * 3 // 4))
    (narrow,) = recompute(setting, [plain], Goal(peak // 2))
    assert isinstance(wide, Candidate)
    assert isinstance(narrow, Candidate)
    assert wide.work < narrow.work
    assert wide.plan.arena_bytes <= peak * 3 // 4


def test_the_trade_off_keeps_what_nothing_beats() -> None:
    decision = Planner(ladder(skipping(), None, 1 << 16), "balanced").explore(4)
    points = trade_off(decision)
    assert [p.arena_bytes for p in points] == sorted(p.arena_bytes for p in points)
    best = [p for p in points if p.best]
    assert len(best) > 2
    assert [p.added_percent for p in best] == sorted((p.added_percent for p in best), reverse=True)
    for point in points:
        beaten = any(
            (p.arena_bytes, p.added_percent) != (point.arena_bytes, point.added_percent)
            and p.arena_bytes <= point.arena_bytes
            and p.added_percent <= point.added_percent
            for p in points
        )
        assert point.best != beaten


def test_the_explanation_is_the_same_every_time() -> None:
    first, second = (Planner(ladder(skipping(4), 500), "ram").decide() for _ in range(2))
    assert summary(first) == summary(second)
