"""General-purpose processors: vector kernels, a thread pool, a shared library that needs the C library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.ir.graph import Node
from dnncc.ops.fused import Fused
from dnncc.ops.patched import Patched
from dnncc.plan import KernelNeeds
from dnncc.runtime.cpus import Cpu
from dnncc.targets.program import GroupCode, lower_group

if TYPE_CHECKING:
    from dnncc.driver import Compilation


@dataclass(frozen=True)
class CpuTarget:
    """One level of processors."""

    cpu: Cpu
    alignment: int = 64
    """A cache line, and the widest vector."""

    def lower(self, node: Node, compact: bool) -> GroupCode:
        from dnncc.targets.lowering.cpu import build_kernel
        from dnncc.targets.lowering.emit_c import emit_c
        from dnncc.targets.lowering.lower import lower
        from dnncc.targets.patched import lower_patched

        assert isinstance(node.op, Fused)
        if isinstance(node.op, Patched):
            # One row is too little for several threads and wide tiles.
            return lower_patched(node, compact, lower_group)
        body = node.op.graph
        kernel = build_kernel(body, node.op.anchor, self.cpu)
        function = emit_c(lower(kernel.function), len(body.inputs), len(kernel.constants), exclusive=True)
        # Nothing overlaps: compilers vectorize what they need not suspect of it.
        return GroupCode(
            kernel.strategy,
            function,
            kernel.constants,
            KernelNeeds(function.scratch_bytes, {}, function.alignment),
        )

    def write(self, compilation: Compilation, folder: Path) -> dict[str, Any]:
        from dnncc.targets.cpu.build import build_library
        from dnncc.targets.cpu.source import write_sources

        sources = write_sources(compilation.program, folder)
        return {
            "sources": sources,
            "library": build_library(compilation.program.name, sources, self.cpu, folder),
        }
