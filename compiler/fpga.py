"""From a model to an FPGA's artifact: quantize, stream, fold, size the FIFOs, write the C++."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dnncc.driver import Prepared, Progress, prepare
from dnncc.errors import Culprit, DoesNotFitError, UsageError
from dnncc.interpreter import interpret
from dnncc.ir.types import Array
from dnncc.options import refuse_budget, resolve

if TYPE_CHECKING:
    from dnncc.targets.hls.folding import Problem, Solution
    from dnncc.targets.hls.network import Network, Port
    from dnncc.targets.hls.parts import Part
    from dnncc.targets.hls.pipeline import Design
    from dnncc.targets.hls.resources import Resources
    from dnncc.targets.hls.simulate import Solution as Timing
    from dnncc.targets.hls.stages.base import Choice

FAMILY = "hls"
_ATTEMPTS = 5


@dataclass(frozen=True)
class Folded:
    """A design for a part: folding, streams and their depths.

    Attributes:
        design: stages and streams.
        folding: the solver's answer.
        timing: the token-cycle simulation's.
        resources: of everything, FIFOs included.
        fifos: of the FIFOs alone.
        candidates: how many choices there were.
    """

    design: Design
    folding: Solution
    timing: Timing
    resources: Resources
    fifos: Resources
    candidates: int

    @property
    def cycles(self) -> int:
        """Predicted cycles per frame: those of the slowest stage."""
        return self.folding.cycles

    @property
    def fifo_bits(self) -> int:
        return _fifo_bits(self.design)

    @property
    def tensor_bits(self) -> int:
        """What FIFOs as large as the tensors that go through them would hold."""
        return sum(s.words * s.bits for s in self.design.streams)


@dataclass(frozen=True, kw_only=True)
class FpgaCompilation(Prepared):
    """The product of a compile for an FPGA, complete and in memory.

    Attributes:
        part: the FPGA.
        folded: the design.
        seconds: wall time of the compile.
    """

    part: Part
    folded: Folded
    seconds: float


def compile_fpga(
    model: Any,
    example_inputs: Sequence[Any] | None = None,
    *,
    target: str,
    calibrate: str | Path | Mapping[str, Array] | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> FpgaCompilation:
    """Compile a model for an FPGA.

    Args:
        target: "hls:" and a part's name or TOML file.
        model, example_inputs, calibrate, output, progress, options: see ``dnncc.compile``. With the budget "cycles" a
            frame may take so many, and the folding takes the least resources; without, it is as fast as the part
            allows.

    Raises:
        UnsupportedError: operators that cannot stream, all of them.
        DoesNotFitError: the part is too small; says which resource, and the smallest part that is large enough.
        ModelError, UsageError: as ``dnncc.compile``; nothing has been written then.
    """
    from dnncc.artifact import check_writable
    from dnncc.targets.hls.network import build_network
    from dnncc.targets.hls.parts import load_part

    start = time.perf_counter()
    say = progress or (lambda text: None)
    part = load_part(target)
    chosen = resolve(part.target, options)
    refuse_budget(chosen, "ram", "boards")
    if chosen.tuned is not None:
        raise UsageError(
            "code for an FPGA is not tuned", help="only that of processors is, such as --target cpu"
        )
    if chosen.dtype != "int8" or chosen.io != "int8":
        raise UsageError(
            "an FPGA computes with integers only", help="leave out --dtype float32 and --io float32"
        )
    if output is not None:
        check_writable(Path(output))
    prepared = prepare(model, example_inputs, chosen, calibrate, say)
    say("folding")
    folded = fold(build_network(prepared.graph, chosen.name), part, chosen.cycles_budget, say)
    shared = {field.name: getattr(prepared, field.name) for field in fields(prepared)}
    compilation = FpgaCompilation(part=part, folded=folded, seconds=time.perf_counter() - start, **shared)
    if output is not None:
        say("writing the artifact")
        write_design(compilation, Path(output))
    return compilation


def fold(network: Network, part: Part, cycles: int | None = None, say: Progress | None = None) -> Folded:
    """The fastest folding for a part, or the smallest of at most so many cycles, with its FIFOs.

    FIFOs depend on the folding: where both together are too much, the next try leaves room for them.

    Raises:
        DoesNotFitError: see ``compile_fpga``.
    """
    from dnncc.targets.hls import folding
    from dnncc.targets.hls.pipeline import folding_problem
    from dnncc.targets.hls.resources import Resources, fifo, total

    reserve = Resources()
    for _ in range(_ATTEMPTS):
        problem = folding_problem(network, part, reserve, cycles)
        solution = folding.solve(problem, say)
        if not solution.picks:
            break
        folding.check(problem, solution)
        picks = [choices[i] for choices, i in zip(problem.choices, solution.picks, strict=True)]
        design, timing = _ordered(network, part, picks)
        fifos = total([fifo(stream.bits, stream.depth) for stream in design.streams])
        resources = total([fifos, *(stage.resources(part) for stage in design.stages)])
        if not resources.exceeding(part.usable):
            return Folded(design, solution, timing, resources, fifos, sum(len(c) for c in problem.choices))
        reserve = fifos
    raise _too_small(network, part, problem, cycles)


def _ordered(network: Network, part: Part, picks: Sequence[Choice]) -> tuple[Design, Timing]:
    """The design and its FIFO depths, with the order of work in fully connected layers that needs the least FIFOs: each
    layer in turn is tried the other way round.
    """
    from dnncc.targets.hls.stages.matrix import COLUMNS, MatrixLayer

    best = _timed(network, part, picks)
    for index, layer in enumerate(network.layers):
        if not isinstance(layer, MatrixLayer) or layer.vectors > 1:
            continue
        turned = list(best[0].picks)
        turned[index] = replace(turned[index], config={**turned[index].config, "order": COLUMNS})
        tried = _timed(network, part, turned)
        if _fifo_bits(tried[0]) < _fifo_bits(best[0]) and tried[1].interval <= best[1].interval:
            best = tried
    return best


def _timed(network: Network, part: Part, picks: Sequence[Choice]) -> tuple[Design, Timing]:
    from dnncc.targets.hls import simulate
    from dnncc.targets.hls.pipeline import build_design, timing_problem

    design = build_design(network, part, picks)
    times = timing_problem(design)
    timing = simulate.solve(times)
    simulate.check(times, timing)
    for stream, depth in zip(design.streams, timing.depths, strict=True):
        stream.depth = depth
    return design, timing


def _fifo_bits(design: Design) -> int:
    return sum(s.depth * s.bits for s in design.streams)


def _too_small(network: Network, part: Part, problem: Problem, cycles: int | None) -> DoesNotFitError:
    """Which resource is short, and the smallest part that has enough."""
    from dnncc.targets.hls import folding
    from dnncc.targets.hls.parts import parts
    from dnncc.targets.hls.resources import KINDS

    if cycles is not None and folding.solve(replace(problem, cycles=None)).picks:
        fastest = folding.solve(replace(problem, cycles=None)).cycles
        return DoesNotFitError(
            f"no folding of at most {cycles:,} cycles per frame fits '{part.target}'",
            [Culprit("cycles", reason=f"the fastest that fits takes {fastest:,}")],
            help="allow more cycles, or choose a larger part",
        )
    free = replace(part.usable, **dict.fromkeys(KINDS, 1 << 40))
    least = folding.solve(replace(problem, limit=free, cycles=_slowest(problem))).resources
    usable = part.usable
    culprits = [
        Culprit(
            kind,
            reason=f"the smallest folding takes {getattr(least, kind):,} of {getattr(usable, kind):,} usable "
            f"({getattr(part.total, kind):,} on the part)",
        )
        for kind in least.exceeding(usable)
    ] or [Culprit(kind, reason="is short together with the others") for kind in KINDS]
    for other in parts():
        if other.total.lut > part.total.lut:
            larger = replace(problem, limit=other.usable)
            if folding.solve(replace(larger, cycles=cycles or _slowest(problem))).picks:
                return DoesNotFitError(
                    f"'{network.name}' does not fit '{part.target}'",
                    culprits,
                    help=f"the smallest part that is large enough is {other.target}",
                )
    return DoesNotFitError(
        f"'{network.name}' does not fit '{part.target}'",
        culprits,
        help="no known part is large enough: a smaller network, fewer bits (--weight-bits 4), or a part file of "
        "your own (hls:PATH.toml)",
    )


def _slowest(problem: Problem) -> int:
    """More cycles than any stage can take."""
    return (
        1
        + max(edge.wire.elements for edge in problem.edges)
        + max(choice.cycles for choices in problem.choices for choice in choices)
    )


# -- the artifact ----------------------------------------------------------------------------------------------------


def stream_order(array: Array, port: Port) -> Array:
    """A tensor's elements as its AXI stream carries them."""
    return np.ascontiguousarray(array.transpose(port.order)).reshape(-1)


