"""The schedules: one file per strategy, tried in the order of ``STRATEGIES``; the last one takes everything."""

from __future__ import annotations

from collections.abc import Callable

from dnncc.ir.graph import Graph, Node
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels import depthwise, gemm, gemv, generic, loops

Strategy = Callable[[Graph, Node, bool], "Kernel | None"]

STRATEGIES: tuple[Strategy, ...] = (loops.build, gemm.build, gemv.build, depthwise.build, generic.build)


def build_kernel(body: Graph, anchor: Node, compact: bool = False) -> Kernel:
    """Schedule one group with the first strategy that takes it; ``generic`` takes every group.

    Args:
        compact: prefer less scratch memory to fewer instructions.
    """
    for strategy in STRATEGIES:
        kernel = strategy(body, anchor, compact)
        if kernel is not None:
            return kernel
    raise AssertionError("the generic strategy takes every group")
