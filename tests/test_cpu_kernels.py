"""The CPU's schedules on every level that this machine runs, against the interpreter, with one and with two threads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cpu_harness import bundle, check, float_conv, program, union, wrong
from dnncc.interpreter import interpret
from dnncc.ir import DType, Graph
from dnncc.runtime.cpus import CPUS, host_cpu, runnable
from dnncc.runtime.host import run_emulated, run_sanitized
from dnncc.runtime.library import LibraryModel
from kernel_harness import conv, linear, random_array, residual
from test_lowering import CASES, SAME

WIDE = {
    "pointwise, many pixels": conv((14, 14, 64), 96, 1),
    "pointwise, a prime number of pixels": conv((1, 37, 32), 40, 1),
    "pointwise, signed": conv((7, 7, 24), 144, 1, dtype=DType.I8, out=DType.I8),
    "3x3, weights larger than a cache": conv((7, 7, 160), 160, 3, 1, SAME),
    "3x3, strided, odd": conv((15, 13, 33), 17, 3, 2, SAME, dtype=DType.I8),
    "7x7 on three channels": conv((21, 23, 3), 24, 7, 2, (3, 3, 3, 3), dtype=DType.I8),
    "dilated": conv((11, 11, 20), 20, 3, 1, (2, 2, 2, 2), 2),
    "depthwise, 40 channels": conv((9, 11, 40), 40, 3, 1, SAME, groups=40),
    "depthwise, strided, 96 channels, signed": conv((14, 14, 96), 96, 3, 2, SAME, 1, 96, DType.I8, DType.I8),
    "depthwise 5x5": conv((9, 9, 32), 32, 5, 1, (2, 2, 2, 2), groups=32),
    "depthwise, dilated": conv((9, 9, 32), 32, 3, 1, (2, 2, 2, 2), 2, 32),
    "product": linear(1, 300, 130),
    "products": linear(17, 64, 48, DType.U8),
    "residual, wide": residual((7, 7, 64), 48, 1, (0, 0, 0, 0)),
    "float": float_conv((1, 9, 9, 20), 40, (3, 3), 1, SAME),
    "float, batch, odd": float_conv((2, 7, 5, 3), 17, (3, 2), 2, (1, 0, 1, 1)),
    "float, pointwise": float_conv((1, 12, 12, 32), 24, (1, 1)),
    "float, depthwise": float_conv((2, 9, 9, 24), 24, (3, 3), 1, SAME, groups=24),
    "float, depthwise, strided": float_conv((1, 9, 9, 40), 40, (3, 3), 2, (0, 0, 1, 1), groups=40),
}
GRAPHS = [graph for _, graph in CASES.values()] + list(WIDE.values())


def _random(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    h, w, c, o = (int(rng.integers(low, high)) for low, high in ((3, 20), (3, 20), (1, 70), (1, 70)))
    kernel = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    top, left, bottom, right = (int(p) for p in rng.integers(0, 3, 4))
    depthwise = rng.random() < 0.4
    dtype = DType.I8 if rng.random() < 0.5 else DType.U8
    groups = c if depthwise else 1
    stride, dilation = int(rng.integers(1, 3)), int(rng.integers(1, 3)) if min(h, w) > 6 else 1
    return conv(
        (h, w, c), c if depthwise else o, kernel, stride, (top, left, bottom, right), dilation, groups, dtype
    )


@pytest.mark.parametrize(
    "name", [*(pytest.param(cpu.name, marks=pytest.mark.heavy) for cpu in runnable()[:-1]), host_cpu().name]
)
def test_kernels_give_the_interpreters_bits(name: str, tmp_path: Path) -> None:
    graph = union([*GRAPHS, *(_random(seed) for seed in range(8))])
    level = CPUS[name]
    built = bundle(program(graph, level), level, tmp_path)
    check(graph, LibraryModel(built))
    check(graph, LibraryModel(built, threads=2), seed=1)
    check(graph, LibraryModel(built, threads=5), seed=2)


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is not installed")
def test_kernels_give_the_same_bits_on_emulated_arm(tmp_path: Path) -> None:
    graph = union(list(WIDE.values()))
    built = bundle(program(graph, CPUS["aarch64"]), CPUS["aarch64"], tmp_path)
    rng = np.random.default_rng(0)
    inputs = [random_array(rng, v.type) for v in graph.inputs]
    (found,) = run_emulated(built, [inputs], threads=2)
    for value, ours, theirs in zip(graph.outputs, found, interpret(graph, inputs), strict=True):
        assert wrong(ours, theirs) == 0, value.name


@pytest.mark.heavy
def test_kernels_are_clean_under_sanitizers(tmp_path: Path) -> None:
    graph = union([*GRAPHS, *(_random(seed) for seed in range(20))])
    built = bundle(program(graph, host_cpu()), host_cpu(), tmp_path)
    rng = np.random.default_rng(0)
    inputs = [random_array(rng, v.type) for v in graph.inputs]
    (found,) = run_sanitized(built, [inputs])
    for value, ours, theirs in zip(graph.outputs, found, interpret(graph, inputs), strict=True):
        assert wrong(ours, theirs) == 0, value.name


def test_heavy_groups_have_schedules_of_their_own() -> None:
    level = CPUS["x86-64-v3"]
    for name, graph in WIDE.items():
        strategies = {code.strategy.partition("-")[0] for code in program(graph, level).code.values()}
        assert strategies == {"depthwise" if "depthwise" in name else "gemm"}, name
