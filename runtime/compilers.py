"""The C compilers on this machine: finding them and calling them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dnncc.errors import ToolFailedError, ToolMissingError, UsageError
from dnncc.runtime.suggest import did_you_mean

HOST_COMPILERS = ("gcc", "clang", "zig")
FIRMWARE_COMPILERS = ("zig", "gcc-arm")
_EXECUTABLES = {"gcc": "gcc", "clang": "clang", "gcc-arm": "arm-none-eabi-gcc"}
_HOW_TO_GET = {
    "zig": "pip install dnncc[emulate]",
    "gcc": "install gcc with the system's package manager, or pip install dnncc[emulate] and use zig",
    "clang": "install clang with the system's package manager, or pip install dnncc[emulate] and use zig",
    "gcc-arm": "install gcc-arm-none-eabi (Debian: gcc-arm-none-eabi and libnewlib-arm-none-eabi)",
}
_COMPILE_SECONDS = 600


@dataclass(frozen=True)
class Compiler:
    """A C compiler driver that exists on this machine.

    Attributes:
        name: "zig", "gcc", "clang" or "gcc-arm".
        command: how to start it.
        version: what it says of itself; part of every build's key.
    """

    name: str
    command: tuple[str, ...]
    version: str

    def run(self, arguments: Sequence[str], cwd: Path) -> str:
        """Calls the compiler in `cwd` and returns what it printed.

        Raises:
            ToolFailedError: it exits with a failure, cannot be started, or takes longer than ten minutes.
        """
        return run_tool((*self.command, *arguments), cwd, self.name, _environment(self.name))


def cache_root() -> Path:
    """The per-user folder for builds: ``DNNCC_CACHE_DIR``, or the platform's usual place for caches."""
    explicit = os.environ.get("DNNCC_CACHE_DIR")
    if explicit:
        return Path(explicit).absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dnncc"


def find_compiler(name: str) -> Compiler:
    """The compiler of that name.

    Args:
        name: "zig" (the ziglang package from PyPI, or zig on PATH), "gcc", "clang", or "gcc-arm"
            (arm-none-eabi-gcc).

    Raises:
        ToolMissingError: it is not installed; the message says how to get it.
        UsageError: there is no compiler of that name.
    """
    if name == "zig":
        return _find_zig()
    if name not in _EXECUTABLES:
        known = (*HOST_COMPILERS, "gcc-arm")
        raise UsageError(
            f"unknown compiler {name!r}{did_you_mean(name, known)}", help=f"compilers: {', '.join(known)}"
        )
    executable = shutil.which(_EXECUTABLES[name])
    if executable is None:
        raise ToolMissingError(
            f"the C compiler {_EXECUTABLES[name]} is not installed", help=_HOW_TO_GET[name]
        )
    return Compiler(name, (executable,), _version_of(executable))


def first_host_compiler() -> Compiler:
    """The first of gcc, clang and zig that is installed.

    Raises:
        ToolMissingError: none is.
    """
    for name in HOST_COMPILERS:
        try:
            return find_compiler(name)
        except ToolMissingError:
            continue
    raise ToolMissingError("no C compiler is installed (gcc, clang or zig)", help=_HOW_TO_GET["zig"])


def run_tool(command: Sequence[str], cwd: Path, name: str, environment: dict[str, str] | None = None) -> str:
    """Runs a tool to its end and returns what it printed on both streams.

    Raises:
        ToolFailedError: it exits with a failure, cannot be started, or takes longer than ten minutes.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailedError(f"{name} did not finish within {_COMPILE_SECONDS} s") from error
    except OSError as error:
        raise ToolFailedError(f"{name} cannot be started: {error.strerror}") from error
    output = done.stdout.decode("utf-8", errors="replace")
    if done.returncode:
        raise ToolFailedError(
            f"{name} failed with exit status {done.returncode}:\n{output.rstrip()}",
            help=f"the command was: {' '.join(command)}",
        )
    return output


def _find_zig() -> Compiler:
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.origin is not None:
        executable = Path(spec.origin).parent / ("zig.exe" if sys.platform == "win32" else "zig")
        if executable.is_file():
            # The binary itself: going through `python -m ziglang` starts an interpreter per file.
            return Compiler("zig", (str(executable), "cc"), f"zig {importlib.metadata.version('ziglang')}")
    on_path = shutil.which("zig")
    if on_path is None:
        raise ToolMissingError("the C compiler zig is not installed", help=_HOW_TO_GET["zig"])
    return Compiler("zig", (on_path, "cc"), f"zig {_version_of(on_path, 'version')}")


@cache
def _version_of(executable: str, option: str = "--version") -> str:
    return run_tool((executable, option), Path.cwd(), executable).splitlines()[0]


def _environment(name: str) -> dict[str, str] | None:
    if name != "zig":
        return None
    cache = cache_root() / "zig"
    cache.mkdir(parents=True, exist_ok=True)
    return os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
