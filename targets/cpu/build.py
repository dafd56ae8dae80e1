"""From an artifact's sources to its shared library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dnncc.errors import ToolMissingError
from dnncc.runtime.compilers import Compiler, find_compiler
from dnncc.runtime.cpus import Cpu, runnable

_ORDER = ("zig", "clang", "gcc")
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-pthread")


def library_compiler(cpu: Cpu) -> Compiler:
    """The compiler that a library is built with: zig, which compiles for every level on every machine; else clang or
    gcc, which compile for this machine's architecture.

    Raises:
        ToolMissingError: there is none.
    """
    for name in _ORDER:
        if name != "zig" and cpu.machine not in {c.machine for c in runnable()}:
            continue
        try:
            return find_compiler(name)
        except ToolMissingError:
            continue
    raise ToolMissingError(
        f"no C compiler is installed that compiles for {cpu.name}",
        help="pip install dnncc[emulate] brings zig, which compiles for every target; "
        "on x86-64 clang or gcc will do for x86-64",
    )


def build_library(name: str, sources: Sequence[str], cpu: Cpu, folder: Path) -> str:
    """Compile the sources in ``folder`` into libNAME.so there; returns the file's name.

    Raises:
        ToolMissingError, ToolFailedError: there is no compiler; it rejects the code.
    """
    driver = library_compiler(cpu)
    library = f"lib{name}.so"
    quiet = ("-fno-sanitize=undefined", "-g0") if driver.name == "zig" else ()
    flags = (*cpu.flags_of(driver.name), *FLAGS, *quiet, "-fPIC", "-shared", "-fvisibility=hidden", "-s")
    driver.run((*flags, "-I", ".", *sources, "-o", library), folder)
    return library
