"""The processor cores that dnncc generates code for: what they can do and how each compiler is told to target them.

Sources: the Arm architecture reference manuals (Armv6-M, Armv7-M, Armv8-M) and the compilers' own documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dnncc.errors import UsageError
from dnncc.runtime.suggest import did_you_mean

HOST = "host"


@dataclass(frozen=True)
class Core:
    """One Cortex-M core.

    Attributes:
        name: such as "cortex-m4".
        architecture: the architecture's name, such as "Armv7E-M".
        dsp: whether it has the SIMD multiply instructions (SMLAD and relatives).
        fpu: whether firmware for this core is built for its single-precision FPU.
        unaligned: whether single loads and stores may be unaligned (multiple and double ones never may).
        zig_cpu: the value of zig's ``-mcpu``, with the features that zig leaves out.
        gcc_flags: the options of arm-none-eabi-gcc.
        emulator_model: the name of unicorn's model constant.
    """

    name: str
    architecture: str
    dsp: bool
    fpu: bool
    unaligned: bool
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    emulator_model: str

    @property
    def zig_flags(self) -> tuple[str, ...]:
        """The options that make ``zig cc`` compile for this core."""
        abi = "eabihf" if self.fpu else "eabi"
        return ("-target", f"thumb-freestanding-{abi}", f"-mcpu={self.zig_cpu}", "-mthumb")


def _gcc(cpu: str, fpu: str | None = None) -> tuple[str, ...]:
    float_flags = ("-mfloat-abi=soft",) if fpu is None else ("-mfloat-abi=hard", f"-mfpu={fpu}")
    return (f"-mcpu={cpu}", "-mthumb", *float_flags)


_CORES = (
    Core(
        name="cortex-m0plus",
        architecture="Armv6-M",
        dsp=False,
        fpu=False,
        unaligned=False,
        zig_cpu="cortex_m0plus",
        gcc_flags=_gcc("cortex-m0plus"),
        emulator_model="UC_CPU_ARM_CORTEX_M0",  # the same instruction set
    ),
    Core(
        name="cortex-m3",
        architecture="Armv7-M",
        dsp=False,
        fpu=False,
        unaligned=True,
        zig_cpu="cortex_m3",
        gcc_flags=_gcc("cortex-m3"),
        emulator_model="UC_CPU_ARM_CORTEX_M3",
    ),
    Core(
        name="cortex-m4",
        architecture="Armv7E-M",
        dsp=True,
        fpu=True,
        unaligned=True,
        zig_cpu="cortex_m4+vfp4d16sp",
        gcc_flags=_gcc("cortex-m4", "fpv4-sp-d16"),
        emulator_model="UC_CPU_ARM_CORTEX_M4",
    ),
    Core(
        name="cortex-m7",
        architecture="Armv7E-M",
        dsp=True,
        fpu=True,
        unaligned=True,
        zig_cpu="cortex_m7+fp_armv8d16sp",
        gcc_flags=_gcc("cortex-m7", "fpv5-sp-d16"),
        emulator_model="UC_CPU_ARM_CORTEX_M7",
    ),
    Core(
        name="cortex-m33",
        architecture="Armv8-M Mainline",
        dsp=True,
        fpu=True,
        unaligned=True,
        zig_cpu="cortex_m33+dsp+fp_armv8d16sp",
        gcc_flags=_gcc("cortex-m33", "fpv5-sp-d16"),
        emulator_model="UC_CPU_ARM_CORTEX_M33",
    ),
)

CORES: Mapping[str, Core] = MappingProxyType({core.name: core for core in _CORES})


def get_core(name: str) -> Core:
    """The Cortex-M core of that name.

    Raises:
        UsageError: there is none, or it is the host.
    """
    if name == HOST:
        raise UsageError(
            "this artifact is for the host and names no Cortex-M core",
            help=f"give one of the cores: {', '.join(CORES)}",
        )
    if name not in CORES:
        raise UsageError(f"unknown core {name!r}{did_you_mean(name, CORES)}", help=f"cores: {', '.join(CORES)}")
    return CORES[name]
