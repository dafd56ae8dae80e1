"""From a model to an artifact: every stage in order, each receiving the product of the one before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dnncc.errors import Culprit, UnsupportedError, UsageError
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, DType
from dnncc.options import Options, default_pipeline, refuse_budget, resolve
from dnncc.passes.base import Surroundings
from dnncc.passes.pipeline import PassStatistics, Pipeline

if TYPE_CHECKING:
    from dnncc.measures import Setting
    from dnncc.passes.quantize import Accumulator, Agreement
    from dnncc.planner import Decision
    from dnncc.targets.boards import Board
    from dnncc.targets.program import Program


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model that is ready for any target.

    Attributes:
        options: what was asked for.
        model_hash: sha256 of the model file.
        float_graph: the simplified float graph.
        graph: the integer (or float) graph before fusion: what the interpreter runs, the network's meaning.
        pipeline: the pass pipeline that was run, with every choice that a pass made as an option.
        accumulators: exact intervals of every accumulator, empty for a float compile.
        samples: integer inputs kept for the self-test, one tuple of arrays per sample.
        calibrated: whether real samples were given; False means made up ones.
        choices: what passes chose and from what, see ``Pass.record``, in the pipeline's order.
        statistics: what each pass did.
        agreement: where the model gives its own grids: how far each value is from what the model says, in steps;
            empty for others.
        warnings: what the user must know, one sentence each.
    """

    options: Options
    model_hash: str
    float_graph: Graph
    graph: Graph
    pipeline: str
    accumulators: tuple[Accumulator, ...]
    samples: tuple[tuple[Array, ...], ...]
    calibrated: bool
    choices: tuple[Mapping[str, Any], ...]
    statistics: tuple[PassStatistics, ...]
    agreement: tuple[Agreement, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Compilation(Prepared):
    """The product of a compile for a board, complete and in memory.

    Attributes:
        board: the machine it is for.
        program: kernels, constants, plan.
        planning: the measures that were tried to make it fit, and why this program was chosen.
        seconds: wall time of the compile.
    """

    board: Board
    program: Program
    planning: Decision
    seconds: float


Progress = Callable[[str], None]
SYNTHETIC_SAMPLES = 32
SELFTEST_SAMPLES = 4
_SHOWN = 8
_NOISE = "from made up noise, and accuracy will suffer; give real inputs with --calibrate X.npz"


def compile_model(
    model: Any,
    example_inputs: Sequence[Any] | None = None,
    *,
    target: str,
    calibrate: str | Path | Mapping[str, Array] | None = None,
    output: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Compilation:
    """Compile a model for a target.

    Args:
        model: an ONNX file, a PyTorch module, a float ``Graph``, ...: see ``dnncc.load``.
        example_inputs: the arguments that a PyTorch module is exported with; their shapes become the network's.
        target: a board's name or alias.
        calibrate: samples that quantization learns its scales from, see ``dnncc.calibration``. Without them made up
            noise is used, and a warning says so.
        output: the folder for the artifact; None keeps everything in memory.
        progress: called with what is being done.
        options: the other fields of ``Options``.

    Raises:
        ModelError, UsageError, DoesNotFitError: with every culprit; nothing has been written then.
    """
    from dnncc.artifact import check_writable, write_artifact
    from dnncc.fits import check_fits
    from dnncc.planner import Planner
    from dnncc.targets.boards import load_board
    from dnncc.targets.hls.parts import is_hls
    from dnncc.targets.program import assemble
    from dnncc.targets.target import check_tools

    if is_hls(target):
        raise UsageError(f"'{target}' is an FPGA", help="compile for it with dnncc.compile_fpga")
    start = time.perf_counter()
    say = progress or (lambda text: None)
    chosen = resolve(target, options)
    board = load_board(target)
    refuse_budget(chosen, "cycles", "FPGAs")
    if output is not None:
        check_writable(Path(output))
        check_tools(board)
    prepared = prepare(model, example_inputs, chosen, calibrate, say)
    say("lowering and planning")
    planning = Planner(setting_of(prepared.graph, chosen, board, say), chosen.optimize).decide()
    taken = planning.chosen
    program = assemble(chosen.name, taken.graph, taken.code, taken.plan)
    check_fits(planning, program, board)
    shared = {field.name: getattr(prepared, field.name) for field in fields(prepared)}
    shared["warnings"] = (*_warn_float(chosen, board), *prepared.warnings)
    seconds = time.perf_counter() - start
    compilation = Compilation(board=board, program=program, planning=planning, seconds=seconds, **shared)
    if output is not None:
        say("writing the artifact")
        write_artifact(compilation, Path(output))
    return compilation


def prepare(
    model: Any,
    example_inputs: Sequence[Any] | None,
    options: Options,
    calibrate: str | Path | Mapping[str, Array] | None,
    say: Progress,
) -> Prepared:
    """What every target starts from: the model read, simplified and quantized. Arguments as of ``compile_model``."""
    from dnncc.loading import load_hashed
    from dnncc.passes.quantize import Quantize
    from dnncc.passes.quantize.agreement import CALIBRATED, REASONS

    say("reading the model")
    graph, model_hash = load_hashed(
        model, options.dims, example_inputs=example_inputs, inputs=options.inputs, outputs=options.outputs
    )
    surroundings = _surroundings(graph, calibrate, options)
    say("simplifying and quantizing")
    pipeline = Pipeline.parse(options.passes if options.passes is not None else default_pipeline(options))
    float_graph = graph.clone()
    pipeline = pipeline.bind(surroundings)
    meaning, statistics = _run_pipeline(pipeline, graph, options, float_graph)
    learned = [n for p in pipeline.passes if isinstance(p, Quantize) for n in p.calibrated]
    warnings = _warn_scales(float_graph, learned, surroundings.real)
    warnings += [note for p in pipeline.passes for note in p.notes()]
    _check_legal(meaning, options)
    selftest = _selftest_samples(meaning, surroundings.samples)
    agreement = _agreement(float_graph, meaning, selftest, learned)
    warnings += [
        f"'{a.node}' can be {a.steps} steps of '{a.value}' away from the model: {a.reason}"
        for a in agreement
        if a.steps > 1 and a.reason != REASONS[CALIBRATED]
    ]
    return Prepared(
        options=options,
        model_hash=model_hash,
        float_graph=float_graph,
        graph=meaning,
        pipeline=str(pipeline.resolved()),
        accumulators=_accumulators(meaning),
        samples=selftest,
        calibrated=surroundings.real,
        choices=tuple({"pass": p.name, **p.record()} for p in pipeline.passes if p.record()),
        statistics=tuple(statistics),
        agreement=agreement,
        warnings=tuple(warnings),
    )


def _warn_float(options: Options, board: Board) -> list[str]:
    if options.io == "float32" and not board.fpu and not board.is_host:
        return [f"{board.name} has no floating-point unit: every float operation becomes a library call"]
    return []


def _warn_scales(float_graph: Graph, learned: Sequence[str], calibrated: bool) -> list[str]:
    """What the user must know about scales that no model and no samples gave."""
    if not learned or calibrated:
        return []
    if not float_graph.find("fake_quantize", "dequantize_linear"):
        reason = "no calibration samples were given: the scales come"
        return [f"{reason} {_NOISE}"]
    shown = ", ".join(learned[:_SHOWN]) + (", ..." if len(learned) > _SHOWN else "")
    reason = f"the model gives no scales for {len(learned)} of its values ({shown}): they come"
    return [f"{reason} {_NOISE}"]


def _surroundings(
    graph: Graph, calibrate: str | Path | Mapping[str, Array] | None, options: Options
) -> Surroundings:
    from dnncc.calibration import load_others, load_samples, synthetic_samples

    if calibrate is None:
        samples = synthetic_samples(graph, SYNTHETIC_SAMPLES, seed=0)
        return Surroundings(samples, real=False, target=options.target, dtype=options.dtype)
    samples = load_samples(calibrate, graph)
    others = load_others(calibrate, samples)
    return Surroundings(samples, others, target=options.target, dtype=options.dtype)


def _run_pipeline(
    pipeline: Pipeline, graph: Graph, options: Options, float_graph: Graph
) -> tuple[Graph, list[PassStatistics]]:
    """The network's meaning, and what each pass did; ``float_graph`` becomes the last graph before quantization."""
    from dnncc.ir.verify import verify_integer

    def observe(statistics: PassStatistics, current: Graph) -> None:
        if all(not v.type.dtype.is_integer or v.type.quantization is None for v in current.values()):
            copy = current.clone()
            float_graph.inputs, float_graph.outputs, float_graph.nodes = copy.inputs, copy.outputs, copy.nodes

    statistics = pipeline.run(graph, options.dump_ir, observe)
    if options.dtype == "int8":
        verify_integer(graph)
    return graph, statistics


def _check_legal(graph: Graph, options: Options) -> None:
    culprits = [
        Culprit(n.name, n.op.name, "has no code generation") for n in graph.nodes if not n.op.has_code()
    ]
    if culprits:
        raise UnsupportedError(
            f"{len(culprits)} operators cannot be compiled for '{options.target}'", culprits
        )


_EFFORT = 2.0


def setting_of(meaning: Graph, options: Options, board: Board, say: Progress) -> Setting:
    """What the planner works with: a network, a board's memories, the kernels of its family."""
    from dnncc.measures import Setting
    from dnncc.passes.planning.problem import Pool
    from dnncc.targets.program import Kernels
    from dnncc.targets.target import target_of

    def report(best: int, bound: int) -> None:
        say(f"planning: {best:,}, at least {bound:,}")

    # Cycles per byte accessed count only against each other: every access takes one, and waits.
    pools = [Pool(p.name, p.bytes, 1 + p.wait_states) for p in board.ram_pools]
    outer = board.external
    external = None if outer is None else Pool(outer.name, outer.bytes, 1 + outer.wait_states)
    effort = _EFFORT if options.time_limit is None else max(options.time_limit, 0.0)
    target = target_of(board, options.tuned)
    return Setting(
        meaning,
        Kernels(target.lower),
        pools,
        external,
        options.ram_budget,
        target.alignment,
        effort,
        report,
    )


def _accumulators(graph: Graph) -> tuple[Accumulator, ...]:
    from dnncc.passes.quantize import accumulator_intervals

    return tuple(accumulator_intervals(graph))


def _agreement(
    float_graph: Graph, meaning: Graph, samples: Sequence[Sequence[Array]], learned: Sequence[str]
) -> tuple[Agreement, ...]:
    from dnncc.passes.quantize import agreements

    if not float_graph.find("fake_quantize") or meaning.find("fake_quantize"):
        return ()
    return tuple(agreements(float_graph, meaning, samples, set(learned)))


def _selftest_samples(graph: Graph, samples: Mapping[str, Array]) -> tuple[tuple[Array, ...], ...]:
    """The first samples, and one over the whole range of the inputs' types, so that saturation is seen too."""
    from dnncc.passes.quantize import integer_arguments

    count = min([SELFTEST_SAMPLES - 1, *(len(a) for a in samples.values())])
    chosen = [tuple(integer_arguments(graph, samples, i)) for i in range(count)]
    rng = np.random.default_rng(0)
    chosen.append(tuple(_random(rng, v.type.dtype, v.type.shape) for v in graph.inputs))
    return tuple(chosen)


def _random(rng: np.random.Generator, dtype: DType, shape: Sequence[int]) -> Array:
    if dtype.is_float:
        return rng.standard_normal(tuple(shape)).astype(dtype.numpy)
    return rng.integers(dtype.min, dtype.max, tuple(shape), dtype.numpy, endpoint=True)
