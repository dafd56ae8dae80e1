"""General-purpose processors: vector kernels, a thread pool, a shared library that needs the C library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.ir.graph import Node
from dnncc.ops.fused import Fused
from dnncc.ops.patched import Patched
from dnncc.plan import KernelNeeds
from dnncc.runtime.cpus import Cpu
from dnncc.targets.cpu.tuned import Entry
from dnncc.targets.program import GroupCode, lower_group

if TYPE_CHECKING:
    from dnncc.driver import Compilation


@dataclass(frozen=True)
class CpuTarget:
    """One level of processors.

    Attributes:
        tuned: by layer the tile that was measured to be the fastest, see ``dnncc.tuning``.
    """

    cpu: Cpu
    tuned: Mapping[str, Entry] = field(default_factory=dict)
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
        kernel = build_kernel(body, node.op.anchor, self.cpu, self.tuned)
        function = emit_c(lower(kernel.function), len(body.inputs), len(kernel.constants), exclusive=True)
        # Nothing overlaps: compilers vectorize what they need not suspect of it.
        return GroupCode(
            kernel.strategy,
            function,
            kernel.constants,
            KernelNeeds(function.scratch_bytes, {}, function.alignment),
        )

    def write(self, compilation: Compilation, folder: Path) -> dict[str, Any]:
        from dnncc.targets.cpu.build import build_library, library_compiler
        from dnncc.targets.cpu.source import write_sources

        name = compilation.program.name
        sources = write_sources(compilation.program, folder)
        library = build_library(name, sources, self.cpu, folder)
        return {"sources": sources, "library": library, "compiler": library_compiler(self.cpu).version}
