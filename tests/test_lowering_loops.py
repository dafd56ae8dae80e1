"""Operators that say themselves how they loop: two results, a running state, a constant operand, scratch memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from dnncc.ir import Array, DType, Graph, TensorType, Value
from dnncc.ops.base import OPS, Op
from dnncc.ops.relu import Relu
from dnncc.passes.pipeline import Pipeline
from kernel_harness import Kernel


@pytest.fixture
def running_extremes() -> Iterator[type[Op]]:
    """Registered for one test only, as another package's operator would be."""

    @dataclass(frozen=True)
    class RunningExtremes(Op):
        """``low[i] = min(x[j] + w[j], j <= i)`` and the same of max, of i32 vectors."""

        name: ClassVar[str] = "running_extremes"

        def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
            return [inputs[0], inputs[0]]

        def reference(self, *inputs: Array) -> Sequence[Array]:
            x, w = inputs
            return [np.minimum.accumulate(x + w), np.maximum.accumulate(x + w)]

        def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
            (x, w), (low, high) = inputs, outputs
            n = int(x.shape[0])
            sums = t.alloc_buffer((n,), "int32")
            least = t.alloc_buffer((1,), "int32", scope="local")
            with t.serial(0, n) as i:
                t.buffer_store(sums, x[i] + w[i], [i])
            t.buffer_store(least, sums[0], [0])
            with t.serial(0, n) as i:
                with t.If(sums[i] < least[0]), t.Then():
                    t.buffer_store(least, sums[i], [0])
                t.buffer_store(low, least[0], [i])
                t.buffer_store(high, t.max(sums[i], high[t.max(i - 1, 0)]), [i])

    yield RunningExtremes
    del OPS["running_extremes"]


def test_loops_become_a_kernel_of_their_own(running_extremes: type[Op], tmp_path: Path) -> None:
    x = Value("x", TensorType(DType.I32, (9,)))
    graph = Graph("net", [x])
    w = graph.const("w", np.arange(9, dtype=np.int32)[::-1].copy())
    node = graph.make(running_extremes(), [x, w], "extremes")
    graph.nodes.append(node)
    graph.outputs = list(node.outputs)
    given = np.random.default_rng(0).integers(0, 1000, 9).astype(np.int32)
    Kernel(graph, tmp_path).check_on([given])


def test_nothing_fuses_with_loops(running_extremes: type[Op]) -> None:
    x = Value("x", TensorType(DType.I32, (9,)))
    graph = Graph("net", [x])
    before = graph.append(Relu(), [x], "before")
    node = graph.make(running_extremes(), [before, before], "extremes")
    graph.nodes.append(node)
    graph.outputs = [graph.append(Relu(), [node.outputs[0]], "after"), node.outputs[1]]
    Pipeline.parse("fuse").run(graph)
    assert [n.name for n in graph.nodes] == ["before", "extremes", "after"]
