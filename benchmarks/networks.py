"""The networks that are measured: the digits example, and the MLPerf Tiny reference models where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Samples = Mapping[str, Array]

REPOSITORY = Path(__file__).resolve().parent.parent
NAMES = ("digits", "kws", "ic", "vww", "ad")

# How kws' int8 samples become the float input of the model.
_KWS_OFFSET = 83
_KWS_SCALE = np.float32(0.5847029089927673)
_KWS_CALIBRATION = 100


@dataclass(frozen=True)
class Labelled:
    """Float samples of one input, [n, ...], and the class of each, [n]; calibration has seen none of them."""

    inputs: Samples
    classes: Array


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        model: its ONNX file.
        calibration: float samples to learn the scales from; None where there are no real ones.
        labelled: what its accuracy is judged on; None where there is nothing.
    """

    name: str
    model: Path
    calibration: Samples | None
    labelled: Labelled | None

    @property
    def calibrated_on(self) -> str:
        if self.calibration is None:
            return "made up noise"
        return f"{len(next(iter(self.calibration.values())))} real samples"


def find_networks(names: Sequence[str]) -> tuple[list[Network], list[str]]:
    """The networks of these names, and a sentence on each that is missing.

    The MLPerf Tiny models are in ``mlperf-tiny`` of the folder that DNNCC_DATA names, else of ../shared/data
    beside the checkout.

    Raises:
        FileNotFoundError: DNNCC_DATA names no folder.
    """
    folder = data_folder()
    found, missing = [], []
    for name in names:
        path = (
            REPOSITORY / "examples" / "digits" / "digits.onnx"
            if name == "digits"
            else folder / f"{name}.onnx"
        )
        if path.is_file():
            found.append(_LOADERS.get(name, _uncalibrated)(name, path))
        else:
            missing.append(
                f"{name}: skipped, no {path.name} (set DNNCC_DATA to a folder with mlperf-tiny/{path.name})"
            )
    return found, missing


def data_folder() -> Path:
    """Where the MLPerf Tiny models are expected; FileNotFoundError if DNNCC_DATA names no folder."""
    named = os.environ.get("DNNCC_DATA")
    if named is not None and not Path(named).is_dir():
        raise FileNotFoundError(f"DNNCC_DATA={named} is not a folder")
    return (Path(named) if named is not None else REPOSITORY.parent / "shared" / "data") / "mlperf-tiny"


def _digits(name: str, path: Path) -> Network:
    test = _load(path.parent / "test.npz")
    labels = test.pop("label")
    return Network(name, path, _load(path.parent / "calibration.npz"), Labelled(test, labels))


def _kws(name: str, path: Path) -> Network:
    data = _load(path.parent / "kws01.npz")
    x = (data["x"].astype(np.float32) - _KWS_OFFSET) * _KWS_SCALE
    x = x.reshape(-1, 1, 49, 10)
    seen, rest = slice(None, _KWS_CALIBRATION), slice(_KWS_CALIBRATION, None)
    return Network(name, path, {"input_1": x[seen]}, Labelled({"input_1": x[rest]}, data["y"][rest]))


def _uncalibrated(name: str, path: Path) -> Network:
    return Network(name, path, None, None)


_LOADERS: dict[str, Callable[[str, Path], Network]] = {"digits": _digits, "kws": _kws}


def _load(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
