"""The second opinion: artifacts built by gcc and run on a board that QEMU emulates."""

from __future__ import annotations

import math
import shutil
import subprocess
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
    """One inference: outputs in the artifact's types, instructions to within about `resolution`."""

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
        self,
        artifact: Bundle | Path | str,
        model: str | None = None,
        opt: str = "-O2",
        timeout_s: float = 300,
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
        """Runs the artifact's own self-test: the number of wrong bytes, or -1 if the network reports an error."""
        lines = self._boot(self._image([], selftest=True))
        if len(lines) != 1 or not lines[0].startswith("selftest "):
            raise ToolFailedError(f"{_TOOL} printed {lines} instead of the self-test's result")
        wrong = int(lines[0].removeprefix("selftest "))
        return wrong - (wrong >> 31 << 32)  # printed without its sign

    def run(self, inputs: Sequence[Array]) -> QemuResult:
        """Runs one inference on one array per input, in the artifact's types and shapes."""
        return self.run_samples([inputs])[0]

    def run_samples(self, samples: Sequence[Sequence[Array]]) -> list[QemuResult]:
        """Runs several inferences in one boot of the board; their inputs lie in its flash.

        Raises:
            UsageError: inputs do not fit. MismatchError: a fault or an error code. ToolFailedError: it does
                not link (too large for the board), or QEMU fails.
        """
        checked = [self.bundle.check_inputs(inputs) for inputs in samples]
        lines = self._boot(self._image(checked, selftest=False))
        each = 1 + len(self.bundle.outputs)
        if len(lines) != each * len(checked):
            raise ToolFailedError(
                f"{_TOOL} printed {len(lines)} lines where {each * len(checked)} were expected"
            )
        return [self._result(lines[start : start + each]) for start in range(0, len(lines), each)]

    def _result(self, lines: Sequence[str]) -> QemuResult:
        code, ticks = (int(word) for word in lines[0].removeprefix("run ").split())
        if code:
            raise MismatchError(f"{self.bundle.name}_run returned the error code {code} on {self.model.name}")
        outputs = [
            np.frombuffer(bytes.fromhex(line), port.numpy_dtype).reshape(port.shape)
            for port, line in zip(self.bundle.outputs, lines[1:], strict=True)
        ]
        per_tick = 1e9 / self.model.systick_hz
        return QemuResult(outputs, round(ticks * per_tick), math.ceil(per_tick))

    def _boot(self, image: Path) -> list[str]:
        """Runs an image to its end and returns the lines that it printed."""
        command = (
            *(self._emulator, "-M", self.model.name, "-kernel", str(image)),
            *("-nographic", "-monitor", "none", "-serial", "none", "-display", "none"),
            *("-semihosting-config", "enable=on,target=native"),
            *("-icount", "shift=0,align=off,sleep=off"),
        )
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MismatchError(
                f"{self.bundle.name} did not finish within {self._timeout_s} s on {self.model.name}"
            ) from error
        text = (done.stdout + done.stderr).decode("utf-8", errors="replace")
        if done.returncode == _FAULT_STATUS:
            raise MismatchError(f"{self.bundle.name} faults on {self.model.name}")
        if done.returncode:
            raise ToolFailedError(f"{_TOOL} failed with exit status {done.returncode}:\n{text.rstrip()}")
        # Semihosting writes to either stream, by version.
        return [line for line in text.splitlines() if line]

    def _image(self, samples: Sequence[Sequence[Array]], selftest: bool) -> Path:
        """Links the network, compiled once, with one set of samples."""
        objects = self._objects(selftest)
        flags = (*firmware_flags(self._compiler, get_core(self.model.core)), "-O1")
        data = _data_source(self.bundle, samples)
        memory = {
            "FLASH_ORIGIN": self.model.flash[0],
            "FLASH_LENGTH": self.model.flash[1],
            "RAM_ORIGIN": self.model.ram[0],
            "RAM_LENGTH": self.model.ram[1],
        }
        defined = [f"-Wl,--defsym={name}=0x{value:x}" for name, value in memory.items()]
        link = ("-T", str(HARNESS / "qemu.ld"), *link_flags(self._compiler, entry="dnncc_reset"))

        def build(folder: Path) -> None:
            (folder / "data.c").write_text(data, encoding="utf-8")
            self._compiler.run((*flags, *WARNINGS, "-c", "data.c", "-o", "data.o"), folder)
            linked = (*(str(path) for path in sorted(objects.glob("*.o"))), "data.o")
            self._compiler.run((*flags, *defined, *linked, *link, "-o", "image.elf"), folder)

        key = (self._compiler.version, *flags, *defined, str(objects), data)
        return cached_build(key, (HARNESS / "qemu.ld",), build) / "image.elf"

    def _objects(self, selftest: bool) -> Path:
        """The folder of everything but the samples, compiled."""
        bundle = self.bundle
        flags = (*firmware_flags(self._compiler, get_core(self.model.core)), self._opt, *WARNINGS)
        own = [bundle.folder / name for name in (*bundle.sources, *((bundle.selftest,) if selftest else ()))]
        generated = {"harness_glue.c": glue.host_source(bundle)}
        if selftest:
            generated["harness_selftest.c"] = glue.selftest_source(bundle)
        harness = [HARNESS / "qemu_main.c", HARNESS / "string.c"]

        def build(folder: Path) -> None:
            for name, text in generated.items():
                (folder / name).write_text(text, encoding="utf-8")
            includes = ("-I", str(bundle.folder.absolute()))
            for source in (*own, *(Path(name) for name in generated), *harness):
                plain = ("-fno-builtin",) if source.parent == HARNESS else ()
                path = source if source.name in generated else source.absolute()
                arguments = (*flags, *plain, *includes, "-c", str(path), "-o", f"{source.stem}.o")
                self._compiler.run(arguments, folder)

        files = (*own, *sorted(bundle.folder.glob("*.h")), *harness)
        return cached_build((self._compiler.version, *flags, *generated.values()), files, build)


