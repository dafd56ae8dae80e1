"""An artifact against the reference interpreter, value by value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dnncc.artifact import load_graph, load_manifest
from dnncc.calibration import load_samples
from dnncc.errors import Culprit, MismatchError, UsageError
from dnncc.execution import INTERPRETER, Arguments, execute, place_of
from dnncc.fpga_validation import Simulation, is_fpga, simulate_artifact
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array
from dnncc.runtime.bundle import Bundle

SAMPLES = 20
FPGA_SAMPLES = 8
CSIM = "csim"
_SHOWN = 8
SEED = 0
TOLERANCE = 1e-4
"""Of a float network, relative to the output's largest magnitude: the order of its sums is not fixed."""
_BORDER = ("quantize", "dequantize")


@dataclass(frozen=True)
class Difference:
    """The first value that differs: in which sample and output, where, what came and what should have."""

    sample: int
    output: str
    index: tuple[int, ...]
    actual: float
    expected: float

    def __str__(self) -> str:
        return (
            f"sample {self.sample}, output '{self.output}', index {list(self.index)}: "
            f"{self.actual:g} instead of {self.expected:g}"
        )


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        on: where the artifact ran.
        samples: how many samples.
        values: how many output values were compared.
        mismatches: how many of them differ.
        first: the first that differs, if any.
        data: where the samples come from, in words.
        tolerance: 0 for an integer network, which must agree in every bit; else relative to the output's
            largest magnitude.
        simulation: of an FPGA's artifact: its streams, and what happened with FIFOs of the chosen depths.
    """

    on: str
    samples: int
    values: int
    mismatches: int
    first: Difference | None
    data: str
    tolerance: float
    simulation: Simulation | None = None

    @property
    def match(self) -> bool:
        return self.mismatches == 0 and (self.simulation is None or self.simulation.clean)


def validate(
    artifact: str | Path,
    *,
    on: str | None = None,
    data: str | Path | Mapping[str, Array] | None = None,
    samples: int | None = None,
    core: str | None = None,
    compiler: str | None = None,
    opt: str = "-O2",
) -> Validation:
    """Run an artifact and the interpreter on the same samples and compare every output value.

    On the interpreter itself there is no code to run: what is checked then is that the artifact's files are
    those that its manifest lists.

    Args:
        artifact: its folder.
        on: "host", "emulator", "qemu" or "interpreter"; by default see ``dnncc.execution.place_of``. An FPGA's: "csim"
            or "interpreter".
        data: an .npz file or arrays of float samples, see ``dnncc.calibration.load_samples``; by default made
            up ones that cover the inputs' whole range, see ``made_up``.
        samples: how many; by default all of ``data``, or ``SAMPLES``.
        core, compiler, opt: see ``dnncc.execution.Place``.

    Raises:
        UsageError: no artifact, no such place. CalibrationError: the data do not fit.
        ToolMissingError, ToolFailedError: a tool is missing or fails.
        MismatchError: the code does what it must not, such as writing outside its buffers; a file was
            changed.
    """
    if samples is not None and samples < 1:
        raise UsageError(f"cannot validate on {samples} samples", help="give at least 1")
    if is_fpga(Path(artifact)):
        return _validate_fpga(Path(artifact), on, data, samples)
    bundle = Bundle.open(artifact)
    graph = load_graph(Path(artifact))
    place = place_of(bundle, on, core, compiler, opt)
    if place.on == INTERPRETER:
        _check_files(Path(artifact))
    arguments, origin = _arguments(graph, data, samples, SAMPLES)
    tolerance = 0.0 if _is_exact(graph) else TOLERANCE
    results = execute(bundle, graph, place, arguments)
    values, mismatches, first = _compare(graph, arguments, results, tolerance)
    return Validation(place.on, len(arguments), values, mismatches, first, origin, tolerance)


def _validate_fpga(
    folder: Path, on: str | None, data: str | Path | Mapping[str, Array] | None, samples: int | None
) -> Validation:
    if on not in (None, CSIM, INTERPRETER):
        raise UsageError(f"an FPGA's artifact does not run on {on!r}", help=f"places: {CSIM}, {INTERPRETER}")
    graph = load_graph(folder)
    arguments, origin = _arguments(graph, data, samples, FPGA_SAMPLES)
    simulation = None
    if on == INTERPRETER:
        _check_files(folder)
        results = [interpret(graph, given) for given in arguments]
    else:
        results, simulation = simulate_artifact(folder, arguments)
    values, mismatches, first = _compare(graph, arguments, results, 0.0)
    return Validation(on or CSIM, len(arguments), values, mismatches, first, origin, 0.0, simulation)


def _arguments(
    graph: Graph, data: str | Path | Mapping[str, Array] | None, samples: int | None, usual: int
) -> tuple[list[Arguments], str]:
    """The samples, and where they come from."""
    if data is None:
        return made_up(graph, samples or usual), f"made up, seed {SEED}"
    return _given(graph, data, samples), str(data) if isinstance(data, str | Path) else "given"


def _compare(
    graph: Graph, arguments: Sequence[Arguments], results: Sequence[Sequence[Array]], tolerance: float
) -> tuple[int, int, Difference | None]:
    """Values, how many of them differ from the interpreter's, and the first that does."""
    values, mismatches, first = 0, 0, None
    for number, (given, actual) in enumerate(zip(arguments, results, strict=True)):
        for value, got, expected in zip(graph.outputs, actual, interpret(graph, given), strict=True):
            wrong = _differs(got, expected, tolerance)
            values += expected.size
            mismatches += int(wrong.sum())
            if first is None and wrong.any():
                index = tuple(int(i) for i in np.argwhere(wrong)[0])
                first = Difference(number, value.name, index, float(got[index]), float(expected[index]))
    return values, mismatches, first


