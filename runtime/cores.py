"""The processor cores that dnncc generates code for, and how each compiler is told to target them.

Sources: the Arm architecture reference manuals (Armv6-M, Armv7-M, Armv8-M) and the compilers' own
documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dnncc.errors import UsageError
from dnncc.runtime.suggest import did_you_mean

HOST = "host"


@dataclass(frozen=True)
class Costs:
    """Cycles of the instructions that kernels are made of, with memory that answers at once.

    The tables behind them, and what is only estimated, are in timing.py; None where a core has no such
    instruction.

    Attributes:
        alu: addition, shift, comparison.
        load, store: one word, not overlapped with its neighbours.
        multiply: 32 x 32 to 32 bits; multiply_long: to 64 bits; dual_multiply: two 16 x 16 products added
            (SMLAD).
        branch: taken.
    """

    alu: float
    load: float
    store: float
    multiply: float
    multiply_long: float | None
    dual_multiply: float | None
    branch: float


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
        costs: for planners that compare kernels before there is code to measure.
    """

    name: str
    architecture: str
    dsp: bool
    fpu: bool
    unaligned: bool
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    emulator_model: str
    costs: Costs

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
        costs=Costs(alu=1, load=2, store=2, multiply=1, multiply_long=None, dual_multiply=None, branch=2),
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
        costs=Costs(alu=1, load=2, store=1, multiply=1, multiply_long=4, dual_multiply=None, branch=2),
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
        costs=Costs(alu=1, load=2, store=1, multiply=1, multiply_long=1, dual_multiply=1, branch=2),
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
        costs=Costs(alu=0.5, load=1, store=1, multiply=1, multiply_long=1, dual_multiply=1, branch=1),
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
        costs=Costs(alu=1, load=2, store=1, multiply=1, multiply_long=1, dual_multiply=1, branch=2),
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
        raise UsageError(
            f"unknown core {name!r}{did_you_mean(name, CORES)}", help=f"cores: {', '.join(CORES)}"
        )
    return CORES[name]
