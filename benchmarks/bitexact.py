"""The proof matrix: one artifact, built by every compiler and run on every core, against the interpreter.

Every byte of every output is compared, on real (or calibration) samples and on ones that cover the inputs' whole
range. The number that has to come out is 0.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dnncc.artifact import load_graph
from dnncc.errors import DnnccError
from dnncc.interpreter import interpret
from dnncc.runtime.compilers import FIRMWARE_COMPILERS, HOST_COMPILERS
from dnncc.runtime.cores import CORES
from dnncc.runtime.emulator import Emulator
from dnncc.runtime.host import HostModel
from dnncc.runtime.qemu import MODELS, Qemu
from dnncc.validation import made_up

from benchmarks.inside import compile_inside
from benchmarks.measure import CORTEX_M4, Progress, compile_network, has, real_or_synthetic
from benchmarks.networks import Array, Network

HOST_LEVELS = ("-O0", "-O1", "-O2", "-O3")
CORE_LEVELS = ("-O0", "-O3", "-Os")  # beside -O2, on the Cortex-M4
SAMPLES = (12, 12)  # real ones; made up ones
SAMPLES_INSIDE = (4, 4)
INSIDE = ", inside"
QEMU = "qemu-system-arm"
_QEMU_SAMPLES = 8  # per boot: they lie in the board's flash

Sample = Sequence[Array]


@dataclass(frozen=True)
class Place:
    """One way to build and run an artifact.

    Attributes:
        kind: "host", "emulator" or "qemu".
        machine: the core, or QEMU's machine; "" on the host.
    """

    kind: str
    machine: str
    compiler: str
    opt: str

    @property
    def label(self) -> str:
        return " ".join(word for word in (self.kind, self.machine, self.compiler, self.opt) if word)

    @property
    def tools(self) -> tuple[str, ...]:
        """What has to be installed beside PyPI's packages."""
        return (self.compiler, QEMU) if self.kind == "qemu" else (self.compiler,)

    def run(self, artifact: Path, samples: Sequence[Sample]) -> list[list[Array]]:
        """The outputs of every sample.

        Raises:
            DnnccError: the compiler rejects the code, or the code does what it must not.
        """
        if self.kind == "host":
            model = HostModel(artifact, self.compiler, self.opt)
            return [model.run(sample) for sample in samples]
        if self.kind == "emulator":
            emulator = Emulator(artifact, self.machine, self.compiler, opt=self.opt)
            return [emulator.run(sample).outputs for sample in samples]
        qemu = Qemu(artifact, self.machine, self.opt)
        boots = [samples[i : i + _QEMU_SAMPLES] for i in range(0, len(samples), _QEMU_SAMPLES)]
        return [result.outputs for boot in boots for result in qemu.run_samples(boot)]


@dataclass(frozen=True)
class Cell:
    """One network at one place.

    Attributes:
        values: output values compared.
        mismatches: bytes of them that differ.
        problem: why it did not run to the end, or "".
    """

    network: str
    place: Place
    samples: int
    values: int
    mismatches: int
    problem: str
    seconds: float

    @property
    def exact(self) -> bool:
        return self.values > 0 and self.mismatches == 0 and not self.problem


def all_places() -> list[Place]:
    """Every place that there is, installed or not."""
    places = [Place("host", "", compiler, opt) for compiler in HOST_COMPILERS for opt in HOST_LEVELS]
    places += [Place("emulator", core, compiler, "-O2") for core in CORES for compiler in FIRMWARE_COMPILERS]
    places += [Place("emulator", CORTEX_M4, c, opt) for c in FIRMWARE_COMPILERS for opt in CORE_LEVELS]
    return [*places, *(Place("qemu", machine, "gcc-arm", "-O2") for machine in MODELS)]


def places_inside() -> list[Place]:
    """Those where the outputs of all kernels have room, without the emulator's further levels."""
    return [p for p in all_places() if p.kind == "host" or (p.kind == "emulator" and p.opt == "-O2")]


def missing_tools() -> list[str]:
    """Which of the compilers and QEMU are not installed."""
    missing = [name for name in dict.fromkeys((*HOST_COMPILERS, *FIRMWARE_COMPILERS)) if not has(name)]
    return missing if shutil.which(QEMU) else [*missing, QEMU]


def find_places() -> list[Place]:
    """Every place whose tools are installed."""
    missing = missing_tools()
    return [place for place in all_places() if not any(tool in missing for tool in place.tools)]


def samples_of(network: Network, artifact: Path, real: int, made: int) -> list[Sample]:
    """Calibration samples (made up where there are none), and ones that cover the inputs' whole range."""
    graph = load_graph(artifact)
    return [*real_or_synthetic(network, graph, real), *made_up(graph, made)]


def expected_outputs(artifact: Path, samples: Sequence[Sample]) -> list[list[Array]]:
    """What the interpreter says."""
    graph = load_graph(artifact)
    return [interpret(graph, sample) for sample in samples]


def compare(
    network: str, artifact: Path, place: Place, samples: Sequence[Sample], expected: Sequence[Sequence[Array]]
) -> Cell:
    """Run every sample at one place and compare every byte."""
    start = time.perf_counter()
    values = mismatches = 0
    problem = ""
    try:
        found = place.run(artifact, samples)
    except DnnccError as error:
        problem, found = str(error), []
    for ours, theirs in zip(found, expected, strict=not problem):
        for got, wanted in zip(ours, theirs, strict=True):
            values += wanted.size
            mismatches += differing_bytes(got, wanted)
    return Cell(network, place, len(found), values, mismatches, problem, time.perf_counter() - start)


def differing_bytes(got: Array, wanted: Array) -> int:
    """How many bytes differ; all of them if type or shape do."""
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return max(wanted.nbytes, 1)
    ours, theirs = (np.frombuffer(array.tobytes(), np.uint8) for array in (got, wanted))
    return int(np.count_nonzero(ours != theirs))


def prove(networks: Sequence[Network], folder: Path, progress: Progress) -> list[Cell]:
    """The whole matrix; the artifacts end up in `folder`.

    Beside each network runs one that shows its inside (``INSIDE`` in its name).

    Raises:
        BenchmarkError, DnnccError: a network does not compile.
    """
    places = find_places()
    cells = []
    for network in networks:
        artifact = compile_network(network, folder, progress)
        cells += _column(network.name, network, artifact, places, SAMPLES, progress)
        inside = compile_inside(network, folder, progress)
        chosen = [place for place in places if place in places_inside()]
        cells += _column(f"{network.name}{INSIDE}", network, inside, chosen, SAMPLES_INSIDE, progress)
    return cells


def _column(
    name: str,
    network: Network,
    artifact: Path,
    places: Sequence[Place],
    counts: tuple[int, int],
    progress: Progress,
) -> list[Cell]:
    samples = samples_of(network, artifact, *counts)
    progress(f"{name}: {len(samples)} samples through the interpreter")
    expected = expected_outputs(artifact, samples)
    cells = []
    for place in places:
        cells.append(compare(name, artifact, place, samples, expected))
        progress(f"{name}: {place.label}: {cells[-1].problem or f'{cells[-1].mismatches} bytes differ'}")
    return cells
