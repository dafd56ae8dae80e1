"""Runs artifacts that are shared libraries: numpy and ctypes only, neither the compiler nor TVM."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import MismatchError, ToolFailedError, UsageError
from dnncc.runtime.bundle import Array, Bundle
from dnncc.runtime.cpus import check_runnable
from dnncc.runtime.memory import Buffer, content, pointers
from numpy.typing import NDArray

_ALIGN = 64


class LibraryModel:
    """A shared library loaded into this process.

    ``run`` is the checked call: before each run the arenas and outputs are filled with garbage that differs from run to
    run; after it the guards around every buffer, and the inputs, must be as they were. ``__call__`` is the fast one.

    Args:
        artifact: the artifact or its folder.
        threads: of every kernel that is worth it; None: the environment variable DNNCC_NUM_THREADS, or 1.

    Raises:
        UsageError: not an artifact with a library.
        ToolMissingError: this machine cannot run it. ToolFailedError: it cannot be loaded.
    """

    def __init__(self, artifact: Bundle | Path | str, threads: int | None = None) -> None:
        self.bundle = artifact if isinstance(artifact, Bundle) else Bundle.open(artifact)
        if self.bundle.library is None:
            raise UsageError(
                f"{self.bundle.folder} holds no shared library",
                help="compile for a processor, such as --target cpu",
            )
        check_runnable(self.bundle.core)
        name = self.bundle.name
        try:
            library: Any = ctypes.CDLL(str((self.bundle.folder / self.bundle.library).absolute()))
        except OSError as error:
            raise ToolFailedError(f"{self.bundle.library} cannot be loaded: {error}") from error
        self._run, self._profile = library[f"{name}_run"], library[f"{name}_profile"]
        if threads is not None:
            library[f"{name}_set_threads"](threads)
        self._pools = [Buffer(f"arena {pool.name!r}", pool.bytes, pool.align) for pool in self.bundle.pools]
        self._inputs = [Buffer(f"input {port.name!r}", port.bytes, _ALIGN) for port in self.bundle.inputs]
        self._outputs = [Buffer(f"output {port.name!r}", port.bytes, _ALIGN) for port in self.bundle.outputs]
        self._net = pointers(self._pools)  # the struct has one pointer per arena
        self._arguments = [
            ctypes.byref(self._net),
            *(ctypes.c_void_p(b.address) for b in (*self._inputs, *self._outputs)),
        ]
        self._runs = 0

    def __call__(self, *inputs: Array) -> list[Array]:
        """Runs one inference without checks around it.

        Args:
            inputs: one array per input, in the artifact's types and shapes.

        Raises:
            UsageError: the inputs do not fit. MismatchError: the network returns an error code.
        """
        self._fill(inputs)
        self._check(self._run(*self._arguments))
        return self._results()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs one inference and checks that it touches only what it may.

        Raises:
            UsageError: the inputs do not fit. MismatchError: memory outside the buffers or an input is written, or an
                error code comes back.
        """
        garbage = np.random.default_rng(self._runs)
        self._runs += 1
        buffers = (*self._pools, *self._inputs, *self._outputs)
        for buffer in buffers:
            buffer.fill(garbage)
        self._fill(inputs)
        code = self._run(*self._arguments)
        name = f"{self.bundle.name}_run"
        for buffer in buffers:
            buffer.check_guards(name)
        for buffer, array in zip(self._inputs, inputs, strict=True):
            if not np.array_equal(buffer.content, content(np.ascontiguousarray(array))):
                raise MismatchError(f"{name} writes to {buffer.name}")
        self._check(code)
        return self._results()

    def milliseconds(self, inputs: Sequence[Array], repeats: int = 20) -> float:
        """The median time of one inference, after one to warm up."""
        self(*inputs)
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            self._run(*self._arguments)
            times.append(time.perf_counter() - begin)
        return 1e3 * statistics.median(times)

    def nanoseconds(self, inputs: Sequence[Array], repeats: int = 20) -> list[int]:
        """Per node the median time, after one inference to warm up."""
        return [int(t) for t in np.median(self._profiles(inputs, repeats), axis=0)]

    def least_nanoseconds(self, inputs: Sequence[Array], repeats: int = 20) -> list[int]:
        """Per node the least time, after one inference to warm up: what it takes when nothing disturbs it."""
        return [int(t) for t in self._profiles(inputs, repeats).min(axis=0)]

    def _profiles(self, inputs: Sequence[Array], repeats: int) -> NDArray[np.uint64]:
        self(*inputs)
        found = np.zeros((repeats, len(self.bundle.nodes)), np.uint64)
        for row in found:
            self._check(self._profile(*self._arguments, ctypes.c_void_p(row.ctypes.data)))
        return found

    def _fill(self, inputs: Sequence[Array]) -> None:
        for buffer, array in zip(self._inputs, self.bundle.check_inputs(inputs), strict=True):
            buffer.content[:] = content(array)

    def _results(self) -> list[Array]:
        return [
            np.frombuffer(buffer.content.tobytes(), port.numpy_dtype).reshape(port.shape)
            for port, buffer in zip(self.bundle.outputs, self._outputs, strict=True)
        ]

    def _check(self, code: int) -> None:
        if code:
            raise MismatchError(f"{self.bundle.name}_run returns error {code}")


def load_artifact(folder: Path | str, threads: int | None = None) -> LibraryModel:
    """The network in an artifact's shared library, ready to be called with arrays; see ``LibraryModel``."""
    return LibraryModel(folder, threads)
