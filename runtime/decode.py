"""Thumb instructions as the timing models and the stack measurement see them, decoded with capstone."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

from dnncc.errors import InternalError, ToolMissingError


class Op(enum.Enum):
    """Classes of instructions that the timing tables tell apart."""

    ALU = enum.auto()
    MULTIPLY = enum.auto()  # 32-bit result
    MULTIPLY_ADD = enum.auto()  # MLA, MLS
    MULTIPLY_LONG = enum.auto()  # SMULL, UMULL
    MULTIPLY_LONG_ADD = enum.auto()  # SMLAL, UMLAL
    MULTIPLY_DSP = enum.auto()  # SMLAD, SMULBB, SMMUL and relatives: one cycle on the cores that have them
    SIMD = enum.auto()  # SXTB16, PKHBT, saturation and relatives
    DIVIDE = enum.auto()
    LOAD = enum.auto()
    STORE = enum.auto()
    LOAD_MULTIPLE = enum.auto()  # LDM, LDRD, POP
    STORE_MULTIPLE = enum.auto()  # STM, STRD, PUSH
    BRANCH = enum.auto()  # direct, with or without a condition
    CALL = enum.auto()  # BL
    BRANCH_REGISTER = enum.auto()  # BX, BLX, a move or an addition to PC
    TABLE_BRANCH = enum.auto()
    IF_THEN = enum.auto()
    NOP = enum.auto()
    BARRIER = enum.auto()
    SYSTEM = enum.auto()  # MRS, MSR
    FLOAT = enum.auto()
    FLOAT_FUSED = enum.auto()  # multiply-add
    FLOAT_DIVIDE = enum.auto()  # division and square root
    FLOAT_LOAD = enum.auto()
    FLOAT_STORE = enum.auto()


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction.

    Attributes:
        text: its assembly, for messages.
        words: 32-bit words moved by a load or store, else 0.
        reads, writes: register numbers (capstone's); address_reads: those that form an address.
        register_offset: a load or store with an index register.
        loads_pc: a load that ends in PC (POP {..., PC}).
        stack_change: what is added to SP, in bytes; None if it is known at run time only.
        refills_twice: a direct branch to a 32-bit instruction across a word border, which takes two fetches.
    """

    address: int
    size: int
    text: str
    op: Op
    words: int = 0
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    address_reads: frozenset[int] = frozenset()
    register_offset: bool = False
    loads_pc: bool = False
    stack_change: int | None = 0
    refills_twice: bool = False


_BY_NAME = {
    Op.MULTIPLY: {"mul"},
    Op.MULTIPLY_ADD: {"mla", "mls"},
    Op.MULTIPLY_LONG: {"smull", "umull"},
    Op.MULTIPLY_LONG_ADD: {"smlal", "umlal", "umaal"},
    Op.DIVIDE: {"sdiv", "udiv"},
    Op.BRANCH: {"b", "cbz", "cbnz"},
    Op.CALL: {"bl"},
    Op.BRANCH_REGISTER: {"bx", "blx"},
    Op.TABLE_BRANCH: {"tbb", "tbh"},
    Op.IF_THEN: {"it"},
    Op.NOP: {"hint", "nop", "yield"},
    Op.BARRIER: {"dsb", "dmb", "isb"},
    Op.SYSTEM: {"mrs", "msr", "cps"},
    Op.FLOAT_FUSED: {"vfma", "vfms", "vfnma", "vfnms", "vmla", "vmls", "vnmla", "vnmls"},
    Op.FLOAT_DIVIDE: {"vdiv", "vsqrt"},
}
_OP_OF_NAME = {name: op for op, names in _BY_NAME.items() for name in names}
_MULTIPLE = {
    "push": Op.STORE_MULTIPLE,
    "pop": Op.LOAD_MULTIPLE,
    "vpush": Op.STORE_MULTIPLE,
    "vpop": Op.LOAD_MULTIPLE,
}
_DSP_MULTIPLY = ("smla", "smls", "smul", "smua", "smus", "smmul", "smmla", "smmls")
_SIMD = re.compile(
    r"[su]xta|[su]xtb16|pkh|[su]sat|sel$|usad|qd?(add|sub)"
    r"|(s|u|q|sh|uh|uq)(add8|add16|sub8|sub16|asx|sax)$"
)


def _classify(name: str) -> Op:
    if name in _OP_OF_NAME:
        return _OP_OF_NAME[name]
    if name in _MULTIPLE:
        return _MULTIPLE[name]
    if name.startswith(("ldm", "ldrd", "vldm")):
        return Op.LOAD_MULTIPLE
    if name.startswith(("stm", "strd", "vstm")):
        return Op.STORE_MULTIPLE
    if name.startswith(("ldr", "ldrex", "lda")):
        return Op.LOAD
    if name.startswith(("str", "stl")):
        return Op.STORE
    if name.startswith("vldr"):
        return Op.FLOAT_LOAD
    if name.startswith("vstr"):
        return Op.FLOAT_STORE
    if name.startswith(_DSP_MULTIPLY):
        return Op.MULTIPLY_DSP
    if _SIMD.match(name):
        return Op.SIMD
    if name.startswith("v") or name == "fmstat":
        return Op.FLOAT
    return Op.ALU


