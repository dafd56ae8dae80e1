"""Samples for calibration, validation and runs: the X.npz contract, checked completely before anything uses
it.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from dnncc.errors import CalibrationError, Culprit
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType

Samples = dict[str, Array]
_LOG = logging.getLogger(__name__)

_HELP = (
    "the file is an .npz with one float32 array per model input, named as in the model, first axis = samples"
)


def load_samples(source: str | Path | Mapping[str, Array], graph: Graph) -> Samples:
    """Samples for every input of ``graph``.

    Args:
        source: an .npz file, or the arrays themselves. One array per graph input, under its name; the first
            axis counts samples; float32, float16 or float64 (converted to float32) for a float input, and
            integers or booleans that the input's type can hold for another. A sample has the input's shape
            without its leading batch axis of 1, or with it: ``[n, 1, 49, 10]`` and ``[n, 1, 1, 49, 10]`` both
            fit an input ``[1, 1, 49, 10]``. Where every input is there, other arrays (labels) are ignored
            with a note in the log.
        graph: only its inputs are looked at.

    Returns:
        Arrays [n, *shape without the batch axis] in the order of the graph's inputs, float32 for float inputs and
        of the input's own type for others.

    Raises:
        CalibrationError: the file is missing or no .npz, or the arrays do not fit, with all that is wrong as
            culprits.
    """
    arrays = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    wanted = {v.name: v for v in graph.inputs}
    culprits = [
        Culprit(name, reason="is missing: " + _expected(v))
        for name, v in wanted.items()
        if name not in arrays
    ]
    others = [name for name in arrays if name not in wanted]
    if culprits:
        # Where an input is missing, an array too many may be meant to be it.
        known = ", ".join(f"'{name}'" for name in wanted)
        culprits += [Culprit(n, reason=f"is no input of the model (inputs: {known})") for n in others]
    elif others:
        _LOG.info("%s: no inputs of the model, ignored: %s", _where(source), ", ".join(others))
    for name, value in wanted.items():
        if name in arrays:
            culprits += [
                Culprit(name, reason=reason) for reason in _problems(np.asarray(arrays[name]), value)
            ]
    if not culprits:
        counts = {name: len(arrays[name]) for name in wanted}
        if len(set(counts.values())) > 1:
            culprits = [Culprit(name, reason=f"has {count} samples") for name, count in counts.items()]
    if culprits:
        raise CalibrationError(f"{_where(source)} do not fit the model '{graph.name}'", culprits, _HELP)
    return {name: _normal(np.asarray(arrays[name]), value) for name, value in wanted.items()}


def load_others(source: str | Path | Mapping[str, Array], samples: Samples) -> Samples:
    """The arrays that came with samples and are no inputs, such as labels: those with as many entries.

    Args:
        source: where ``load_samples`` found the samples.
    """
    arrays = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    count = min(map(len, samples.values()), default=0)
    return {n: a for n, a in arrays.items() if n not in samples and np.ndim(a) and len(a) == count}


def element_of(value: Value) -> DType:
    """The type of a sample's elements for a graph input: floats also where integers stand for them."""
    is_float = value.type.dtype.is_float or value.type.quantization is not None
    return DType.F32 if is_float else value.type.dtype


def synthetic_samples(graph: Graph, count: int, seed: int) -> Samples:
    """Made-up samples: standard normal noise, and zeros and ones for inputs that are no floats (an index must lie
    in the tensor that it indexes). They say nothing about the data that the network was trained for.

    Raises:
        CalibrationError: fewer than one sample asked for.
    """
    if count < 1:
        raise CalibrationError(f"{count} synthetic samples are not enough", help="ask for at least one")
    generator = np.random.default_rng(seed)
    found = {}
    for value in graph.inputs:
        shape = (count, *_sample_shape(value))
        if element_of(value).is_float:
            found[value.name] = generator.standard_normal(shape, dtype=np.float32)
        else:
            found[value.name] = generator.integers(0, 2, shape).astype(value.type.dtype.numpy)
    return found


def _where(source: str | Path | Mapping[str, Array]) -> str:
    return "the samples" if isinstance(source, Mapping) else f"the samples in {source}"


def _read(path: Path) -> Samples:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise CalibrationError(f"{path} is a single array, not an .npz", help=_HELP)
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CalibrationError(f"{path} does not exist", help=_HELP) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} is not a readable .npz: {error}", help=_HELP) from error


def _sample_shape(value: Value) -> tuple[int, ...]:
    shape = value.type.shape
    return shape[1:] if shape[:1] == (1,) else shape


def _expected(value: Value) -> str:
    return f"expected {element_of(value).numpy.name} [n{''.join(f', {d}' for d in _sample_shape(value))}]"


def _problems(array: Array, value: Value) -> Iterator[str]:
    shape = _sample_shape(value)
    wanted = element_of(value)
    if array.dtype.kind not in ("f" if wanted.is_float else "biu"):
        yield f"is {array.dtype}; {_expected(value)}"
    if array.ndim == 0 or array.shape[1:] not in (shape, value.type.shape):
        yield f"has the shape {list(array.shape)}; {_expected(value)}"
    elif len(array) == 0:
        yield "has no samples"
    elif array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32).reshape(len(array), -1)).all(axis=1)
        if not finite.all():
            bad = np.flatnonzero(~finite)
            yield f"holds NaN or infinite values in {bad.size} of {len(array)} samples (first: {bad[0]})"
    elif array.dtype.kind in "biu" and not np.array_equal(array, array.astype(wanted.numpy)):
        yield f"holds values that {wanted.numpy.name} does not; {_expected(value)}"


def _normal(array: Array, value: Value) -> Array:
    return np.ascontiguousarray(array, element_of(value).numpy).reshape(len(array), *_sample_shape(value))
