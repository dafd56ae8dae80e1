"""One way to run an artifact, whatever it runs on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dnncc.errors import UsageError
from dnncc.runtime.bundle import Array, Bundle
from dnncc.runtime.suggest import did_you_mean
from dnncc.runtime.toolchain import as_bundle

PLACES = ("host", "emulator", "qemu")


class Runner(Protocol):
    """Runs inferences, one sample at a time."""

    @property
    def bundle(self) -> Bundle:
        """The artifact."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs one inference: an array per input in, one per output out, all in the artifact's types."""


class _EmulatorRunner:
    def __init__(self, bundle: Bundle, core: str | None, compiler: str, opt: str) -> None:
        from dnncc.runtime.emulator import Emulator

        self.bundle = bundle
        self._emulator = Emulator(bundle, core, compiler, opt=opt)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return self._emulator.run(inputs).outputs


class _QemuRunner:
    def __init__(self, bundle: Bundle, opt: str) -> None:
        from dnncc.runtime.qemu import Qemu

        self.bundle = bundle
        self._qemu = Qemu(bundle, opt=opt)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return self._qemu.run(inputs).outputs


def open_runner(
    artifact: Bundle | Path | str,
    on: str = "host",
    core: str | None = None,
    compiler: str | None = None,
    opt: str = "-O2",
) -> Runner:
    """Builds an artifact and makes it ready to run.

    Args:
        artifact: the artifact or its folder.
        on: "host" (a shared library in this process), "emulator" (unicorn) or "qemu" (with
            gcc-arm-none-eabi).
        core: for the emulator, another core than the manifest's.
        compiler: "gcc", "clang", "zig" for the host; "zig", "gcc-arm" for the emulator; None for the usual
            one.
        opt: the C compiler's optimization option.

    Raises:
        UsageError: no such place, compiler or core. ToolMissingError, ToolFailedError: a tool is missing or
            fails.
    """
    bundle = as_bundle(artifact)
    if on == "host" and bundle.library is not None:
        from dnncc.runtime.library import LibraryModel

        return LibraryModel(bundle)
    if on == "host":
        from dnncc.runtime.host import HostModel

        return HostModel(bundle, compiler or "auto", opt)
    if on == "emulator":
        return _EmulatorRunner(bundle, core, compiler or "zig", opt)
    if on == "qemu":
        return _QemuRunner(bundle, opt)
    raise UsageError(f"cannot run on {on!r}{did_you_mean(on, PLACES)}", help=f"places: {', '.join(PLACES)}")
