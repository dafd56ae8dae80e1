"""Measures one network: compiled by the command line as a user would, then run on every emulated core."""

from __future__ import annotations

import filecmp
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.artifact import load_graph, load_manifest
from dnncc.calibration import load_samples, synthetic_samples
from dnncc.errors import ToolMissingError
from dnncc.execution import run
from dnncc.ir.graph import Const, Graph
from dnncc.passes.quantize import integer_arguments
from dnncc.runtime.compilers import find_compiler
from dnncc.runtime.cores import CORES
from dnncc.runtime.emulator import Emulator
from dnncc.validation import made_up

from benchmarks.networks import Array, Network

TARGET = "stm32f4"
CORTEX_M4 = "cortex-m4"
_HEAVY = ("torch", "tvm", "tvm_ffi", "onnx", "ortools", "onnxruntime")
_HELP_REPEATS = 5
_SIMILARITY_SAMPLES = 16
_UNSEEN = 1  # seed of samples that calibration, seeded with 0, has not seen
Progress = Callable[[str], None]


class BenchmarkError(Exception):
    """A benchmark cannot be carried out."""


@dataclass(frozen=True)
class OnCore:
    """One inference on an emulated core: the most that any of the samples takes.

    Attributes:
        instructions: exact. cycles: estimated, with memory that answers at once.
        fewest: the instructions of the sample that takes fewest.
        code_bytes, constant_bytes: of the artifact. library_bytes: added by the linker (memcpy and its kin).
        flash_bytes: code, constants and initial values, without the library.
        ram_bytes: arena and statics, without stack, input and output.
    """

    core: str
    compiler: str
    opt: str
    instructions: int
    fewest: int
    cycles: int
    stack_bytes: int
    code_bytes: int
    constant_bytes: int
    library_bytes: int
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Quality:
    """On labelled samples that calibration has not seen: shares of 1."""

    samples: int
    accuracy: float
    float_accuracy: float
    agreement: float


@dataclass(frozen=True)
class Result:
    """One network, measured.

    Attributes:
        parameter_bytes: weights and biases at 8 and 32 bits: what no code can do without.
        bound_bytes: no order and placement of these kernels needs less arena.
        compile_seconds: wall time of the warm ``dnncc compile``, start of Python included; cpu_seconds: its
            processor time.
        reproducible: compiled twice with different hash seeds, every file has the same bytes.
        similarity: cosine between the outputs and the float model's on samples that calibration has not seen,
            the least of all samples and outputs; of made up noise where there are no real ones.
        cores: per emulated core, built with zig -O2.
        builds: of other compilers and levels, on the Cortex-M4.
    """

    name: str
    macs: int
    calibrated_on: str
    parameter_bytes: int
    arena_bytes: int
    bound_bytes: int
    compile_seconds: float
    cpu_seconds: float
    reproducible: bool
    similarity: float
    quality: Quality | None
    cores: tuple[OnCore, ...]
    builds: tuple[OnCore, ...]

    @property
    def cortex_m4(self) -> OnCore:
        return next(core for core in self.cores if core.core == CORTEX_M4)


@dataclass(frozen=True)
class StartUp:
    """``dnncc --help``: the median of its wall times, and which libraries it loads that it should not."""

    seconds: float
    heavy_modules: tuple[str, ...]


def measure(network: Network, folder: Path, progress: Progress) -> Result:
    """Compile into `folder` and measure.

    Raises:
        BenchmarkError: the compile fails. DnnccError: a tool is missing, or the code does what it must not.
    """
    artifact, seconds, cpu_seconds, reproducible = compile_twice(network, folder, progress)
    graph = load_graph(artifact)
    samples = _samples(network, graph)
    cores, builds = [], []
    for core in CORES:
        progress(f"{network.name}: running on an emulated {core}")
        cores.append(_on_core(artifact, core, "zig", "-O2", samples))
    for compiler, opt in other_builds():
        progress(f"{network.name}: built with {compiler} {opt}")
        builds.append(_on_core(artifact, CORTEX_M4, compiler, opt, samples))
    progress(f"{network.name}: comparing with the float model")
    manifest = load_manifest(artifact)
    return Result(
        name=network.name,
        macs=manifest["macs"],
        calibrated_on=network.calibrated_on,
        parameter_bytes=_parameter_bytes(graph),
        arena_bytes=sum(pool["bytes"] for pool in manifest["pools"]),
        bound_bytes=manifest["plan"]["bound_bytes"],
        compile_seconds=seconds,
        cpu_seconds=cpu_seconds,
        reproducible=reproducible,
        similarity=_similarity(network, artifact, graph),
        quality=_quality(network, artifact),
        cores=tuple(cores),
        builds=tuple(builds),
    )


def compile_network(network: Network, folder: Path, progress: Progress) -> Path:
    """The artifact, compiled.

    Raises:
        BenchmarkError: it does not compile.
    """
    artifact = folder / network.name
    progress(f"{network.name}: compiling")
    dnncc([*_compile_words(network, folder), "-o", str(artifact)], hash_seed=1)
    return artifact


def compile_twice(network: Network, folder: Path, progress: Progress) -> tuple[Path, float, float, bool]:
    """The artifact, wall and processor seconds of the second compile, and whether both gave the same bytes."""
    first, second = compile_network(network, folder, progress), folder / f"{network.name}-again"
    words = _compile_words(network, folder)
    progress(f"{network.name}: compiling again, timed")
    before, start = os.times(), time.perf_counter()
    dnncc([*words, "-o", str(second)], hash_seed=2)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return first, seconds, cpu, same_files(first, second)


