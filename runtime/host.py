"""Runs artifacts on this machine: as a shared library in this process, or as a program under sanitizers."""

from __future__ import annotations

import ctypes
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import MismatchError, ToolFailedError, ToolMissingError
from dnncc.runtime.bundle import Array, Bundle
from dnncc.runtime.cpus import CPUS
from dnncc.runtime.memory import Buffer, content, pointers
from dnncc.runtime.toolchain import as_bundle, compile_emulated, compile_host, compile_host_program

_RUN_SECONDS = 300


class HostModel:
    """An artifact compiled for and loaded into this process.

    Before each run the arenas and outputs are filled with garbage that differs from run to run; after it the
    guards around every buffer, and the inputs, must be as they were.

    Args:
        artifact: the artifact or its folder.
        compiler: "gcc", "clang", "zig", or "auto": the first that is installed.
        opt: the optimization option.

    Raises:
        UsageError: not an artifact. ToolMissingError, ToolFailedError: no compiler; it rejects the code.
        MismatchError: the manifest and the header disagree on the arena.
    """

    def __init__(self, artifact: Bundle | Path | str, compiler: str = "auto", opt: str = "-O2") -> None:
        self.bundle = as_bundle(artifact)
        self._compiler = compiler
        self._opt = opt
        self._library: Any = ctypes.CDLL(str(compile_host(self.bundle, compiler, opt)))
        self._check_sizes()
        self._pools = [Buffer(f"arena {pool.name!r}", pool.bytes, pool.align) for pool in self.bundle.pools]
        self._inputs = [Buffer(f"input {port.name!r}", port.bytes, port.align) for port in self.bundle.inputs]
        self._outputs = [
            Buffer(f"output {port.name!r}", port.bytes, port.align) for port in self.bundle.outputs
        ]
        self._pool_pointers = pointers(self._pools)
        self._io_pointers = pointers([*self._inputs, *self._outputs])
        self._runs = 0

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs one inference.

        Args:
            inputs: one array per input, in the artifact's types and shapes.

        Returns:
            One array per output, in the artifact's types.

        Raises:
            UsageError: the inputs do not fit. MismatchError: memory outside the buffers or an input is
                written, or an error code comes back.
        """
        garbage = np.random.default_rng(self._runs)
        self._runs += 1
        for buffer in (*self._pools, *self._inputs, *self._outputs):
            buffer.fill(garbage)
        given = [content(array) for array in self.bundle.check_inputs(inputs)]
        for buffer, data in zip(self._inputs, given, strict=True):
            buffer.content[:] = data
        name = f"{self.bundle.name}_run"
        code = self._library.dnncc_glue_run(self._pool_pointers, self._io_pointers)
        for buffer in (*self._pools, *self._inputs, *self._outputs):
            buffer.check_guards(name)
        for buffer, data in zip(self._inputs, given, strict=True):
            if not np.array_equal(buffer.content, data):
                raise MismatchError(f"{name} writes to {buffer.name}")
        if code:
            raise MismatchError(f"{name} returned the error code {code}")
        return [
            buffer.content.copy().view(port.numpy_dtype).reshape(port.shape)
            for port, buffer in zip(self.bundle.outputs, self._outputs, strict=True)
        ]

    def milliseconds(self, inputs: Sequence[Array], repeats: int = 20) -> float:
        """The median time of one inference, after one to warm up."""
        self.run(inputs)
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            self._library.dnncc_glue_run(self._pool_pointers, self._io_pointers)
            times.append(time.perf_counter() - begin)
        return 1e3 * statistics.median(times)

    def selftest(self) -> int:
        """Runs the artifact's own self-test: the number of wrong bytes, or -1 if the network reports an error."""
        library: Any = ctypes.CDLL(str(compile_host(self.bundle, self._compiler, self._opt, selftest=True)))
        garbage = np.random.default_rng(self._runs)
        for buffer in self._pools:
            buffer.fill(garbage)
        wrong = int(library.dnncc_glue_selftest(self._pool_pointers))
        for buffer in self._pools:
            buffer.check_guards(f"{self.bundle.name}_selftest")
        return wrong

    def _check_sizes(self) -> None:
        count = 3 + len(self.bundle.pools)
        sizes = (ctypes.c_uint32 * count).in_dll(self._library, "dnncc_glue_sizes")
        for pool, size in zip(self.bundle.pools, sizes[3:], strict=True):
            if size != pool.bytes:
                raise MismatchError(
                    f"{pool.macro} is {size} in the header and {pool.bytes} in the manifest",
                    help="compile the model again: the artifact was changed by hand",
                )


def run_sanitized(
    artifact: Bundle | Path | str,
    samples: Sequence[Sequence[Array]],
    compiler: str = "auto",
    opt: str = "-O1",
) -> list[list[Array]]:
    """Runs inferences under AddressSanitizer and UndefinedBehaviorSanitizer, each in a process of its own.

    Args:
        samples: for each inference one array per input, in the artifact's types and shapes.
        compiler: "gcc", "clang", or "auto".

    Raises:
        MismatchError: a sanitizer has a finding, or an error code comes back; the report is in the message.
        ToolMissingError, ToolFailedError: no compiler; it rejects the code.
    """
    bundle = as_bundle(artifact)
    program = compile_host_program(bundle, compiler, opt, sanitize=True)
    return _run_program(bundle, (str(program),), samples, "under sanitizers")


def run_emulated(
    artifact: Bundle | Path | str, samples: Sequence[Sequence[Array]], threads: int = 1
) -> list[list[Array]]:
    """Runs inferences of an artifact for a processor in QEMU's emulation of it, each in a process of its own.

    Raises:
        MismatchError: an error code comes back, or the program crashes.
        ToolMissingError, ToolFailedError: QEMU or zig is missing; it rejects the code.
    """
    bundle = as_bundle(artifact)
    tool = f"qemu-{CPUS[bundle.core].machine}"
    path = shutil.which(tool)
    if path is None:
        raise ToolMissingError(f"{tool} is not installed", help="install qemu-user (Debian: qemu-user)")
    command = (path, "-cpu", "max", "-E", f"DNNCC_NUM_THREADS={threads}", str(compile_emulated(bundle)))
    return _run_program(bundle, command, samples, f"in {tool}")


def _run_program(
    bundle: Bundle, command: Sequence[str], samples: Sequence[Sequence[Array]], where: str
) -> list[list[Array]]:
    results = []
    for inputs in samples:
        data = b"".join(array.tobytes() for array in bundle.check_inputs(inputs))
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=_RUN_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise MismatchError(f"{bundle.name} did not finish within {_RUN_SECONDS} s") from error
        if done.returncode:
            report = done.stderr.decode("utf-8", errors="replace").rstrip()
            raise MismatchError(f"{bundle.name} {where}: exit status {done.returncode}\n{report}")
        results.append(_split(bundle, done.stdout))
    return results


def _split(bundle: Bundle, data: bytes) -> list[Array]:
    if len(data) != sum(port.bytes for port in bundle.outputs):
        raise ToolFailedError(f"{bundle.name} printed {len(data)} bytes")
    outputs = []
    for port in bundle.outputs:
        outputs.append(np.frombuffer(data[: port.bytes], port.numpy_dtype).reshape(port.shape))
        data = data[port.bytes :]
    return outputs
