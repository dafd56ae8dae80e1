"""C simulation of an FPGA's artifact: the vendor's headers, a C++ compiler, and what comes out.

AMD publishes the headers ``ap_int.h`` and ``hls_stream.h`` under Apache-2.0; the hls4ml package carries them. Those of
an installed Vitis HLS are used through ``DNNCC_HLS_INCLUDE``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import ToolFailedError, ToolMissingError
from dnncc.runtime.compilers import Compiler, first_host_compiler
from dnncc.runtime.toolchain import HARNESS, cached_build
from numpy.typing import NDArray

Array = NDArray[Any]
RECORD, BOUNDED = "record", "bounded"
DEADLOCK_STATUS = 3
_HEADERS = ("ap_int.h", "hls_stream.h")
_SECONDS = 1200
_WARNING = re.compile(
    r"^(?:WARNING|LEFTOVER|TLAST|a result is missing|DEADLOCK|  \S.* waits for ).*$", re.MULTILINE
)


@dataclass(frozen=True)
class Run:
    """What one simulation did.

    Attributes:
        outputs: per output the elements of all frames, in stream order.
        records: per stream the elements that went through it; empty with bounded FIFOs.
        warnings: what was said of reads from empty streams, of words left over, of a deadlock.
        status: the exit status.
    """

    outputs: tuple[Array, ...]
    records: Mapping[str, Array] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    status: int = 0

    @property
    def deadlock(self) -> bool:
        return self.status == DEADLOCK_STATUS


def find_headers() -> Path:
    """The folder of AMD's headers.

    Raises:
        ToolMissingError: there is none; says what to install.
    """
    folders = []
    if explicit := os.environ.get("DNNCC_HLS_INCLUDE"):
        folders.append(Path(explicit))
    spec = importlib.util.find_spec("hls4ml")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folders.append(Path(place) / "templates" / "vivado" / "ap_types")
    for folder in folders:
        if all((folder / name).is_file() for name in _HEADERS):
            return folder
    raise ToolMissingError(
        f"AMD's headers {' and '.join(_HEADERS)} are not installed",
        help="pip install 'dnncc[hls]' brings them; or set DNNCC_HLS_INCLUDE to the include folder of Vitis HLS",
    )


def compile_simulation(folder: Path, name: str, mode: str) -> Path:
    """The testbench of an artifact as a program.

    Args:
        folder: the artifact.
        name: prefix of its files.
        mode: "record": with AMD's streams, which never end, and a record of each; "bounded": with FIFOs of the chosen
            depths.

    Raises:
        ToolMissingError, ToolFailedError: the headers or a compiler are missing; it rejects the code.
    """
    headers, driver = find_headers(), first_host_compiler()
    harness = HARNESS / "hls"
    sources = [folder / f"{name}.cpp", folder / f"{name}_testbench.cpp"]
    flags = (
        *_language(driver),
        "-std=c++14",
        "-O1",
        f'-DDNNCC_HLS_HARNESS="{mode}.h"',
        *("-isystem", str(headers), "-I", str(harness), "-I", str(folder)),
    )

    def build(place: Path) -> None:
        driver_cpp(driver).run([*flags, *map(str, sources), *_libraries(driver), "-o", "testbench"], place)

    files = [
        *sources,
        *(folder / f for f in (f"{name}.h", f"{name}_weights.h", "dnncc_hls.h")),
        *sorted(harness.iterdir()),
        *(headers / f for f in _HEADERS),
    ]
    return cached_build((driver.version, *flags), files, build) / "testbench"


def driver_cpp(driver: Compiler) -> Compiler:
    """The same compiler for C++."""
    if driver.name != "zig":
        return driver
    return Compiler(driver.name, (*driver.command[:-1], "c++"), driver.version)


def _language(driver: Compiler) -> tuple[str, ...]:
    # AMD's headers are system headers; the generated code itself is clean under these.
    return ("-Wall", "-Wno-unknown-pragmas", "-Wno-int-in-bool-context") if driver.name == "gcc" else ("-w",)


def _libraries(driver: Compiler) -> tuple[str, ...]:
    return () if driver.name == "zig" else ("-lstdc++", "-lm")


def simulate(
    program: Path, inputs: Sequence[Array], outputs: Sequence[np.dtype[Any]], streams: Sequence[str]
) -> Run:
    """Run frames through a program of ``compile_simulation``.

    Args:
        inputs: per input [frames, elements], in stream order.
        outputs: the element types.
        streams: which records to read.

    Raises:
        ToolFailedError: it crashes, or does not end.
    """
    with tempfile.TemporaryDirectory(prefix="dnncc-hls-") as place:
        vectors, results = Path(place) / "vectors", Path(place) / "results"
        for folder in (vectors, results):
            folder.mkdir()
        for index, array in enumerate(inputs):
            (vectors / f"in{index}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
        for index in range(len(outputs)):
            (vectors / f"out{index}.bin").write_bytes(b"")
        try:
            done = subprocess.run(
                [str(program), str(vectors), str(results)],
                cwd=place,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailedError(f"the C simulation did not end within {_SECONDS} s") from error
        if done.returncode not in (0, 1, DEADLOCK_STATUS):
            raise ToolFailedError(
                f"the C simulation failed with status {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
            )
        found = tuple(
            np.frombuffer((results / f"out{i}.bin").read_bytes(), dtype)
            if (results / f"out{i}.bin").is_file()
            else np.zeros(0, dtype)
            for i, dtype in enumerate(outputs)
        )
        records = {
            name: np.frombuffer(path.read_bytes(), np.int64)
            for name in streams
            if (path := Path(place) / f"{name}.bin").is_file()
        }
        said = tuple(_WARNING.findall(done.stdout + done.stderr))
    return Run(found, records, said, done.returncode)