def made_up(graph: Graph, count: int) -> list[Arguments]:
    """Samples that cover everything an input can be, the same every time.

    Integers: all the lowest, all the highest, then uniform over the type's whole range. Floats: normal, with
    standard deviations of 1, 10 and 100 in turn.
    """
    rng = np.random.default_rng(SEED)
    return [[_made_up(rng, value, number) for value in graph.inputs] for number in range(count)]


def _made_up(rng: np.random.Generator, value: Value, number: int) -> Array:
    dtype, shape = value.type.dtype, value.type.shape
    if dtype.is_float:
        return (rng.standard_normal(shape) * 10.0 ** (number % 3)).astype(dtype.numpy)
    if number < 2:
        return np.full(shape, (dtype.min, dtype.max)[number], dtype.numpy)
    return rng.integers(dtype.min, dtype.max, shape, dtype.numpy, endpoint=True)


def _given(graph: Graph, data: str | Path | Mapping[str, Array], count: int | None) -> list[Arguments]:
    from dnncc.passes.quantize import integer_arguments

    loaded = load_samples(data, graph)
    available = min((len(array) for array in loaded.values()), default=1)
    if count is not None and count > available:
        raise UsageError(f"{count} samples were asked for, the data have {available}")
    return [integer_arguments(graph, loaded, i) for i in range(count or available)]


def _is_exact(graph: Graph) -> bool:
    """Whether nothing but the border, which rounds the same everywhere, computes with floats."""
    return not any(
        value.type.dtype.is_float
        for node in graph.nodes
        if node.op.name not in _BORDER
        for value in (*node.inputs, *node.outputs)
    )


def _differs(got: Array, expected: Array, tolerance: float) -> Array:
    wrong: Array
    if tolerance == 0.0:
        wrong = got != expected
        return wrong
    finite = np.abs(expected[np.isfinite(expected)])
    limit = tolerance * max(float(finite.max(initial=0.0)), 1e-6)
    wrong = ~np.isclose(got, expected, rtol=0.0, atol=limit, equal_nan=True)
    return wrong


def _check_files(folder: Path) -> None:
    """MismatchError with every file that is not what the manifest says."""
    culprits = []
    for name, digest in load_manifest(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            culprits.append(Culprit(name, reason="is missing"))
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            culprits.append(Culprit(name, reason="was changed"))
    if culprits:
        raise MismatchError(f"{folder} is not what dnncc wrote", culprits, help="compile the model again")


def mismatch(artifact: str | Path, found: Validation) -> MismatchError:
    """The error that says what a validation found."""
    culprits = [] if found.first is None else [Culprit(str(found.first), reason="is the first")]
    if found.simulation is not None:
        culprits += _wrong_streams(found.simulation)
        if not found.mismatches:
            return MismatchError(f"{artifact}: the C simulation is not clean", culprits)
    return MismatchError(
        f"{found.mismatches:,} of {found.values:,} values of {artifact} on {found.on} differ from the "
        "interpreter",
        culprits,
    )


def _wrong_streams(found: Simulation) -> list[Culprit]:
    """What is wrong in a C simulation beside the outputs."""
    return [
        *(
            Culprit(
                f"stream '{s.stream}'",
                reason=f"{s.mismatches:,} of {s.values:,} values of '{s.value}' differ",
            )
            for s in found.streams
            if s.mismatches
        ),
        *(Culprit("C simulation", reason=warning) for warning in found.warnings[:_SHOWN]),
        *(Culprit("bounded FIFOs", reason=warning) for warning in found.bounded_warnings[:_SHOWN]),
        *(
            [Culprit("bounded FIFOs", reason=f"{found.bounded_mismatches:,} output values differ")]
            if found.bounded_mismatches
            else []
        ),
    ]
