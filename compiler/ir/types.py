"""Element types, quantization parameters and tensor types."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class DType(Enum):
    """An element type; the value is its name in the text form."""

    F32 = "f32"
    F64 = "f64"
    I8 = "i8"
    U8 = "u8"
    I16 = "i16"
    U16 = "u16"
    I32 = "i32"
    U32 = "u32"
    I64 = "i64"
    U64 = "u64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type of one element."""
        return _NUMPY[self]

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory."""
        return int(self.numpy.itemsize)

    @property
    def is_float(self) -> bool:
        return self in (DType.F32, DType.F64)

    @property
    def is_integer(self) -> bool:
        return not self.is_float and self is not DType.BOOL

    @property
    def is_signed(self) -> bool:
        """Whether it is an integer type with negative numbers."""
        return self.is_integer and self.value.startswith("i")

    @property
    def min(self) -> int:
        """Smallest value of an integer type; a boolean is 0 or 1."""
        return 0 if self is DType.BOOL else int(np.iinfo(self.numpy).min)

    @property
    def max(self) -> int:
        """Largest value of an integer type; a boolean is 0 or 1."""
        return 1 if self is DType.BOOL else int(np.iinfo(self.numpy).max)

    @staticmethod
    def of(array: Array) -> DType:
        """The element type of a numpy array; KeyError for one that the IR does not have."""
        return _FROM_NUMPY[array.dtype]


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.I16: np.dtype(np.int16),
    DType.U16: np.dtype(np.uint16),
    DType.I32: np.dtype(np.int32),
    DType.U32: np.dtype(np.uint32),
    DType.I64: np.dtype(np.int64),
    DType.U64: np.dtype(np.uint64),
    DType.BOOL: np.dtype(np.bool_),
}
_FROM_NUMPY = {dtype: key for key, dtype in _NUMPY.items()}


@dataclass(frozen=True)
class Quantization:
    """How integers stand for reals: ``real = scale * (integer - zero_point)``.

    Attributes:
        scale: one positive scale, or one per index of ``axis``.
        axis: the channel axis when there are several scales.
        zero_point: 0 in every graph that dnncc quantizes itself.
    """

    scale: tuple[float, ...]
    axis: int | None = None
    zero_point: int = 0

    @staticmethod
    def per_tensor(scale: float, zero_point: int = 0) -> Quantization:
        return Quantization((float(scale),), None, zero_point)


@dataclass(frozen=True)
class TensorType:
    """Element type, static shape and, for integers that stand for reals, the quantization."""

    dtype: DType
    shape: tuple[int, ...]
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the tensor in memory."""
        return self.size * self.dtype.bytes

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def scale(self) -> float:
        """The per-tensor scale; ValueError if there is none or one per channel."""
        if self.quantization is None or len(self.quantization.scale) != 1:
            raise ValueError(f"{self} has no per-tensor scale")
        return self.quantization.scale[0]

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return replace(self, shape=tuple(int(d) for d in shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return replace(self, dtype=dtype)

    def plain(self) -> TensorType:
        """The same type without its quantization."""
        return replace(self, quantization=None)

    def __str__(self) -> str:
        text = f"{self.dtype.value}[{','.join(map(str, self.shape))}]"
        q = self.quantization
        if q is not None:
            values = [repr(float(s)) for s in q.scale]
            text += f" scale={values[0]}" if q.axis is None else f" scale=({', '.join(values)})@{q.axis}"
            if q.zero_point:
                text += f" zero={q.zero_point}"
        return text