def write_design(compilation: FpgaCompilation, folder: Path) -> None:
    """Write the artifact of a part to ``folder``, see ``dnncc.artifact.write_folder``."""
    from dnncc.artifact import write_folder

    write_folder(folder, lambda place: _fill(compilation, place))


def _fill(compilation: FpgaCompilation, folder: Path) -> None:
    from dnncc.artifact import GRAPH, finish, write_text
    from dnncc.ir.text import write_ir
    from dnncc.report.fpga import render
    from dnncc.targets.hls import source

    design, name = compilation.folded.design, compilation.options.name
    write_text(
        folder,
        {
            f"{name}.h": source.header(design),
            f"{name}.cpp": source.top(design),
            f"{name}_weights.h": source.weights(design),
            f"{name}_testbench.cpp": source.testbench(design),
            "run_hls.tcl": source.script(design),
            "report.html": render(compilation),
        },
    )
    with (files("dnncc.runtime") / "include" / "dnncc_hls.h").open("rb") as library:
        (folder / "dnncc_hls.h").write_bytes(library.read())
    _write_vectors(compilation, folder / "vectors")
    write_ir(compilation.graph, folder / GRAPH)
    finish(folder, manifest_of(compilation))


def _write_vectors(compilation: FpgaCompilation, folder: Path) -> None:
    """The self-test's frames, in stream order: in0.bin, ..., out0.bin, ..."""
    folder.mkdir()
    network, graph = compilation.folded.design.network, compilation.graph
    results = [interpret(graph, sample) for sample in compilation.samples]
    for kind, ports, frames in (
        ("in", network.inputs, compilation.samples),
        ("out", network.outputs, results),
    ):
        for index, port in enumerate(ports):
            data = b"".join(stream_order(frame[index], port).tobytes() for frame in frames)
            (folder / f"{kind}{index}.bin").write_bytes(data)


