"""The schedules for general-purpose processors, tried in order; the last one takes everything."""

from __future__ import annotations

from dnncc.ir.graph import Graph, Node
from dnncc.runtime.cpus import Cpu
from dnncc.targets.lowering.cpu import depthwise, gemm
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels import generic, loops

_WIDTHS = (64, 48, 32, 24, 16, 8, 4, 3, 2, 1)
"""Channels that a pool works on at a time: vectors of bytes."""


def build_kernel(body: Graph, anchor: Node, cpu: Cpu) -> Kernel:
    """Schedule one group with the first strategy that takes it."""
    return (
        loops.build(body, anchor, False)
        or gemm.build(body, anchor, cpu)
        or depthwise.build(body, anchor, cpu)
        or generic.build(body, anchor, False, _WIDTHS, narrow=False)
    )
