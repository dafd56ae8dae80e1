"""The Python side of harness/observe.c: what happened to every block and data access of an emulated run."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from dnncc.errors import InternalError
from dnncc.runtime.firmware import Region
from dnncc.runtime.toolchain import HARNESS, compile_library
from numpy.typing import NDArray

_MAX_REGIONS = 24
_MAX_UNALIGNED = 256
_KEEP_STATE = -1
_BLOCKS = 1 << 16

# Verdicts of harness/observe.c; above FAULT the emulator's own kind of fault is added.
FAULT = 2


class _Region(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_uint32), ("end", ctypes.c_uint32))


class _Access(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("verdict", "pc", "address", "size", "writes"))


class _Unaligned(ctypes.Structure):
    _fields_ = (("pc", ctypes.c_uint32), ("address", ctypes.c_uint32), ("times", ctypes.c_uint64))


class _Block(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("instructions", ctypes.c_uint32),
        ("next", ctypes.c_int32),
        ("exit_state", ctypes.c_int32),
        ("lowest_sp", ctypes.c_uint32),
    )


class _Observer(ctypes.Structure):
    _fields_ = (
        ("reg_read", ctypes.c_void_p),
        ("reg_write", ctypes.c_void_p),
        ("stop", ctypes.c_void_p),
        ("reg_pc", ctypes.c_int32),
        ("reg_sp", ctypes.c_int32),
        ("reg_cpsr", ctypes.c_int32),
        ("code_begin", ctypes.c_uint32),
        ("code_end", ctypes.c_uint32),
        ("code", ctypes.c_void_p),
        ("first_block", ctypes.c_void_p),
        ("marker", ctypes.c_void_p),
        ("blocks", ctypes.c_void_p),
        ("executed", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("misaligned", ctypes.c_void_p),
        ("block_capacity", ctypes.c_uint32),
        ("states", ctypes.c_uint32),
        ("instruction_limit", ctypes.c_uint64),
        ("regions_used", ctypes.c_uint32),
        ("regions", _Region * _MAX_REGIONS),
        ("stack", _Region),
        ("blocks_used", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("overflow", ctypes.c_uint32),
        ("limit_reached", ctypes.c_uint32),
        ("lowest_stack_access", ctypes.c_uint32),
        ("previous", ctypes.c_int32),
        ("previous_end", ctypes.c_uint32),
        ("unaligned_used", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("violation", _Access),
        ("unaligned", _Unaligned * _MAX_UNALIGNED),
    )


@dataclass(frozen=True)
class Violation:
    """A data access or instruction fetch that is not allowed."""

    verdict: int
    pc: int
    address: int
    bytes: int
    writes: bool


@dataclass(frozen=True)
class UnalignedAccess:
    """Data accesses by one instruction to addresses that are no multiple of min(size, 4)."""

    pc: int
    address: int
    times: int


@dataclass(frozen=True)
class BlockCount:
    """How often one basic block ran.

    Attributes:
        lowest_sp: the lowest stack pointer at its entry.
        executed: times per profiling state at its entry.
        taken: times per profiling state at its exit that it was left other than to the next address.
    """

    address: int
    size: int
    instructions: int
    lowest_sp: int
    executed: NDArray[np.uint64]
    taken: NDArray[np.uint64]


class Observer:
    """Watches one emulated machine.

    Args:
        code: the bytes of all code; base: their address.
        marks: address to profiling state, where the state changes.
        states: the number of profiling states.
        functions: the addresses of the emulator's ``reg_read``, ``reg_write`` and ``stop``.
        registers: its numbers for PC, SP and CPSR.

    Attributes:
        misaligned: unaligned accesses per profiling state.
    """

    def __init__(
        self,
        code: bytes,
        base: int,
        marks: Mapping[int, int],
        states: int,
        functions: tuple[int, int, int],
        registers: tuple[int, int, int],
    ) -> None:
        library = _library()
        if library.dnncc_observer_size() != ctypes.sizeof(_Observer):
            raise InternalError("observer.py and harness/observe.c disagree on their structure")
        self._code = ctypes.create_string_buffer(code + b"\0\0", len(code) + 2)
        halfwords = len(code) // 2 + 1
        self._first_block = np.full(halfwords, -1, np.int32)
        marker = np.full(halfwords, _KEEP_STATE, np.int32)
        for address, state in marks.items():
            if base <= address < base + len(code):
                marker[(address - base) // 2] = state
        self._marker = marker
        self._blocks = (_Block * _BLOCKS)()
        self._executed = np.zeros((_BLOCKS, states), np.uint64)
        self._taken = np.zeros((_BLOCKS, states), np.uint64)
        self.misaligned = np.zeros(states, np.uint64)
        self._raw = _Observer(
            reg_read=functions[0],
            reg_write=functions[1],
            stop=functions[2],
            reg_pc=registers[0],
            reg_sp=registers[1],
            reg_cpsr=registers[2],
            code_begin=base,
            code_end=base + len(code),
            code=ctypes.addressof(self._code),
            first_block=self._first_block.ctypes.data,
            marker=self._marker.ctypes.data,
            blocks=ctypes.addressof(self._blocks),
            executed=self._executed.ctypes.data,
            taken=self._taken.ctypes.data,
            misaligned=self.misaligned.ctypes.data,
            block_capacity=_BLOCKS,
            states=states,
        )
        self.on_block: Any = ctypes.cast(library.dnncc_on_block, ctypes.c_void_p)
        self.on_access: Any = ctypes.cast(library.dnncc_on_access, ctypes.c_void_p)
        self.on_fault: Any = ctypes.cast(library.dnncc_on_fault, ctypes.c_void_p)

    @property
    def address(self) -> int:
        """The pointer that the three functions expect as their last argument."""
        return ctypes.addressof(self._raw)

    def reset(self, regions: Sequence[Region], stack: Region, limit: int) -> None:
        """Forgets all counts and sets what may be accessed, and how many instructions may run."""
        raw = self._raw
        used = raw.blocks_used
        self._executed[:used] = 0
        self._taken[:used] = 0
        self.misaligned[:] = 0
        for block in self._blocks[:used]:
            block.lowest_sp = 0xFFFFFFFF
        regions = [region for region in regions if region.bytes]
        if len(regions) > _MAX_REGIONS:
            raise InternalError(f"{len(regions)} memory regions, at most {_MAX_REGIONS} can be watched")
        raw.regions_used = len(regions)
        for index, region in enumerate(regions):
            raw.regions[index] = _Region(region.begin, region.end)
        raw.stack = _Region(stack.begin, stack.end)
        raw.instruction_limit = limit
        raw.state = raw.overflow = raw.limit_reached = raw.unaligned_used = raw.instructions = 0
        raw.previous = -1
        raw.lowest_stack_access = stack.end
        raw.violation = _Access()

    @property
    def violation(self) -> Violation | None:
        """The first forbidden access since the reset."""
        seen = self._raw.violation
        if not seen.verdict:
            return None
        return Violation(seen.verdict, seen.pc, seen.address, seen.size, bool(seen.writes))

    @property
    def unaligned(self) -> list[UnalignedAccess]:
        used = self._raw.unaligned[: self._raw.unaligned_used]
        return [UnalignedAccess(entry.pc, entry.address, entry.times) for entry in used]

    @property
    def instructions(self) -> int:
        """Instructions of all blocks that were entered."""
        return int(self._raw.instructions)

    @property
    def limit_reached(self) -> bool:
        return bool(self._raw.limit_reached)

    @property
    def overflow(self) -> bool:
        """Whether there were more different blocks than can be counted."""
        return bool(self._raw.overflow)

    @property
    def lowest_stack_access(self) -> int:
        return int(self._raw.lowest_stack_access)

    def blocks(self) -> list[BlockCount]:
        """The blocks that ran, with the last one counted as left by a jump: it returned to the caller."""
        raw = self._raw
        if raw.previous >= 0:
            self._taken[raw.previous, raw.state] += np.uint64(1)
            raw.previous = -1
        ran = np.flatnonzero(self._executed[: raw.blocks_used].any(axis=1))
        return [
            BlockCount(
                address=self._blocks[index].address,
                size=self._blocks[index].size,
                instructions=self._blocks[index].instructions,
                lowest_sp=self._blocks[index].lowest_sp,
                executed=self._executed[index],
                taken=self._taken[index],
            )
            for index in map(int, ran)
        ]


@cache
def _library() -> Any:
    library = ctypes.CDLL(str(compile_library((HARNESS / "observe.c",), "dnncc_observe")))
    library.dnncc_observer_size.restype = ctypes.c_size_t
    return library