def manifest_of(compilation: FpgaCompilation) -> dict[str, Any]:
    """Everything that reproduces and describes the artifact, without hashes of its files."""
    from dnncc.artifact import shared_manifest

    part, folded = compilation.part, compilation.folded
    design, network = folded.design, folded.design.network
    producer = design.producer()
    return {
        **shared_manifest(compilation),
        "family": FAMILY,
        "target": part.target,
        "device": part.device,
        "part_sha256": part.digest,
        "clock_ns": part.clock_ns,
        "prediction": prediction(folded),
        "folding": {
            "status": "optimal" if folded.folding.optimal else "feasible",
            "cycles": folded.cycles,
            "bound_cycles": folded.folding.bound,
            "cost": folded.folding.cost,
            "bound_cost": folded.folding.cost_bound,
            "candidates": folded.candidates,
            "layers": [
                {"name": layer.name, "node": layer.node, **choice.config}
                for layer, choice in zip(network.layers, design.picks, strict=True)
            ],
        },
        "stages": [
            {
                "name": stage.name,
                "kind": stage.kind,
                "node": stage.node,
                "cycles": stage.schedule().iterations,
                "resources": asdict(stage.resources(part)),
            }
            for stage in design.stages
        ],
        "streams": [
            {
                "name": stream.name,
                "value": None if stream.internal else stream.wire.name,
                "from": producer[stream].name,
                "type": stream.wire.number.c_type,
                "lanes": stream.lanes,
                "words": stream.words,
                "depth": stream.depth,
            }
            for stream in design.streams
        ],
        "ports": {
            kind: [
                {
                    "name": port.name,
                    "dtype": port.type.dtype.value,
                    "shape": list(port.type.shape),
                    "order": list(port.order),
                    "lanes": stream.lanes,
                    "beats": stream.words,
                }
                for port, stream in zip(ports, streams, strict=True)
            ]
            for kind, ports, streams in (
                ("inputs", network.inputs, design.inputs),
                ("outputs", network.outputs, design.outputs),
            )
        },
    }


def prediction(folded: Folded) -> dict[str, Any]:
    """The figures of a design, each with where it comes from."""
    part = folded.design.part
    return {
        "cycles_per_frame": {"value": folded.cycles, "source": "analytical"},
        "cycles_simulated": {"value": folded.timing.interval, "source": "token-cycle simulation"},
        "latency_cycles": {"value": folded.timing.latency, "source": "token-cycle simulation"},
        "fifo_bits": {"value": folded.fifo_bits, "source": "token-cycle simulation"},
        "tensor_fifo_bits": {"value": folded.tensor_bits, "source": "analytical"},
        "resources": {**asdict(folded.resources), "source": "analytical"},
        "usable": asdict(part.usable),
        "bottleneck": bottleneck(folded),
    }


def bottleneck(folded: Folded) -> str:
    """The slowest stage."""
    return max(folded.design.stages, key=lambda stage: stage.schedule().iterations).name
