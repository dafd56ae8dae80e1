"""The second opinion: artifacts built by gcc and run on a board that QEMU emulates."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dnncc.errors import MismatchError, ToolFailedError, ToolMissingError, UsageError
from dnncc.runtime import glue
from dnncc.runtime.bundle import Array, Bundle
from dnncc.runtime.compilers import find_compiler
from dnncc.runtime.cores import get_core
from dnncc.runtime.suggest import did_you_mean
from dnncc.runtime.toolchain import (
    HARNESS,
    WARNINGS,
    as_bundle,
    cached_build,
    firmware_flags,
    link_flags,
)

_TOOL = "qemu-system-arm"
_MAX_PORTS = 64  # of harness/qemu_main.c
_FAULT_STATUS = 99


@dataclass(frozen=True)
class BoardModel:
    """A board that QEMU emulates.

    Attributes:
        flash, ram: address and bytes.
        systick_hz: how fast its SysTick counts. QEMU is told that an instruction takes a nanosecond.
    """

    name: str
    core: str
    flash: tuple[int, int]
    ram: tuple[int, int]
    systick_hz: int


_MEGABYTE = 1 << 20
_MPS2 = ((0, 4 * _MEGABYTE), (0x20000000, 4 * _MEGABYTE), 25_000_000)
MODELS: Mapping[str, BoardModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            BoardModel("mps2-an386", "cortex-m4", *_MPS2),
            BoardModel("mps2-an385", "cortex-m3", *_MPS2),
            BoardModel("mps2-an500", "cortex-m7", *_MPS2),
            BoardModel(
                "netduinoplus2", "cortex-m4", (0x08000000, _MEGABYTE), (0x20000000, 128 * 1024), 168_000_000
            ),
        )
    }
)


@dataclass(frozen=True, eq=False)
class QemuResult:
    """One inference: outputs in the artifact's types; instructions to within `resolution` and the call's own few."""

    outputs: list[Array]
    instructions: int
    resolution: int


class Qemu:
    """An artifact on a board that QEMU emulates, built by arm-none-eabi-gcc.

    Args:
        artifact: the artifact or its folder.
        model: the QEMU machine (see MODELS), or None for the first one with the artifact's core.
        opt: the compiler's optimization option.

    Raises:
        UsageError: no such machine. ToolMissingError: gcc or QEMU is missing.
    """

    def __init__(
        self, artifact: Bundle | Path | str, model: str | None = None, opt: str = "-O2", timeout_s: float = 300
    ) -> None:
        self.bundle = as_bundle(artifact)
        self.model = _choose(self.bundle, model)
        self._opt = opt
        self._timeout_s = timeout_s
        self._compiler = find_compiler("gcc-arm")
        emulator = shutil.which(_TOOL)
        if emulator is None:
            raise ToolMissingError(
                f"{_TOOL} is not installed", help="install QEMU for Arm (Debian: qemu-system-arm)"
            )
        self._emulator = emulator
        if len(self.bundle.inputs) + len(self.bundle.outputs) > _MAX_PORTS:
            raise UsageError(f"{self.bundle.name} has more than {_MAX_PORTS} inputs and outputs")

    def selftest(self) -> int:
        """Runs the artifact's own self-test: the number of bytes that are wrong."""
        lines = self._execute([], selftest=True)
        return int(lines[0].removeprefix("selftest "))

    def run(self, inputs: Sequence[Array]) -> QemuResult:
        """Runs one inference on one array per input, in the artifact's types and shapes."""
        return self.run_samples([inputs])[0]

    def run_samples(self, samples: Sequence[Sequence[Array]]) -> list[QemuResult]:
        """Runs several inferences in one boot of the board; their inputs lie in its flash.

        Raises:
            UsageError: inputs do not fit. MismatchError: a fault or an error code. ToolFailedError: it does not link
                (too large for the board), or QEMU fails.
        """
        checked = [self.bundle.check_inputs(inputs) for inputs in samples]
        lines = iter(self._execute(checked, selftest=False))
        return [self._result(lines.__next__) for _ in samples]

    def _result(self, next_line: object) -> QemuResult:
        raise NotImplementedError

    def _execute(self, samples: Sequence[Sequence[Array]], selftest: bool) -> list[str]:
        return _boot(self._emulator, self.model, self._image(samples, selftest), self._timeout_s)
