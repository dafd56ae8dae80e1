"""Buffers that notice what is written beside them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from dnncc.errors import MismatchError
from dnncc.runtime.bundle import Array
from numpy.typing import NDArray

_GUARD = 64


class Buffer:
    """Memory between guards, at an address that is a multiple of `align` and of no higher power of two."""

    def __init__(self, name: str, size: int, align: int) -> None:
        self.name = name
        self._memory = np.zeros(2 * _GUARD + size + 3 * align, np.uint8)
        base: int = self._memory.ctypes.data
        start = _GUARD + (align - (base + _GUARD)) % (2 * align)
        self.address = base + start
        self.content = self._memory[start : start + size]
        self._before = self._memory[:start]
        self._after = self._memory[start + size :]

    def fill(self, garbage: np.random.Generator) -> None:
        """Garbage everywhere, and the guards' remembered."""
        self._memory[:] = np.frombuffer(garbage.bytes(self._memory.size), np.uint8)
        self._guards = (self._before.copy(), self._after.copy())

    def check_guards(self, who: str) -> None:
        """
        Raises:
            MismatchError: a guard was written to.
        """
        before = np.flatnonzero(self._before != self._guards[0])
        after = np.flatnonzero(self._after != self._guards[1])
        if before.size:
            distance = self._before.size - int(before[-1])
            raise MismatchError(f"{who} writes {distance} bytes before {self.name}")
        if after.size:
            raise MismatchError(f"{who} writes {int(after[0]) + 1} bytes past the end of {self.name}")


def content(array: Array) -> NDArray[np.uint8]:
    """An array's bytes."""
    return np.frombuffer(array.tobytes(), np.uint8)


def pointers(buffers: Sequence[Buffer]) -> Any:
    """The buffers' addresses as a C array of pointers."""
    return (ctypes.c_void_p * max(len(buffers), 1))(*(buffer.address for buffer in buffers))
