"""Every schedule, on the host's compiler, against the interpreter: bits, bounds of buffers, and allowed overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.ir import DType, Graph
from dnncc.targets.lowering.group import narrowed
from dnncc.targets.lowering.kernel import overlap_distance
from kernel_harness import Kernel, conv, linear, residual, with_bits

SAME = (1, 1, 1, 1)
CASES: dict[str, tuple[str, Graph]] = {
    "pointwise": ("gemm", conv((5, 5, 64), 64, 1)),
    "pointwise, no size a multiple of anything": ("gemm", conv((5, 5, 6), 7, 1)),
    "pointwise, one input channel": ("gemm", conv((4, 3, 1), 3, 1)),
    "pointwise, strided": ("gemm", conv((7, 7, 8), 8, 1, 2)),
    "first layer, three channels": ("gemm", conv((5, 7, 3), 8, 3, 2, (0, 0, 1, 1))),
    "kernel 10x4 on one channel": (
        "gemm",
        conv((49, 10, 1), 8, (10, 4), 2, (4, 1, 5, 1), dtype=DType.I8),
    ),
    "dilated, signed": ("gemm", conv((9, 7, 4), 6, 3, 1, (2, 2, 2, 2), 2, dtype=DType.I8, out=DType.I8)),
    "no padding": ("gemm", conv((7, 5, 8), 8, 3)),
    "narrow multipliers": ("gemm", conv((4, 4, 8), 8, 3, 1, SAME, narrow=True)),
    "kernel as large as the input": ("gemv-1x4", conv((3, 3, 8), 10, 3)),
    "vector times matrix": ("gemv-1x4", linear(1, 64, 12)),
    "vector times matrix, tiny": ("gemv-1x4", linear(1, 3, 5)),
    "vector times matrix, odd": ("gemv-1x4", linear(1, 30, 5, DType.U8)),
    "few rows": ("gemm", linear(3, 30, 5)),
    "rows": ("gemm", linear(4, 64, 12, DType.U8)),
    "depthwise": ("depthwise-3x3", conv((6, 6, 8), 8, 3, 1, SAME, groups=8)),
    "depthwise, strided, signed": (
        "depthwise-3x3",
        conv((7, 7, 8), 8, 3, 2, (0, 0, 1, 1), 1, 8, DType.I8, DType.I8),
    ),
    "depthwise, no padding": ("depthwise-3x3", conv((5, 6, 4), 4, 3, groups=4)),
    "depthwise, odd channels": ("generic", conv((7, 7, 6), 6, 3, 1, SAME, groups=6)),
    "depthwise 5x5": ("generic", conv((6, 6, 4), 4, 5, 1, (2, 2, 2, 2), groups=4)),
    "grouped": ("generic", conv((6, 6, 8), 4, 3, 1, SAME, groups=2)),
    "residual": ("gemm", residual((6, 6, 8), 8, 3, SAME)),
    "residual, pointwise, odd": ("gemm", residual((5, 5, 8), 9, 1, (0, 0, 0, 0))),
    "residual, one channel": ("gemm", residual((6, 6, 8), 1, 3, SAME)),
    "residual, one column": ("gemm", residual((6, 1, 8), 8, 3, SAME)),
    "residual on its own input": ("generic", residual((5, 5, 8), 8, 3, SAME, same=True)),
}


@pytest.mark.parametrize("case", CASES)
def test_kernel_gives_the_interpreters_bits(case: str, tmp_path: Path) -> None:
    strategy, graph = CASES[case]
    kernel = Kernel(graph, tmp_path)
    assert kernel.code.strategy.startswith(strategy)
    kernel.check()


@pytest.mark.parametrize("bits", [4, 2])
@pytest.mark.parametrize("case", [c for c, (strategy, _) in CASES.items() if strategy != "generic"])
def test_kernels_of_few_bits_give_the_interpreters_bits(case: str, bits: int, tmp_path: Path) -> None:
    strategy, graph = CASES[case]
    kernel = Kernel(with_bits(graph, bits), tmp_path)
    assert kernel.code.strategy.startswith(strategy)
    assert kernel.code.strategy.endswith(("-w4", f"-w{bits}"))
    kernel.check()


@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    h, w, c, o = (
        int(rng.integers(3, 10)),
        int(rng.integers(3, 10)),
        int(rng.integers(1, 13)),
        int(rng.integers(1, 13)),
    )
    kh, kw = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    pads = tuple(int(p) for p in rng.integers(0, 3, 4))
    dilation = int(rng.integers(1, 3)) if min(h, w) > 5 else 1
    groups = c if rng.random() < 0.3 else 1
    dtype = DType.I8 if rng.random() < 0.5 else DType.U8
    graph = conv(
        (h, w, c), c if groups > 1 else o, (kh, kw), int(rng.integers(1, 3)), pads, dilation, groups, dtype
    )
    Kernel(graph, tmp_path).check(seed)


def test_overlap_distance_is_the_least_safe_one() -> None:
    """Brute force over small access patterns: byte by byte, d is safe and d - 1 is not (unless everything is)."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        steps, size = int(rng.integers(1, 6)), 12
        reads = rng.integers(0, size, steps)
        writes = np.sort(rng.integers(1, 9, steps))
        for buffered in (False, True):
            d = overlap_distance(reads, writes, size, buffered)
            assert _safe(reads, writes, d, size, buffered)
            assert d == -size or not _safe(reads, writes, d - 1, size, buffered)


def _safe(reads: np.ndarray, writes: np.ndarray, d: int, size: int, buffered: bool) -> bool:
    """Whether no step reads a byte at or above its lowest one that an earlier (or the same) step has overwritten."""
    for s in range(len(reads)):
        written = writes[:s] if buffered else writes[: s + 1]
        top = max(written.tolist(), default=None)
        # Output byte j lies at input byte j - d.
        if top is not None and top - d > reads[s]:
            return False
    return True


def test_narrowed_constants_are_exact() -> None:
    for values in (
        [0, 0],
        [256, -512],
        [1 << 30, 1 << 16],
        [-(1 << 31), 0],
        [3, 5 << 20],
        [32767 << 5, -(32768 << 5)],
    ):
        data = np.array(values, np.int32)
        found = narrowed(data)
        if found is None:
            assert max(abs(v) for v in values) >= 1 << 15
        else:
            np.testing.assert_array_equal(found[0].astype(np.int64) << found[1], data)
