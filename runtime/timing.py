"""Cycle estimates for basic blocks, per core, with memory that answers without wait states.

Sources: the instruction timing tables of Arm's technical reference manuals: Cortex-M0+ (DDI 0484, 3.3),
Cortex-M3 (DDI 0337, 3.3) and Cortex-M4 (DDI 0439, 3.3), each with the load and store rules that follow its
table. What those give as a range is taken as follows: the refill P of a taken branch (1 to 3) is 1 for a
direct branch, 2 through a register or a load, and 1 more where the target is a 32-bit instruction that is not
word-aligned; a division (2 to 12) counts 12; Cortex-M3's long multiplications count 4 (3 to 5) and 5 with
addition (4 to 7).

**Cortex-M7 and Cortex-M33 are estimates**: Arm publishes no table for them. The M33 is taken to be as the M4
(its limited dual issue is left out, so it should be faster than the estimate). The M7 is a model of its two
in-order pipes: see CortexM7.

A block's instructions are timed in order; what one block's last instruction saves or costs the next block's
first is left out, as are flash wait states, caches, bus contention and interrupts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from dnncc.errors import UsageError
from dnncc.runtime.decode import Instruction, Op

_LOADS = (Op.LOAD, Op.FLOAT_LOAD)
_MULTIPLE = (Op.LOAD_MULTIPLE, Op.STORE_MULTIPLE)
_MEMORY = (*_LOADS, Op.STORE, Op.FLOAT_STORE, *_MULTIPLE)
_BRANCHES = (Op.BRANCH, Op.CALL, Op.BRANCH_REGISTER, Op.TABLE_BRANCH)
_MULTIPLIES = (
    Op.MULTIPLY,
    Op.MULTIPLY_ADD,
    Op.MULTIPLY_LONG,
    Op.MULTIPLY_LONG_ADD,
    Op.MULTIPLY_DSP,
)


class CycleModel(Protocol):
    """How long one core takes."""

    def cycles(self, block: Sequence[Instruction]) -> list[int]:
        """Cycles of each instruction of a block, in order, as if its last branch were not taken."""

    def taken(self, last: Instruction) -> int:
        """Cycles to add when the block is left other than to the address behind it.

        Args:
            last: the block's last instruction.
        """


class CortexM0Plus:
    """Cortex-M0+ with the single-cycle multiplier: two pipeline stages, no overlap between instructions."""

    _CYCLES: Mapping[Op, int] = {
        Op.LOAD: 2,
        Op.STORE: 2,
        Op.CALL: 2,
        Op.BARRIER: 3,
        Op.SYSTEM: 3,
    }

    def cycles(self, block: Sequence[Instruction]) -> list[int]:
        return [
            1 + instruction.words if instruction.op in _MULTIPLE else self._CYCLES.get(instruction.op, 1)
            for instruction in block
        ]

    def taken(self, last: Instruction) -> int:
        if last.loads_pc:
            return 2  # POP {..., PC} is 3 + N
        return 1 if last.op in _BRANCHES else 0


class CortexM4:
    """Cortex-M4: three stages; loads overlap with a following load or store."""

    _MULTIPLY_ADD = 1
    _MULTIPLY_LONG = 1
    _MULTIPLY_LONG_ADD = 1

    def __init__(self) -> None:
        self._table: Mapping[Op, int] = {
            Op.MULTIPLY_ADD: self._MULTIPLY_ADD,
            Op.MULTIPLY_LONG: self._MULTIPLY_LONG,
            Op.MULTIPLY_LONG_ADD: self._MULTIPLY_LONG_ADD,
            Op.DIVIDE: 12,
            Op.TABLE_BRANCH: 2,
            Op.BARRIER: 3,
            Op.SYSTEM: 2,
            Op.FLOAT_FUSED: 3,
            Op.FLOAT_DIVIDE: 14,
        }

    def cycles(self, block: Sequence[Instruction]) -> list[int]:
        previous: Instruction | None = None
        result = []
        for instruction in block:
            result.append(self._one(instruction, previous))
            previous = instruction
        return result

    def taken(self, last: Instruction) -> int:
        if last.loads_pc or last.op in (Op.BRANCH_REGISTER, Op.TABLE_BRANCH):
            return 2
        return 1 + last.refills_twice if last.op in _BRANCHES else 0

    def _one(self, instruction: Instruction, previous: Instruction | None) -> int:
        op = instruction.op
        if op is Op.IF_THEN:  # folded into a preceding 16-bit instruction
            return 0 if previous is not None and previous.size == 2 else 1
        if op not in _MEMORY:
            return self._table.get(op, 1)
        return self._transfer(instruction, previous) + self._address_stall(instruction, previous)

    @staticmethod
    def _transfer(instruction: Instruction, previous: Instruction | None) -> int:
        op = instruction.op
        if op in _MULTIPLE or instruction.words > 1:
            return 1 + instruction.words
        cycles = 1 if op is Op.STORE and not instruction.register_offset else 2
        follows_load = (
            previous is not None
            and previous.op in _LOADS
            and previous.words == 1
            and not previous.writes & instruction.address_reads
        )
        return max(1, cycles - 1) if follows_load else cycles

    @staticmethod
    def _address_stall(instruction: Instruction, previous: Instruction | None) -> int:
        """An address that the data processing instruction just before computes: nothing forwards it."""
        if previous is None or previous.op in _MEMORY:
            return 0
        return 1 if previous.writes & instruction.address_reads else 0


class CortexM3(CortexM4):
    """Cortex-M3: as the M4, with slower multiplications and neither SIMD nor floating point."""

    _MULTIPLY_ADD = 2
    _MULTIPLY_LONG = 4
    _MULTIPLY_LONG_ADD = 5


class CortexM7:
    """Cortex-M7, estimated: two instructions per cycle where they may go together.

    A pair goes together if the second needs nothing that the first writes, and at most one of the two is a
    memory access, a multiplication, a floating-point operation or a branch, and a SIMD or DSP instruction
    comes first. A loaded value can be used one cycle later. Multiple transfers move 64 bits per cycle.
    Branches are predicted.
    """

    _CYCLES: Mapping[Op, int] = {
        Op.DIVIDE: 12,
        Op.FLOAT_DIVIDE: 14,
        Op.BARRIER: 4,
        Op.SYSTEM: 2,
        Op.TABLE_BRANCH: 3,
    }
    _ALONE = (Op.BARRIER, Op.SYSTEM, Op.DIVIDE, Op.FLOAT_DIVIDE, *_MULTIPLE)

    def cycles(self, block: Sequence[Instruction]) -> list[int]:
        result = []
        first: Instruction | None = None  # issued in this cycle, its second slot still free
        loaded: frozenset[int] = frozenset()  # written by the loads of the cycle before
        loading: frozenset[int] = frozenset()
        for instruction in block:
            if first is not None and self._pairs(first, instruction) and not instruction.reads & loaded:
                result.append(0)
                loading |= self._loads(instruction)
                first = None
                continue
            loaded, loading = loading, self._loads(instruction)
            stall = 1 if instruction.reads & loaded else 0
            result.append(self._issue(instruction) + stall)
            first = None if instruction.op in self._ALONE else instruction
        return result

    def taken(self, last: Instruction) -> int:
        return 1 if last.loads_pc or last.op in (Op.BRANCH_REGISTER, Op.TABLE_BRANCH) else 0

    def _issue(self, instruction: Instruction) -> int:
        if instruction.op in _MULTIPLE:
            return (instruction.words + 1) // 2
        return self._CYCLES.get(instruction.op, 1)

    @staticmethod
    def _loads(instruction: Instruction) -> frozenset[int]:
        loads = instruction.op in (*_LOADS, Op.LOAD_MULTIPLE)
        return instruction.writes - instruction.address_reads if loads else frozenset()

    def _pairs(self, first: Instruction, second: Instruction) -> bool:
        if second.op in (*self._ALONE, Op.SIMD, Op.MULTIPLY_DSP) or first.op in _BRANCHES:
            return False
        if first.writes & (second.reads | second.writes):
            return False
        float_ops = (Op.FLOAT, Op.FLOAT_FUSED)
        return not any(first.op in kind and second.op in kind for kind in (_MEMORY, _MULTIPLIES, float_ops))


_MODELS: Mapping[str, Callable[[], CycleModel]] = {
    "cortex-m0plus": CortexM0Plus,
    "cortex-m3": CortexM3,
    "cortex-m4": CortexM4,
    "cortex-m7": CortexM7,
    "cortex-m33": CortexM4,
}


def cycle_model(core: str) -> CycleModel:
    """The timing model of a core.

    Raises:
        UsageError: there is none for it.
    """
    if core not in _MODELS:
        raise UsageError(
            f"there is no timing model for the core {core!r}", help=f"cores: {', '.join(_MODELS)}"
        )
    return _MODELS[core]()
