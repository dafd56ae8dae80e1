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
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array
from dnncc.runtime.bundle import Bundle

SAMPLES = 20
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
    """

    on: str
    samples: int
    values: int
    mismatches: int
    first: Difference | None
    data: str
    tolerance: float

    @property
    def match(self) -> bool:
        return self.mismatches == 0


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
        on: "host", "emulator", "qemu" or "interpreter"; by default see ``dnncc.execution.place_of``.
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
    bundle = Bundle.open(artifact)
    graph = load_graph(Path(artifact))
    place = place_of(bundle, on, core, compiler, opt)
    if place.on == INTERPRETER:
        _check_files(Path(artifact))
    if data is None:
        arguments = made_up(graph, samples or SAMPLES)
        origin = f"made up, seed {SEED}"
    else:
        arguments = _given(graph, data, samples)
        origin = str(data) if isinstance(data, str | Path) else "given"
    tolerance = 0.0 if _is_exact(graph) else TOLERANCE
    results = execute(bundle, graph, place, arguments)
    values, mismatches, first = 0, 0, None
    for number, (given, actual) in enumerate(zip(arguments, results, strict=True)):
        for value, got, expected in zip(graph.outputs, actual, interpret(graph, given), strict=True):
            wrong = _differs(got, expected, tolerance)
            values += expected.size
            mismatches += int(wrong.sum())
            if first is None and wrong.any():
                index = tuple(int(i) for i in np.argwhere(wrong)[0])
                first = Difference(number, value.name, index, float(got[index]), float(expected[index]))
    return Validation(place.on, len(arguments), values, mismatches, first, origin, tolerance)


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
    culprits: Sequence[Culprit] = (
        [] if found.first is None else [Culprit(str(found.first), reason="is the first")]
    )
    return MismatchError(
        f"{found.mismatches:,} of {found.values:,} values of {artifact} on {found.on} differ from the "
        "interpreter",
        culprits,
    )
