"""Measured search: the fastest tile of each layer on this machine, into a file that later compiles read.

A layer is what its tile depends on (its shape, how its numbers are multiplied, the level of the processor), so that
layers of one shape, in whatever network, are measured once. The cost model of the compiler (see
``dnncc.targets.lowering.cpu.choice``) proposes; candidates are built by a pool of processes, and run one at a time, so
that they do not disturb each other.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import UsageError
from dnncc.ir.graph import Graph, Node, Value
from dnncc.runtime.cpus import CPUS, Cpu, check_runnable
from dnncc.targets.cpu.tuned import Entry, read_entries, write_entries

TRIALS = 8
_REPEATS = 20
_ROUNDS = 3

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Layer:
    """One kind of layer, measured.

    Attributes:
        key: what identifies it in the file.
        node: the first node of that kind.
        entry: the best tile.
        default_microseconds: of the tile that an untuned compile takes.
        trials: how many tiles were measured.
    """

    key: str
    node: str
    entry: Entry
    default_microseconds: float
    trials: int

    @property
    def gain(self) -> float:
        """How many times faster than untuned."""
        return self.default_microseconds / self.entry.microseconds


def tune(
    model: Any,
    *,
    target: str = "cpu",
    output: str | Path,
    trials: int = TRIALS,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Layer]:
    """Measure the layers of a model that the file does not know yet, and add them to it.

    Args:
        model, options: as for ``dnncc.compile``.
        target: a level of processors that this machine runs.
        output: the file; what it holds already is kept.
        trials: tiles per layer, those that the cost model likes most.
        executor: builds the candidates, anything with the interface of ``concurrent.futures`` (such as the executor
            of a Dask client on this file system); by default a process per core.

    Raises:
        UsageError: no level of processors, or a damaged file. ToolMissingError: this machine does not run it.
    """
    from dnncc.driver import compile_model
    from dnncc.ops.fused import Fused
    from dnncc.targets.boards import load_board
    from dnncc.targets.lowering.cpu.gemm import problem_of

    board = load_board(target)
    if board.family != "cpu":
        raise UsageError(
            f"there is nothing to tune for {board.name}", help=f"targets: cpu, {', '.join(CPUS)}"
        )
    if trials < 1:
        raise UsageError(f"cannot tune with {trials} trials", help="give at least 1")
    check_runnable(board.core)
    cpu, say = CPUS[board.core], progress or (lambda text: None)
    path = Path(output)
    entries = dict(read_entries(path)) if path.is_file() else {}
    compilation = compile_model(model, target=target, progress=progress, **options)
    wanted: dict[str, Node] = {}
    for node in compilation.program.graph.nodes:
        if isinstance(node.op, Fused):
            problem = problem_of(node.op.graph, node.op.anchor, cpu)
            if problem is not None and problem.key not in entries:
                wanted.setdefault(problem.key, node)
    found = []
    with _pool(executor) as pool:
        for number, (key, node) in enumerate(wanted.items()):
            say(f"tuning layer {number + 1} of {len(wanted)}: {node.name}")
            layer = _tune_layer(key, node, cpu, trials, pool)
            entries[key] = layer.entry
            write_entries(path, entries)  # what is measured is not lost when the search is interrupted
            found.append(layer)
    if not wanted:
        write_entries(path, entries)
    return found


@contextmanager
def _pool(executor: Executor | None) -> Iterator[Executor]:
    if executor is not None:
        yield executor
        return
    # Not forked: TVM and NumPy run threads.
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as own:
        yield own


def _tune_layer(key: str, node: Node, cpu: Cpu, trials: int, pool: Executor) -> Layer:
    from dnncc.ops.fused import Fused
    from dnncc.targets.lowering.cpu.gemm import problem_of

    assert isinstance(node.op, Fused)
    problem = problem_of(node.op.graph, node.op.anchor, cpu)
    assert problem is not None
    ranked = problem.ranked()[:trials]
    with tempfile.TemporaryDirectory(prefix="dnncc-tune-") as place:
        folders = [Path(place) / str(i) for i in range(len(ranked))]
        jobs = [
            pool.submit(build_candidate, node.op.graph, cpu.name, key, entry, str(folder))
            for entry, folder in zip((Entry.of(t, 0.0) for t in ranked), folders, strict=True)
        ]
        for job in jobs:
            job.result()
        # By turns: a machine is not equally fast all the time.
        rounds = [[_measure(folder) for folder in folders] for _ in range(_ROUNDS)]
        times = [min(each) for each in zip(*rounds, strict=True)]
    best = int(np.argmin(times))
    return Layer(key, node.name, Entry.of(ranked[best], times[best]), times[0], len(ranked))


def build_candidate(body: Graph, level: str, key: str, entry: Entry, folder: str) -> None:
    """The network of one group with a given tile, as an artifact in ``folder``; runs in a process of the pool."""
    from dnncc.ops.fused import Fused
    from dnncc.plan import make_plan
    from dnncc.targets.cpu.build import build_library
    from dnncc.targets.cpu.source import write_sources
    from dnncc.targets.cpu.target import CpuTarget
    from dnncc.targets.program import Kernels, assemble, needs_of

    cpu = CPUS[level]
    graph = Graph("layer", [Value(f"in{i}", v.type) for i, v in enumerate(body.inputs)])
    outputs = [Value(f"out{i}", v.type) for i, v in enumerate(body.outputs)]
    graph.nodes = [Node(Fused(body), list(graph.inputs), outputs, "layer")]
    graph.outputs = outputs
    target = CpuTarget(cpu, {key: entry})
    code = Kernels(target.lower).of(graph)
    program = assemble(
        "net", graph, code, make_plan(graph, needs_of(graph, code), 0.0, alignment=target.alignment)
    )
    root = Path(folder)
    root.mkdir()
    sources = write_sources(program, root)
    manifest: Mapping[str, Any] = {
        "name": "net",
        "core": level,
        "sources": sources,
        "library": build_library("net", sources, cpu, root),
        "inputs": [_port(v) for v in graph.inputs],
        "outputs": [_port(v) for v in graph.outputs],
        "pools": [
            {
                "name": a.name,
                "member": a.member,
                "macro": a.macro,
                "bytes": a.bytes,
                "align": target.alignment,
            }
            for a in program.arenas
        ],
        "nodes": [{"name": "layer", "op": "layer", "macs": 0}],
    }
    (root / "manifest.json").write_text(json.dumps(manifest))


def _port(value: Value) -> dict[str, Any]:
    return {"name": value.name, "dtype": value.type.dtype.value, "shape": list(value.type.shape)}


def _measure(folder: Path) -> float:
    """The least microseconds of a candidate on one thread."""
    from dnncc.runtime.library import LibraryModel

    model = LibraryModel(folder, threads=1)
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal(p.shape).astype(np.float32)
        if p.dtype == "f32"
        else rng.integers(-100, 100, p.shape).astype(p.numpy_dtype)
        for p in model.bundle.inputs
    ]
    return model.least_nanoseconds(inputs, _REPEATS)[0] / 1e3