def _compile_words(network: Network, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    words = ["compile", str(network.model), "--target", TARGET, "--json"]
    if network.calibration is None:
        return words
    samples = folder / f"{network.name}.npz"
    np.savez(samples, allow_pickle=False, **network.calibration)
    return [*words, "--calibrate", str(samples)]


def dnncc(words: Sequence[str], hash_seed: int) -> Mapping[str, Any]:
    """The JSON document that a command prints.

    Raises:
        BenchmarkError: it fails; with its own message.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dnncc", *words],
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(
            f"dnncc {' '.join(words)} failed with exit status {done.returncode}:\n{done.stderr}"
        )
    document: Mapping[str, Any] = json.loads(done.stdout)
    return document


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold files of the same names and bytes."""
    names = [sorted(p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()) for f in (one, other)]
    if names[0] != names[1] or not names[0]:
        return False
    match, _, _ = filecmp.cmpfiles(one, other, names[0], shallow=False)
    return len(match) == len(names[0])


def measure_start_up() -> StartUp:
    """``dnncc --help``, a few times, and what it imports."""
    command = [sys.executable, "-m", "dnncc", "--help"]
    times = []
    for _ in range(_HELP_REPEATS):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    probe = (
        "import contextlib, io, sys\nfrom dnncc.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        f"print(*[m for m in {_HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return StartUp(statistics.median(times), tuple(done.stdout.split()))


def other_builds() -> list[tuple[str, str]]:
    """Compilers and levels beside zig -O2, as far as they are installed."""
    builds = [("zig", "-Os"), ("zig", "-O3")]
    return [*builds, ("gcc-arm", "-Os"), ("gcc-arm", "-O2"), ("gcc-arm", "-O3")] if has("gcc-arm") else builds


def has(compiler: str) -> bool:
    """Whether that compiler is installed."""
    try:
        find_compiler(compiler)
    except ToolMissingError:
        return False
    return True


def real_or_synthetic(network: Network, graph: Graph, count: int) -> list[list[Array]]:
    """The first calibration samples, or made up ones where there are none, in the artifact's types."""
    given = (
        synthetic_samples(graph, count, seed=0)
        if network.calibration is None
        else load_samples(network.calibration, graph)
    )
    return [integer_arguments(graph, given, index) for index in range(count)]


def _samples(network: Network, graph: Graph) -> list[Sequence[Array]]:
    """All lowest, all highest, uniform over the whole range, and one of the calibration samples."""
    return [*made_up(graph, 3), *real_or_synthetic(network, graph, 1)]


def _on_core(
    artifact: Path, core: str, compiler: str, opt: str, samples: Sequence[Sequence[Array]]
) -> OnCore:
    emulator = Emulator(artifact, core, compiler, opt=opt)
    runs = [emulator.run(sample) for sample in samples]
    return OnCore(
        core=core,
        compiler=compiler,
        opt=opt,
        instructions=max(r.instructions for r in runs),
        fewest=min(r.instructions for r in runs),
        cycles=max(r.cycles for r in runs),
        stack_bytes=max(r.stack_bytes for r in runs),
        code_bytes=emulator.code_bytes,
        constant_bytes=emulator.constant_bytes,
        library_bytes=emulator.library_bytes,
        flash_bytes=emulator.flash_bytes,
        ram_bytes=emulator.ram_bytes,
    )


def _parameter_bytes(graph: Graph) -> int:
    layers = graph.find("conv2d", "linear", "matmul")
    return sum(value.data.nbytes for node in layers for value in node.inputs if isinstance(value, Const))


def _similarity(network: Network, artifact: Path, graph: Graph) -> float:
    if network.labelled is None:
        inputs: Mapping[str, Array] = synthetic_samples(graph, _SIMILARITY_SAMPLES, seed=_UNSEEN)
    else:
        inputs = {name: array[:_SIMILARITY_SAMPLES] for name, array in network.labelled.inputs.items()}
    expected = float_outputs(network.model, inputs)
    found = run(artifact, inputs, on="host")
    least = 1.0
    for theirs, ours in zip(expected, found.values(), strict=True):
        a, b = theirs.reshape(len(theirs), -1), ours.reshape(len(ours), -1)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        least = min(least, float((np.sum(a * b, axis=1) / np.maximum(norms, 1e-30)).min()))
    return least


def _quality(network: Network, artifact: Path) -> Quality | None:
    if network.labelled is None:
        return None
    expected = float_outputs(network.model, network.labelled.inputs)[0].argmax(axis=1)
    (output,) = run(artifact, network.labelled.inputs, on="host").values()
    found, classes = output.argmax(axis=1), network.labelled.classes
    return Quality(
        samples=len(classes),
        accuracy=float(np.mean(found == classes)),
        float_accuracy=float(np.mean(expected == classes)),
        agreement=float(np.mean(found == expected)),
    )


def float_outputs(model: Path, inputs: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime computes, per output [n, ...]; the model's batch may be fixed to 1."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    shapes = {port.name: len(port.shape) for port in session.get_inputs()}
    rows = []
    for index in range(len(next(iter(inputs.values())))):
        feeds = {}
        for name, array in inputs.items():
            sample = array[index]
            feeds[name] = sample[None] if sample.ndim < shapes[name] else sample
        rows.append(session.run(None, feeds))
    return [np.concatenate(column) for column in zip(*rows, strict=True)]
