"""The levels of general-purpose processors that dnncc generates code for, and how compilers are told.

Sources: the x86-64 psABI (micro-architecture levels), the Arm architecture reference manual (A64, FEAT_DotProd).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from dnncc.errors import ToolMissingError, UsageError

NATIVE = "cpu"
"""The target that stands for the best level of the machine that compiles."""


@dataclass(frozen=True)
class Cpu:
    """One level: what a processor of it can do.

    Attributes:
        name: such as "x86-64-v3".
        machine: as in ``platform.machine()``.
        zig_cpu: the value of zig's ``-mcpu``.
        gcc_flags: the options of gcc and clang.
        lanes: 32-bit elements of a vector.
        registers: vector registers.
        dot: how bytes are multiplied: "u8x4" (VPDPBUSD: four u8 by four i8 into one sum), "i8x4" (SDOT: likewise, both
            signed), "i16x2" (PMADDWD: two i16 by two i16).
        flags: of /proc/cpuinfo that this level needs beyond those of the level before it.
    """

    name: str
    machine: str
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    lanes: int
    registers: int
    dot: str
    flags: frozenset[str]

    @property
    def zig_flags(self) -> tuple[str, ...]:
        """The options that make ``zig cc`` compile shared libraries for it that old C libraries can load."""
        return ("-target", f"{self.machine}-linux-gnu.2.17", f"-mcpu={self.zig_cpu}", *self._width)

    def flags_of(self, compiler: str) -> tuple[str, ...]:
        """The options of a compiler by its name: "zig", "clang" or "gcc"."""
        return self.zig_flags if compiler == "zig" else (*self.gcc_flags, *self._width)

    @property
    def _width(self) -> tuple[str, ...]:
        # Compilers prefer half vectors, for processors of 2017 that clock down.
        return ("-mprefer-vector-width=512",) if self.lanes == 16 else ()


_X86 = "x86_64"
_LEVELS = (
    Cpu(
        "x86-64-v2",
        _X86,
        "x86_64_v2",
        ("-march=x86-64-v2",),
        4,
        16,
        "i16x2",
        frozenset({"ssse3", "sse4_1", "sse4_2"}),
    ),
    Cpu(
        "x86-64-v3",
        _X86,
        "x86_64_v3",
        ("-march=x86-64-v3",),
        8,
        16,
        "i16x2",
        frozenset({"avx2", "fma", "bmi2", "f16c"}),
    ),
    Cpu(
        "x86-64-v4",
        _X86,
        "x86_64_v4",
        ("-march=x86-64-v4",),
        16,
        32,
        "i16x2",
        frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ),
    Cpu(
        "x86-64-v4-vnni",
        _X86,
        "x86_64_v4+avx512vnni",
        ("-march=x86-64-v4", "-mavx512vnni"),
        16,
        32,
        "u8x4",
        frozenset({"avx512_vnni"}),
    ),
    Cpu(
        "aarch64",
        "aarch64",
        "generic+v8_2a+dotprod",
        ("-march=armv8.2-a+dotprod",),
        4,
        32,
        "i8x4",
        frozenset({"asimddp"}),
    ),
)
CPUS: Mapping[str, Cpu] = MappingProxyType({cpu.name: cpu for cpu in _LEVELS})


@cache
def runnable() -> tuple[Cpu, ...]:
    """The levels that this machine runs, the best one last."""
    flags, found = _host_flags(), []
    for cpu in _LEVELS:
        if cpu.machine == platform.machine() and cpu.flags <= flags:
            found.append(cpu)
        elif cpu.machine == platform.machine():
            break  # each level contains the one before it
    return tuple(found)


def host_cpu() -> Cpu:
    """The best level of this machine.

    Raises:
        UsageError: there is none.
    """
    if not runnable():
        raise UsageError(
            f"this machine ({platform.machine()}) is below every level that dnncc knows",
            help=f"name one: {', '.join(CPUS)}; or --target host-c, portable C",
        )
    return runnable()[-1]


def check_runnable(name: str) -> None:
    """ToolMissingError where code for that level cannot run on this machine."""
    if name not in {cpu.name for cpu in runnable()}:
        able = ", ".join(cpu.name for cpu in runnable()) or "none"
        raise ToolMissingError(
            f"this machine cannot run code for {name}",
            help=f"levels that it runs: {able}; --on interpreter needs no machine, --on qemu emulates aarch64",
        )


def _host_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()
    )
