"""Says in words what an emulated run did wrong."""

from __future__ import annotations

from collections.abc import Sequence

from dnncc.runtime.cores import Core
from dnncc.runtime.decode import Decoder, Op, is_wide
from dnncc.runtime.firmware import Region, Symbols
from dnncc.runtime.machine import Machine
from dnncc.runtime.observer import FAULT, Violation

# Unicorn's kinds of memory events that concern instruction fetches.
_FETCHES = (21, 24)
_WRITE_PROTECTED = 22
# Never allowed at an unaligned address, on any core (Armv7-M ARM, A3.2.1).
_ALIGNED_ONLY = (Op.LOAD_MULTIPLE, Op.STORE_MULTIPLE, Op.FLOAT_LOAD, Op.FLOAT_STORE)


def problem(
    machine: Machine, decoder: Decoder, symbols: Symbols, core: Core, fault: str | None, limit: int
) -> str | None:
    """The first thing that was wrong with the machine's last call, or None."""
    observer = machine.observer
    violation = observer.violation
    if violation is not None:
        return _describe(violation, machine, symbols)
    unaligned = _unaligned(machine, decoder, symbols, core)
    if unaligned:
        return unaligned
    if observer.limit_reached:
        return f"it does not return within {limit} instructions; it was in {_where(machine, symbols)}"
    if observer.overflow:
        return "it has more basic blocks than the emulator can count"
    if fault is not None:
        return f"{fault} in {_where(machine, symbols)}"
    if not machine.returned:
        return f"it stopped in {_where(machine, symbols)}"
    clobbered = machine.clobbered()
    if clobbered:
        return f"it does not preserve {', '.join(clobbered)}, which a function must (AAPCS)"
    return None


def nearest(address: int, regions: Sequence[Region]) -> str:
    """Where an address lies relative to the closest region."""
    known = [region for region in regions if region.bytes]
    closest = min(known, key=lambda region: max(region.begin - address, address - region.end + 1, 0))
    size = f"{closest.name} ({closest.bytes} bytes at 0x{closest.begin:08x})"
    if address < closest.begin:
        return f"{_bytes(closest.begin - address)} before {size}"
    if address >= closest.end:
        return f"{_bytes(address - closest.end + 1)} past the end of {size}"
    return f"at byte {address - closest.begin} of {size}"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _describe(violation: Violation, machine: Machine, symbols: Symbols) -> str:
    place = symbols.describe(violation.pc)
    where = f"0x{violation.address:08x}, {nearest(violation.address, machine.regions)}"
    if violation.verdict - FAULT in _FETCHES:
        caller = symbols.describe(machine.register("LR") & ~1)
        return f"it jumps out of its code to 0x{violation.address:08x} (last call before {caller})"
    action = "writes" if violation.writes else "reads"
    read_only = violation.verdict == FAULT + _WRITE_PROTECTED
    kind = "read-only memory" if read_only else "memory that is not its own"
    return f"{place} {action} {_bytes(violation.bytes)} of {kind} at {where}"


def _unaligned(machine: Machine, decoder: Decoder, symbols: Symbols, core: Core) -> str | None:
    for access in machine.observer.unaligned:
        start = access.pc - decoder.base
        (instruction,) = decoder.block(access.pc, 4 if is_wide(machine.code, start) else 2)
        if core.unaligned and instruction.op not in _ALIGNED_ONLY:
            continue
        return (
            f"{symbols.describe(access.pc)} ({instruction.text}) accesses the unaligned address "
            f"0x{access.address:08x}, {nearest(access.address, machine.regions)}: a fault on {core.name}"
        )
    return None


def _where(machine: Machine, symbols: Symbols) -> str:
    return symbols.describe(machine.register("PC") & ~1)
