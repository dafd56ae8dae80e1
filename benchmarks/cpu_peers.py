"""ONNX Runtime as the CPU target's peer: float32 as it is, int8 by its own static quantization."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Array = NDArray[Any]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Mapping[str, Array]) -> None:
        count = len(next(iter(samples.values())))
        self._each: Iterator[dict[str, Array]] = iter(
            [{name: array[i : i + 1] for name, array in samples.items()} for i in range(count)]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._each, None)


def quantized(model: Path, samples: Mapping[str, Array], folder: Path) -> Path:
    """The model with QDQ pairs, weights i8 per channel and activations u8, made by ONNX Runtime in ``folder``."""
    target = folder / f"{model.stem}_qdq.onnx"
    if not target.is_file():
        logging.disable(logging.WARNING)
        folded = target.with_suffix(".folded.onnx")
        quant_pre_process(str(model), str(folded))
        quantize_static(
            str(folded),
            str(target),
            _Reader(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        folded.unlink()
    return target


class Session:
    """A model on ONNX Runtime's CPU provider, with all its optimizations."""

    def __init__(self, model: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        return list(self.session.run(None, dict(inputs)))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the inputs; what is not known is 1."""
        return {
            i.name: tuple(d if isinstance(d, int) else 1 for d in i.shape) for i in self.session.get_inputs()
        }


def samples_of(shapes: Mapping[str, tuple[int, ...]], count: int) -> dict[str, Array]:
    """Seeded normal samples, the batch axis first."""
    rng = np.random.default_rng(1)
    return {
        name: rng.standard_normal((count, *shape[1:])).astype(np.float32) for name, shape in shapes.items()
    }