def _choose(bundle: Bundle, name: str | None) -> BoardModel:
    if name is not None:
        if name not in MODELS:
            raise UsageError(
                f"unknown QEMU machine {name!r}{did_you_mean(name, MODELS)}",
                help=f"machines: {', '.join(MODELS)}",
            )
        return MODELS[name]
    for model in MODELS.values():
        if model.core == bundle.core:
            return model
    cores = sorted({model.core for model in MODELS.values()})
    raise UsageError(
        f"no QEMU machine has the core {bundle.core!r}", help=f"cores: {', '.join(cores)}; or name a machine"
    )


def _data_source(bundle: Bundle, samples: Sequence[Sequence[Array]]) -> str:
    """C arrays: the samples' inputs in flash, arenas and outputs in RAM, and tables of pointers to them."""
    lines = ["#include <stdint.h>"]

    def table(kind: str, name: str, entries: Sequence[str]) -> None:
        lines.append(f"extern {kind} {name}[];\n{kind} {name}[] = {{{', '.join(entries) or '0'}}};")

    arrays = []
    for number, sample in enumerate(samples):
        for index, (port, array) in enumerate(zip(bundle.inputs, sample, strict=True)):
            arrays.append(f"input_{number}_{index}")
            content = ",".join(str(byte) for byte in array.tobytes())
            attribute = f"__attribute__((aligned({port.align})))"
            lines.append(f"static const uint8_t {arrays[-1]}[] {attribute} = {{{content}}};")
    table("const void *const", "dnncc_inputs", arrays)
    pools = [(pool.bytes, pool.align) for pool in bundle.pools]
    outputs = [(port.bytes, port.align) for port in bundle.outputs]
    for kind, sized in (("pool", pools), ("output", outputs)):
        for index, (size, align) in enumerate(sized):
            attribute = f"__attribute__((aligned({align})))"
            lines.append(f"static uint8_t {kind}_{index}[{max(size, 1)}] {attribute};")
        table("void *const", f"dnncc_{kind}s", [f"{kind}_{index}" for index in range(len(sized))])
    lines.append(f"extern const uint32_t dnncc_samples;\nconst uint32_t dnncc_samples = {len(samples)};")
    return "\n".join(lines) + "\n"
