"""An emulated Cortex-M (unicorn) that runs one function of an image and watches all that it does."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from dnncc.errors import ToolFailedError, ToolMissingError
from dnncc.runtime.cores import Core
from dnncc.runtime.firmware import THUMB_BIT, Firmware, Region
from dnncc.runtime.observer import Observer

_PAGE = 4096
# Where the network returns to: a page of undefined instructions that nothing else is near.
_RETURN = Region("return", 0x07000000, 0x07000000 + _PAGE)
_EVERYWHERE = (1, 0)  # unicorn's notation for no limits
_UDF = b"\x00\xde"
_ARGUMENT_REGISTERS = 4
_CALLEE_SAVED = ("R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11")
_WIDEST_ACCESS = 8
_CALLEE_SAVED_FLOAT = tuple(f"D{number}" for number in range(8, 16))


class Machine:
    """One core with an image in its memory.

    Args:
        regions: read-write memory besides the image's statics; constants: read-only memory besides the
            image's.
        stack: the stack, its end included in what may be read (arguments lie there).
        states: the number of profiling states.
        watch_everything: whether the observer sees every data access. That finds unaligned ones but is
            several times slower, since the emulator then works out the program counter for each. Otherwise it
            sees those at the borders of regions, where the page is mapped and the region is not: enough to
            find every access outside.

    Attributes:
        code: the bytes of all code.
        observer: counts and findings of the last call.
        entry_sp: the stack pointer that the last call began with.

    Raises:
        ToolMissingError: unicorn is not installed.
    """

    def __init__(
        self,
        firmware: Firmware,
        core: Core,
        regions: Sequence[Region],
        constants: Sequence[Region],
        stack: Region,
        states: int,
        watch_everything: bool,
    ) -> None:
        try:
            import unicorn
            from unicorn import arm_const
            from unicorn.unicorn_py3.unicorn import uclib
        except ImportError as error:
            raise ToolMissingError(
                "the emulator unicorn is not installed", help="pip install dnncc[emulate]"
            ) from error
        self._unicorn = unicorn
        self._arm = arm_const
        self._library = uclib
        self._firmware = firmware
        self._fpu = core.fpu
        self._writable = (firmware.statics, *regions)
        self._readable = (firmware.code, firmware.constants, firmware.library_constants, *constants)
        self._stack = stack
        self.entry_sp = stack.end
        self._engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._engine.ctl_set_cpu_model(getattr(arm_const, core.emulator_model))
        self._map(firmware.code, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._map(_RETURN, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for region in self._readable[1:]:
            self._map(region, unicorn.UC_PROT_READ)
        for region in (*self._writable, stack):
            self._map(region, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self._engine.mem_write(_RETURN.begin, _UDF * (_PAGE // 2))
        code = bytearray(firmware.code.bytes)
        for address, data in firmware.contents:
            self._engine.mem_write(address, data)
            if firmware.code.begin <= address < firmware.code.end:
                start = address - firmware.code.begin
                code[start : start + len(data)] = data
        self.code = bytes(code)
        self.observer = Observer(
            self.code,
            firmware.code.begin,
            firmware.marks,
            states,
            (
                _address(uclib.uc_reg_read),
                _address(uclib.uc_reg_write),
                _address(uclib.uc_emu_stop),
            ),
            (arm_const.UC_ARM_REG_PC, arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_CPSR),
        )
        self._hook(unicorn.UC_HOOK_BLOCK, self.observer.on_block, _EVERYWHERE)
        self._hook(unicorn.UC_HOOK_MEM_INVALID, self.observer.on_fault, _EVERYWHERE)
        borders = [border for region in (*self.regions, _RETURN) for border in _borders(region)]
        for limits in [_EVERYWHERE] if watch_everything else borders:
            self._hook(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self.observer.on_access, limits)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Everything that is mapped, for messages."""
        return (*self._readable, *self._writable, self._stack)

    def write(self, address: int, data: bytes) -> None:
        self._engine.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._engine.mem_read(address, size))

    def register(self, name: str) -> int:
        return int(self._engine.reg_read(getattr(self._arm, f"UC_ARM_REG_{name}")))

    def restore_statics(self) -> None:
        """Sets .data and .bss to what they are after a reset."""
        statics = self._firmware.statics
        self.write(statics.begin, bytes(statics.bytes))
        for address, data in self._firmware.contents:
            if statics.begin <= address < statics.end:
                self.write(address, data)

    def call(self, arguments: Sequence[int], limit: int) -> str | None:
        """Runs the entry function to its return.

        Args:
            arguments: words; the first four go to registers, the rest onto the stack (AAPCS).
            limit: instructions after which it is stopped.

        Returns:
            What the emulator says went wrong, or None. The observer and `register` tell the rest.
        """
        on_stack = arguments[_ARGUMENT_REGISTERS:]
        top = self._stack.end - (4 * len(on_stack) + 7) // 8 * 8
        if on_stack:
            self.write(top, b"".join(word.to_bytes(4, "little") for word in on_stack))
        self.entry_sp = top
        self._set_registers({f"R{index}": word for index, word in enumerate(arguments[:_ARGUMENT_REGISTERS])})
        self._set_registers({"SP": top, "LR": _RETURN.begin | THUMB_BIT})
        self._set_registers(self._saved())
        self.observer.reset((*self._readable, *self._writable), self._stack, limit)
        try:
            self._engine.emu_start(self._firmware.entry | THUMB_BIT, _RETURN.begin)
        except self._unicorn.UcError as error:
            return str(error)
        return None

    @property
    def returned(self) -> bool:
        return self.register("PC") & ~THUMB_BIT == _RETURN.begin

    def clobbered(self) -> list[str]:
        """Registers that the AAPCS obliges a function to preserve and that the last call did not."""
        expected = {**self._saved(), "SP": self.entry_sp}
        return [name for name, value in expected.items() if self.register(name) != value]

    def _saved(self) -> dict[str, int]:
        values = {name: 0x5A000000 + index for index, name in enumerate(_CALLEE_SAVED)}
        if self._fpu:
            values |= {name: 0x400921FB54442D00 + index for index, name in enumerate(_CALLEE_SAVED_FLOAT)}
        return values

    def _set_registers(self, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            self._engine.reg_write(getattr(self._arm, f"UC_ARM_REG_{name}"), value)

    def _map(self, region: Region, protection: int) -> None:
        begin, end = _pages(region)
        if end > begin:
            self._engine.mem_map(begin, end - begin, protection)

    def _hook(self, kind: int, function: Any, limits: tuple[int, int]) -> None:
        """Hooks one of the observer's native functions: through Python each call would take a microsecond."""
        handle = ctypes.c_size_t()
        first, last = (ctypes.c_uint64(limit) for limit in limits)
        status = self._library.uc_hook_add(
            self._engine._uch, ctypes.byref(handle), kind, function, self.observer.address, first, last
        )
        if status:
            raise ToolFailedError(f"the emulator refuses a hook (status {status})")


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _borders(region: Region) -> list[tuple[int, int]]:
    """Where an access must begin to reach out of `region` within its pages; both limits inclusive."""
    begin, end = _pages(region)
    if begin == end:
        return []
    after = max(region.begin, region.end - _WIDEST_ACCESS + 1)
    before = [(begin, region.begin - 1)] if begin < region.begin else []
    return [*before, (after, end - 1)]


def _pages(region: Region) -> tuple[int, int]:
    return region.begin // _PAGE * _PAGE, -(-region.end // _PAGE) * _PAGE
