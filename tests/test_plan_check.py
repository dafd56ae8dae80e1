"""The independent check of plans: whatever changes what a network computes is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import dnncc.plan
import numpy as np
import pytest
from commandline import dnncc as run
from conftest import Example
from dnncc.errors import InternalError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.passes.pipeline import run_passes
from dnncc.passes.planning.problem import Pool
from dnncc.plan import KernelNeeds, Plan, make_plan
from dnncc.plan_check import check_plan
from dnncc.replacement import replace_tensors
from dnncc.working_set import largest_working_set
from ir_cases import random_inputs
from ir_random import random_graph


def execute(graph: Graph, needs: dict[Node, KernelNeeds], plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """The network in the plan's bytes: as generated code would run it."""
    rng = np.random.default_rng(7)
    room = 1 << 16
    memory = [rng.integers(0, 256, room, np.uint8) for _ in plan.pools]
    outside: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    views = {n.output: n for n in graph.nodes if n.op.is_view}

    def read(value: Value) -> Array:
        if isinstance(value, Const):
            return value.data
        if value in plan.offsets:
            start = plan.offsets[value]
            raw = memory[plan.pool_of[value]][start : start + value.type.bytes].copy()
            return raw.view(value.type.dtype.numpy).reshape(value.type.shape)
        if value in outside:
            return outside[value]
        node = views[value]
        (shown,) = node.op.reference(read(node.inputs[0]))
        return shown

    def write(value: Value, data: Array) -> None:
        if value in plan.offsets:
            start = plan.offsets[value]
            raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
            memory[plan.pool_of[value]][start : start + value.type.bytes] = raw
        else:
            outside[value] = data
        # The caller's outputs are views of what is written, or the other way round.
        for view in views.values():
            if view.inputs[0] is value and view.output not in plan.offsets:
                outside[view.output] = view.op.reference(data)[0]

    def spoil(now: int) -> None:
        start = plan.scratch[now]
        if start is not None:
            scratch = needs[plan.steps[now]].scratch
            memory[plan.scratch_pools[now]][start : start + scratch] = rng.integers(0, 256, scratch, np.uint8)

    for now, node in enumerate(plan.steps):
        spoil(now)
        results = node.op.reference(*(read(v) for v in node.inputs))
        for value, data in zip(node.outputs, results, strict=True):
            write(value, data)
        spoil(now)
    return [read(v) for v in graph.outputs]


def planned(seed: int) -> tuple[Graph, dict[Node, KernelNeeds], Plan]:
    rng = Random(seed)
    graph = random_graph(seed, 8)
    run_passes("simplify,last-step,separate-outputs,fuse", graph)

    def need(node: Node) -> KernelNeeds:
        rules = {
            (0, i): 0
            for i, v in enumerate(node.inputs)
            if v.type.bytes == node.outputs[0].type.bytes and rng.random() < 0.7
        }
        return KernelNeeds(rng.choice([0, 0, 12]), rules)

    needs = {n: need(n) for n in graph.nodes if not n.op.is_view}
    if seed % 3 == 1:
        least = largest_working_set(graph, needs).bytes
        found = replace_tensors(graph, needs, least + 16)
        graph, needs = found.graph, dict(found.needs)
    pools = (Pool("ram"),) if seed % 3 else (Pool("ram", 120, 3), Pool("ccm", 80, 1), Pool("other", None, 9))
    return graph, needs, make_plan(graph, needs, 0.1, pools=pools)


def damaged(plan: Plan, rng: Random) -> Plan:
    kind = rng.choice(["offset", "swap", "scratch", "pool", "together"])
    values = [v for v in plan.offsets if v.type.bytes]
    if kind == "swap" and len(plan.steps) > 1:
        i = rng.randrange(len(plan.steps) - 1)
        steps = list(plan.steps)
        steps[i], steps[i + 1] = steps[i + 1], steps[i]
        return replace(plan, steps=tuple(steps))
    places = [i for i, s in enumerate(plan.scratch) if s is not None]
    if kind == "scratch" and places:
        scratch = list(plan.scratch)
        scratch[rng.choice(places)] = 4 * rng.randrange(20)
        return replace(plan, scratch=tuple(scratch))
    if not values:
        return plan
    value = rng.choice(values)
    at = plan.offsets[value]
    moved = [v for v in plan.offsets if plan.offsets[v] == at and plan.lifetimes[v] == plan.lifetimes[value]]
    target = plan.offsets[rng.choice(values)] if kind == "together" else 4 * rng.randrange(30)
    if kind == "pool":
        pool = rng.randrange(len(plan.pools))
        return replace(plan, pool_of={**plan.pool_of, **dict.fromkeys(moved, pool)})
    return replace(plan, offsets={**plan.offsets, **dict.fromkeys(moved, target)})


@pytest.mark.parametrize("seed", range(24))
def test_a_plan_that_computes_something_else_is_refused(seed: int) -> None:
    graph, needs, plan = planned(seed)
    inputs = random_inputs(graph, seed)
    expected = interpret(graph, inputs)

    def right(found: Sequence[Array]) -> bool:
        return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(expected, found, strict=True))

    assert right(execute(graph, needs, plan, inputs))
    rng = Random(seed)
    wrong = 0
    for _ in range(40):
        changed = damaged(plan, rng)
        try:
            good = right(execute(graph, needs, changed, inputs))
        except (KeyError, ValueError):
            good = False
        if not good:
            wrong += 1
            with pytest.raises(InternalError, match="memory plan failed its check"):
                check_plan(graph, needs, changed)
    assert wrong or not plan.offsets


def test_figures_that_are_not_true_are_refused() -> None:
    graph, needs, plan = planned(2)
    for lie in (
        {"arena_bytes": plan.arena_bytes - 4},
        {"bound_bytes": plan.arena_bytes + 4},
        {"status": "feasible" if plan.status == "optimal" else "optimal"},
        {"pools": tuple(replace(p, bytes=p.bytes + 4) for p in plan.pools)},
        {"lifetimes": {v: (first, first) for v, (first, _) in plan.lifetimes.items()}},
        {"steps": plan.steps[1:], "scratch": plan.scratch[1:], "scratch_pools": plan.scratch_pools[1:]},
    ):
        with pytest.raises(InternalError, match="memory plan failed its check"):
            check_plan(graph, needs, replace(plan, **lie))  # type: ignore[arg-type]


def test_commands_check_their_plans(
    digits: Example, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """A planner that lays everything over everything does not get past any command."""
    place = dnncc.plan._place

    def careless(*arguments: object) -> object:
        found = place(*arguments)  # type: ignore[arg-type]
        return replace(found, offsets=(0,) * len(found.offsets))

    monkeypatch.setattr(dnncc.plan, "_place", careless)
    for words in (
        ("inspect", digits.model),
        ("compile", digits.model, "--target", "stm32", "-o", f"{tmp_path}/net"),
    ):
        found = run(*words)
        assert found.status == 70, found.err
        assert "memory plan failed its check" in found.err
