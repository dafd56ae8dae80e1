"""Constant tensors of an ONNX model as numpy arrays, wherever the file keeps their data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import Culprit, ExternalDataError, InvalidGraphError, ModelError, UnsupportedError
from dnncc.frontends.onnx_registry import BFLOAT16, ELEMENT_TYPES, FLOAT16
from dnncc.ir.types import Array

_FLOAT, _BOOL, _INT64, _DOUBLE, _UINT64 = 1, 9, 7, 11, 13
_EXTERNAL = 1
# How the elements are stored; 16-bit floats as their bits, truth values as bytes.
_STORED: dict[int, np.dtype[Any]] = {
    _FLOAT: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    _INT64: np.dtype("<i8"),
    _BOOL: np.dtype("u1"),
    FLOAT16: np.dtype("<u2"),
    _DOUBLE: np.dtype("<f8"),
    12: np.dtype("<u4"),
    _UINT64: np.dtype("<u8"),
    BFLOAT16: np.dtype("<u2"),
}
_FIELDS = {
    _FLOAT: "float_data",
    _DOUBLE: "double_data",
    _INT64: "int64_data",
    12: "uint64_data",
    _UINT64: "uint64_data",
}


def array_of(tensor: Any, folder: Path | None) -> Array:
    """The data of a ``TensorProto`` in the IR's type for it (every floating type becomes f32).

    Args:
        tensor: the ``TensorProto``.
        folder: where the model lies; None for a model that did not come from a file.

    Raises:
        ModelError: another element type; data that does not fit the dimensions; a double that f32 cannot
            hold; external data that is missing, too short or outside the folder.
    """
    if tensor.data_type not in _STORED:
        raise _error(UnsupportedError, tensor, f"ONNX element type {tensor.data_type} is not supported")
    if tensor.HasField("segment"):
        raise _error(UnsupportedError, tensor, "data in segments is not supported")
    shape = tuple(tensor.dims)
    if any(d < 0 for d in shape):
        raise _error(InvalidGraphError, tensor, f"dimensions {shape}")
    stored = _STORED[tensor.data_type]
    size = math.prod(shape)
    if tensor.data_location == _EXTERNAL:
        flat = np.frombuffer(_external_bytes(tensor, size * stored.itemsize, folder), stored)
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != size * stored.itemsize:
            found = f"{len(tensor.raw_data)} bytes of data for {size * stored.itemsize}"
            raise _error(InvalidGraphError, tensor, f"{found} of shape {shape}")
        flat = np.frombuffer(tensor.raw_data, stored)
    else:
        field = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
        if len(field) != size:
            raise _error(InvalidGraphError, tensor, f"{len(field)} elements of data for shape {shape}")
        wide = stored if tensor.data_type in _FIELDS else np.dtype(np.int32)
        flat = np.array(field, wide).astype(stored)
    return _converted(tensor, flat).reshape(shape)


def _converted(tensor: Any, flat: Array) -> Array:
    if tensor.data_type == FLOAT16:
        return flat.view(np.float16).astype(np.float32)
    if tensor.data_type == BFLOAT16:
        return (flat.astype(np.uint32) << 16).view(np.float32)
    if tensor.data_type == _DOUBLE:
        with np.errstate(over="ignore"):
            rounded = flat.astype(np.float32)
        if np.isinf(rounded).sum() != np.isinf(flat).sum():
            raise _error(UnsupportedError, tensor, "a double is too large for float32")
        return rounded
    return flat.astype(ELEMENT_TYPES[tensor.data_type].numpy, copy=False)


def _external_bytes(tensor: Any, size: int, folder: Path | None) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise _error(ExternalDataError, tensor, f"refers to '{location}', but the model has no folder")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size)))
    except ValueError:
        raise _error(ExternalDataError, tensor, f"offset or length of {entries} is no number") from None
    if offset < 0 or length != size:
        raise _error(ExternalDataError, tensor, f"{length} bytes from {offset}, but the tensor needs {size}")
    if not location or "\0" in location:
        raise _error(ExternalDataError, tensor, f"file name {location!r}")
    try:
        # Links are followed before the comparison, so that they cannot lead outside either.
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise _error(ExternalDataError, tensor, f"'{location}' is outside the model's folder")
        with path.open("rb") as file:
            available = path.stat().st_size
            if offset + size > available:
                needs = f"has {available} bytes, the tensor needs {size} from {offset}"
                raise _error(ExternalDataError, tensor, f"'{location}' {needs}")
            file.seek(offset)
            return bytes(file.read(size))
    except (OSError, RuntimeError) as error:  # RuntimeError: links that form a circle
        raise _error(ExternalDataError, tensor, f"'{location}' cannot be read: {error}") from error


def _error(kind: type[ModelError], tensor: Any, reason: str) -> ModelError:
    return kind(f"constant '{tensor.name}': {reason}", [Culprit(tensor.name or "a constant", "", reason)])
