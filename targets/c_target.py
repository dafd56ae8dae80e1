"""Portable C for firmware: sources, build files and a self-test, no compiler needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Node
from dnncc.plan import ALIGNMENT
from dnncc.targets.program import GroupCode, lower_group

if TYPE_CHECKING:
    from dnncc.driver import Compilation

_SELFTEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class CTarget:
    """Microcontrollers, and the host as if it were one."""

    alignment: int = ALIGNMENT

    def lower(self, node: Node, compact: bool) -> GroupCode:
        return lower_group(node, compact)

    def write(self, compilation: Compilation, folder: Path) -> dict[str, Any]:
        from dnncc.artifact import write_text
        from dnncc.targets.c_build import build_files
        from dnncc.targets.c_selftest import selftest
        from dnncc.targets.c_source import code, header, headers, weights

        program = compilation.program
        name = program.name
        vectors = [
            (inputs, interpret(compilation.graph, inputs))
            for inputs in _affordable(compilation.samples, compilation.graph)
        ]
        sources = [f"{name}.c", f"{name}_weights.c"]
        texts = {
            f"{name}.h": header(program),
            f"{name}.c": code(program),
            f"{name}_weights.c": weights(program),
            f"{name}_selftest.c": selftest(program, vectors),
        }
        ours = headers(program)
        texts |= {file: (files("dnncc.runtime") / "include" / file).read_text() for file in ours}
        texts |= build_files(name, [*sources, f"{name}_selftest.c"], [f"{name}.h", *ours])
        write_text(folder, texts)
        return {"sources": sources}


def _affordable(samples: Sequence[Any], graph: Graph) -> Sequence[Any]:
    """As many self-test samples as a modest flash can hold, at least one."""
    size = sum(v.type.bytes for v in (*graph.inputs, *graph.outputs))
    return samples[: max(1, _SELFTEST_BYTES // max(size, 1))]