def is_wide(code: bytes, offset: int) -> bool:
    """Whether the Thumb instruction at `offset` has 32 bits: its first halfword begins 11101, 1111."""
    return code[offset + 1] >> 3 >= 0b11101


class Decoder:
    """Decodes code bytes, once per address.

    Args:
        code: the bytes.
        base: their address.
        armv8: whether to accept Armv8-M encodings.

    Raises:
        ToolMissingError: capstone is not installed.
    """

    def __init__(self, code: bytes, base: int, armv8: bool) -> None:
        try:
            import capstone
        except ImportError as error:
            raise ToolMissingError("capstone is not installed", help="pip install dnncc[emulate]") from error
        self._capstone = capstone
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | (capstone.CS_MODE_V8 if armv8 else 0)
        self._engine = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._engine.detail = True
        self._code = code
        self.base = base
        self._known: dict[tuple[int, int], tuple[Instruction, ...]] = {}

    def block(self, address: int, size: int) -> tuple[Instruction, ...]:
        """The instructions of `size` bytes from `address` on.

        Raises:
            InternalError: the bytes are no instructions, although the emulator ran them.
        """
        key = (address, size)
        if key not in self._known:
            start = address - self.base
            decoded = tuple(
                self._instruction(raw)
                for raw in self._engine.disasm(self._code[start : start + size], address)
            )
            if sum(instruction.size for instruction in decoded) != size:
                raise InternalError(f"the code at 0x{address:08x} ({size} bytes) cannot be decoded")
            self._known[key] = decoded
        return self._known[key]

    def _instruction(self, raw: Any) -> Instruction:
        arm = self._capstone.arm
        name = raw.insn_name()
        op = _classify(name)
        reads, writes = raw.regs_access()
        memory = [operand for operand in raw.operands if operand.type == arm.ARM_OP_MEM]
        address_reads: set[int] = set()
        for operand in memory:
            address_reads |= {operand.mem.base, operand.mem.index} - {0}
        if op in (Op.LOAD_MULTIPLE, Op.STORE_MULTIPLE) and not memory and raw.operands:
            stack = name in _MULTIPLE
            address_reads.add(arm.ARM_REG_SP if stack else raw.operands[0].reg)
        writes_pc = arm.ARM_REG_PC in writes
        if writes_pc and op is Op.ALU:
            op = Op.BRANCH_REGISTER
        direct = op in (Op.BRANCH, Op.CALL) and raw.operands and raw.operands[-1].type == arm.ARM_OP_IMM
        return Instruction(
            address=raw.address,
            size=raw.size,
            text=f"{raw.mnemonic} {raw.op_str}".strip(),
            op=op,
            words=self._words(name, op, raw),
            reads=frozenset(reads),
            writes=frozenset(writes),
            address_reads=frozenset(address_reads),
            register_offset=any(operand.mem.index for operand in memory),
            loads_pc=writes_pc and op in (Op.LOAD, Op.LOAD_MULTIPLE),
            stack_change=self._stack_change(name, raw, memory, arm.ARM_REG_SP in writes),
            refills_twice=direct and self._crosses_word(raw.operands[-1].imm),
        )

    def _crosses_word(self, address: int) -> bool:
        start = address - self.base
        return address % 4 == 2 and 0 <= start < len(self._code) - 1 and is_wide(self._code, start)

    def _words(self, name: str, op: Op, raw: Any) -> int:
        if op in (Op.LOAD, Op.STORE):
            return 1
        if op in (Op.FLOAT_LOAD, Op.FLOAT_STORE):
            return self._register_words(raw, raw.operands[0].reg)
        if op not in (Op.LOAD_MULTIPLE, Op.STORE_MULTIPLE):
            return 0
        if name in ("ldrd", "strd"):
            return 2
        transferred = raw.operands if name in _MULTIPLE else raw.operands[1:]
        return sum(self._register_words(raw, operand.reg) for operand in transferred)

    @staticmethod
    def _register_words(raw: Any, register: int) -> int:
        return 2 if raw.reg_name(register).startswith("d") else 1

    def _stack_change(self, name: str, raw: Any, memory: list[Any], writes_sp: bool) -> int | None:
        if name in _MULTIPLE:
            bytes_moved = 4 * self._words(name, _MULTIPLE[name], raw)
            return bytes_moved if name.endswith("pop") else -bytes_moved
        if not writes_sp:
            return 0
        arm = self._capstone.arm
        last = raw.operands[-1]
        if name in ("add", "sub", "addw", "subw") and last.type == arm.ARM_OP_IMM:
            return int(last.imm) if name.startswith("add") else -int(last.imm)
        if memory and raw.writeback:
            post_indexed = last.type == arm.ARM_OP_IMM
            return int(last.imm) if post_indexed else int(memory[0].mem.disp)
        return None
