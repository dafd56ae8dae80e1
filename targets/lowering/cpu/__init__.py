"""The schedules for general-purpose processors, tried in order; the last one takes everything."""

from __future__ import annotations

from collections.abc import Mapping

from dnncc.ir.graph import Graph, Node
from dnncc.runtime.cpus import Cpu
from dnncc.targets.cpu.tuned import Entry
from dnncc.targets.lowering.cpu import depthwise, gemm
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels import generic, loops

_WIDTHS = (64, 48, 32, 24, 16, 8, 4, 3, 2, 1)
"""Channels that a pool works on at a time: vectors of bytes."""


def build_kernel(body: Graph, anchor: Node, cpu: Cpu, tuned: Mapping[str, Entry]) -> Kernel:
    """Schedule one group with the first strategy that takes it; ``tuned`` holds the tiles that were measured."""
    return (
        loops.build(body, anchor, False)
        or gemm.build(body, anchor, cpu, tuned)
        or depthwise.build(body, anchor, cpu)
        or generic.build(body, anchor, False, _WIDTHS, narrow=False)
    )
