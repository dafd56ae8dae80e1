"""From a model to an artifact: every stage in order, each receiving the product of the one before it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dnncc.errors import Culprit, DoesNotFitError, UnsupportedError, UsageError
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, DType
from dnncc.passes.pipeline import PassStatistics, Pipeline

if TYPE_CHECKING:
    from dnncc.passes.quantize import Accumulator, Agreement
    from dnncc.targets.boards import Board
    from dnncc.targets.program import Program


@dataclass(frozen=True)
class Options:
    """What a compile can be told; the defaults are those of the command line.

    Attributes:
        target: a board's name or alias.
        dtype: "int8", or "float32" for a network that is not quantized.
        name: prefix of every C symbol.
        optimize: "ram" takes kernels with less scratch memory and searches longer for a small arena; "time" and
            "balanced" take the fastest kernels (placing tensors over each other costs no time).
        dims: values of symbolic dimensions.
        inputs, outputs: values or nodes between which the model is cut; none: the whole model.
        io: "int8", or "float32" for a network that converts at its border.
        weight_bits, activation_bits: of the quantized network; activations are stored in 8.
        passes: the pass pipeline instead of the default one.
        dump_ir: a folder for the graph after every pass.
        time_limit: a measure of how long the planner may search, roughly seconds; deterministic, no clock is read.
    """

    target: str
    dtype: str = "int8"
    name: str = "net"
    optimize: str = "balanced"
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    io: str = "int8"
    weight_bits: int = 8
    activation_bits: int = 8
    passes: str | None = None
    dump_ir: Path | None = None
    time_limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model that is ready for any target.

    Attributes:
        options: what was asked for.
        model_hash: sha256 of the model file.
        float_graph: the simplified float graph.
        graph: the integer (or float) graph before fusion: what the interpreter runs, the network's meaning.
        pipeline: the pass pipeline that was run, reproducible.
        accumulators: exact intervals of every accumulator, empty for a float compile.
        samples: integer inputs kept for the self-test, one tuple of arrays per sample.
        calibrated: whether real samples were given; False means made up ones.
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
    statistics: tuple[PassStatistics, ...]
    agreement: tuple[Agreement, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Compilation(Prepared):
    """The product of a compile for a board, complete and in memory.

    Attributes:
        board: the machine it is for.
        program: kernels, constants, plan.
        seconds: wall time of the compile.
    """

    board: Board
    program: Program
    seconds: float


Progress = Callable[[str], None]
_CHOICES: dict[str, tuple[object, ...]] = {
    "dtype": ("int8", "float32"),
    "optimize": ("ram", "time", "balanced"),
    "io": ("int8", "float32"),
    "weight_bits": (8, 4, 3, 2),
    "activation_bits": (8, 4),
}
# fmt: off
_C_KEYWORDS = frozenset((
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
))
# NAME_t would be a type of <stdint.h> or <stddef.h>, or NAME.h one of the headers that the sources include.
_C_TAKEN = frozenset((
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intptr", "uintptr", "intmax",
    "uintmax", "size", "ssize", "ptrdiff", "wchar", "max_align", "nullptr", "dnncc", "dnncc_math", "stdint", "stddef",
    "string", "stdio", "stdlib", "limits", "math", "stdbool", "main",
))
# fmt: on
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
    from dnncc.targets.boards import load_board
    from dnncc.targets.hls.parts import is_hls

    start = time.perf_counter()
    say = progress or (lambda text: None)
    if is_hls(target):
        raise UsageError(f"'{target}' is an FPGA", help="compile for it with dnncc.compile_fpga")
    chosen = parse_options(target, options)
    board = load_board(target)
    if output is not None:
        check_writable(Path(output))
    prepared = prepare(model, example_inputs, chosen, calibrate, say)
    say("lowering and planning")
    program = _program(prepared.graph, chosen, board, say)
    _check_fits(program, board)
    shared = {field.name: getattr(prepared, field.name) for field in fields(prepared)}
    shared["warnings"] = (*_warn_float(chosen, board), *prepared.warnings)
    compilation = Compilation(board=board, program=program, seconds=time.perf_counter() - start, **shared)
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
    from dnncc.passes.quantize.agreement import CALIBRATED, REASONS

    say("reading the model")
    graph, model_hash = load_hashed(
        model, options.dims, example_inputs=example_inputs, inputs=options.inputs, outputs=options.outputs
    )
    samples, calibrated = _samples(graph, calibrate)
    say("simplifying and quantizing")
    pipeline = Pipeline.parse(options.passes if options.passes is not None else default_pipeline(options))
    float_graph = graph.clone()
    meaning, statistics, learned = _run_pipeline(pipeline, graph, samples, options, float_graph)
    warnings = _warn_scales(float_graph, learned, calibrated)
    _check_legal(meaning, options)
    selftest = _selftest_samples(meaning, samples)
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
        pipeline=str(pipeline),
        accumulators=_accumulators(meaning),
        samples=selftest,
        calibrated=calibrated,
        statistics=tuple(statistics),
        agreement=agreement,
        warnings=tuple(warnings),
    )


def default_pipeline(options: Options) -> str:
    """The pass pipeline of these options, as text."""
    if options.dtype == "float32":
        return "simplify"
    given = {"weights": options.weight_bits, "activations": options.activation_bits, "io": options.io}
    default = {"weights": 8, "activations": 8, "io": "int8"}
    text = ",".join(f"{k}={v}" for k, v in given.items() if v != default[k])
    return f"simplify,quantize{{{text}}},cse,dce" if text else "simplify,quantize,cse,dce"


def parse_options(target: str, given: Mapping[str, Any]) -> Options:
    from dnncc.runtime.suggest import did_you_mean

    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            raise UsageError(f"unknown option '{name}'{did_you_mean(name, known)}")
    options = Options(target=target, **given)
    if options.dtype == "float32":
        options = replace(options, io="float32")
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value not in choices:
            shown = ", ".join(map(str, choices))
            raise UsageError(f"{name} cannot be {value!r}", help=f"choose one of {shown}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", options.name) or _taken(options.name):
        raise UsageError(
            f"'{options.name}' cannot prefix C names", help="choose letters, digits and _, with --name"
        )
    return options


def _taken(name: str) -> bool:
    """Whether C or its headers use the name, or dnncc.h the macros with this prefix."""
    return name in _C_KEYWORDS | _C_TAKEN or name.lower() == "dnncc"


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


def _samples(
    graph: Graph, calibrate: str | Path | Mapping[str, Array] | None
) -> tuple[dict[str, Array], bool]:
    from dnncc.calibration import load_samples, synthetic_samples

    if calibrate is not None:
        return load_samples(calibrate, graph), True
    return synthetic_samples(graph, SYNTHETIC_SAMPLES, seed=0), False


def _run_pipeline(
    pipeline: Pipeline, graph: Graph, samples: dict[str, Array], options: Options, float_graph: Graph
) -> tuple[Graph, list[PassStatistics], list[str]]:
    """The network's meaning, what each pass did, and the values whose scales the samples decided about;
    ``float_graph`` becomes the last graph before quantization.
    """
    from dnncc.ir.verify import verify_integer
    from dnncc.passes.quantize import Quantize, bind_samples

    def observe(statistics: PassStatistics, current: Graph) -> None:
        if all(not v.type.dtype.is_integer or v.type.quantization is None for v in current.values()):
            copy = current.clone()
            float_graph.inputs, float_graph.outputs, float_graph.nodes = copy.inputs, copy.outputs, copy.nodes

    bound = bind_samples(pipeline, samples)
    statistics = bound.run(graph, options.dump_ir, observe)
    if options.dtype == "int8":
        verify_integer(graph)
    return graph, statistics, [n for p in bound.passes if isinstance(p, Quantize) for n in p.calibrated]


def _check_legal(graph: Graph, options: Options) -> None:
    culprits = [
        Culprit(n.name, n.op.name, "has no code generation") for n in graph.nodes if not n.op.has_code()
    ]
    if culprits:
        raise UnsupportedError(
            f"{len(culprits)} operators cannot be compiled for '{options.target}'", culprits
        )


_EFFORT = {"ram": 10.0, "balanced": 2.0, "time": 2.0}


def _program(meaning: Graph, options: Options, board: Board, say: Progress) -> Program:
    from dnncc.passes.planning.problem import Pool
    from dnncc.targets.program import build_program
    from dnncc.targets.target import target_of

    fused = meaning.clone()
    Pipeline.parse("last-step,separate-outputs,fuse").run(fused)
    effort = _EFFORT[options.optimize] if options.time_limit is None else max(options.time_limit, 0.0)

    def report(best: int, bound: int) -> None:
        say(f"planning: {best:,} bytes, at least {bound:,}")

    # Cycles per byte accessed count only against each other: every access takes one, and waits.
    pools = [Pool(p.name, p.bytes, 1 + p.wait_states) for p in board.ram_pools]
    outer = board.external
    external = None if outer is None else Pool(outer.name, outer.bytes, 1 + outer.wait_states)
    target = target_of(board)
    compact = options.optimize == "ram"
    return build_program(
        fused, options.name, compact, effort, report, pools, external, target.lower, target.alignment
    )


def _check_fits(program: Program, board: Board) -> None:
    """Arenas against the board's RAM pools, constants against its flash."""
    from dnncc.artifact import anchor_op

    plan = program.plan
    flash = next((p for p in board.pools if p.kind == "flash"), None)
    culprits = []
    node = plan.steps[plan.peak_step] if plan.steps else None
    for pool in plan.pools:
        if node is not None and pool.capacity is not None and pool.bytes > pool.capacity:
            culprits.append(
                Culprit(
                    f"pool '{pool.name}'",
                    reason=f"needs {pool.bytes:,} of {pool.capacity:,} bytes, "
                    f"{pool.bytes - pool.capacity:,} too many; all pools together need at least "
                    f"{plan.bound_bytes:,}; the peak is at node '{node.name}' ({anchor_op(node)})",
                )
            )
    if plan.copied_bytes and board.external is None and not board.is_host:
        culprits.append(
            Culprit(
                plan.pools[-1].name,
                reason=f"the graph spills {plan.pools[-1].bytes:,} bytes, but the board has no pool of kind 'external'",
            )
        )
    if flash is not None and flash.bytes is not None and program.weights_bytes > flash.bytes:
        largest = max(program.steps, key=lambda s: sum(program.constants[c].nbytes for c in s.constants))
        culprits.append(
            Culprit(
                f"pool '{flash.name}'",
                reason=f"needs {program.weights_bytes:,} of {flash.bytes:,} bytes for weights, "
                f"{program.weights_bytes - flash.bytes:,} too many; most are of node '{largest.node.name}'",
            )
        )
    if culprits:
        raise DoesNotFitError(
            f"the network does not fit '{board.name}'",
            culprits,
            help="choose a board with more memory (dnncc list boards), a smaller input, or a smaller network",
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
