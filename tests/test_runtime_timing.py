"""Cycle estimates against sums done by hand from Arm's tables, and what the decoder says of instructions."""

from __future__ import annotations

import pytest
from dnncc.errors import InternalError, UsageError
from dnncc.runtime.cores import CORES
from dnncc.runtime.decode import Decoder, Instruction, Op
from dnncc.runtime.timing import cycle_model

# Encodings as the assembler gives them (little-endian), so that these tests need no assembler.
LDR_R0_R1 = "0868"  # ldr r0, [r1]
LDR_R2_R3 = "1a68"  # ldr r2, [r3]
LDR_R1_R0 = "0168"  # ldr r1, [r0]
LDR_R0_R1_R2 = "8858"  # ldr r0, [r1, r2]
STR_R0_R3 = "1860"  # str r0, [r3]
STR_R0_R3_R2 = "9850"  # str r0, [r3, r2]
ADDS_R1_1 = "0131"  # adds r1, #1
ADDS_R4_1 = "0134"  # adds r4, #1
MULS_R0_R1 = "4843"  # muls r0, r1, r0
PUSH_4 = "f0b4"  # push {r4-r7}
POP_PC = "10bd"  # pop {r4, pc}
BX_LR = "7047"
BEQ = "fed0"  # beq to itself
BL = "fff7feff"  # bl to itself
SMLAD = "21fb0230"  # smlad r0, r1, r2, r3
SMULL = "82fb0301"  # smull r0, r1, r2, r3
SMLAL = "c2fb0301"  # smlal r0, r1, r2, r3
MLA = "01fb0230"  # mla r0, r1, r2, r3
SDIV = "91fbf2f0"  # sdiv r0, r1, r2
LDRD = "d2e90001"  # ldrd r0, r1, [r2]
CMP_R0 = "0028"
IT_GT = "c8bf"
MOVGT = "0320"  # movgt r0, #3 after an IT
VFMA = "a0ee810a"  # vfma.f32 s0, s1, s2
VLDR = "90ed000a"  # vldr s0, [r0]
SUB_SP_1024 = "adf5806d"
VPUSH_D8_D11 = "2ded088b"
STR_PRE_SP = "4df8048d"  # str r8, [sp, #-4]!
ADD_SP_R3 = "9d44"  # add sp, r3
NOP = "00bf"


def decode(*codes: str, base: int = 0x1000) -> tuple[Instruction, ...]:
    code = bytes.fromhex("".join(codes))
    return Decoder(code, base, armv8=False).block(base, len(code))


def cycles(core: str, *codes: str) -> int:
    """Of a block that falls through."""
    return sum(cycle_model(core).cycles(decode(*codes)))


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([ADDS_R1_1], 1),
        ([LDR_R0_R1], 2),
        ([LDR_R0_R1, LDR_R2_R3], 3),  # the second is pipelined behind the first
        ([LDR_R0_R1, LDR_R1_R0], 4),  # but not if it needs the first's result for its address
        ([LDR_R0_R1, STR_R0_R3], 3),
        ([LDR_R0_R1_R2, STR_R0_R3_R2], 3),
        ([STR_R0_R3], 1),
        ([STR_R0_R3_R2], 2),
        ([ADDS_R1_1, LDR_R0_R1], 4),  # nothing forwards the sum into the address
        ([ADDS_R4_1, LDR_R0_R1], 3),
        ([PUSH_4], 5),
        ([LDRD], 3),
        ([SMLAD], 1),
        ([SMULL, SMLAL, MLA, MULS_R0_R1], 4),
        ([SDIV], 12),
        ([CMP_R0, IT_GT, MOVGT], 2),  # IT folds into a 16-bit instruction before it
        ([SMLAD, IT_GT, MOVGT], 3),
        ([VFMA], 3),
        ([VLDR], 2),
        ([BEQ], 1),
    ],
)
def test_cortex_m4_by_its_table(codes: list[str], expected: int) -> None:
    assert cycles("cortex-m4", *codes) == expected


def test_cortex_m3_multiplies_slower() -> None:
    assert cycles("cortex-m3", SMULL) == 4
    assert cycles("cortex-m3", SMLAL) == 5
    assert cycles("cortex-m3", MLA) == 2
    assert cycles("cortex-m3", LDR_R0_R1, LDR_R2_R3) == 3


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([ADDS_R1_1], 1), ([LDR_R0_R1, LDR_R2_R3], 4), ([STR_R0_R3], 2), ([PUSH_4], 5), ([MULS_R0_R1], 1)],
)
def test_cortex_m0plus_by_its_table(codes: list[str], expected: int) -> None:
    assert cycles("cortex-m0plus", *codes) == expected


@pytest.mark.parametrize(
    ("core", "code", "total"),
    [
        ("cortex-m0plus", BEQ, 2),
        ("cortex-m0plus", BL, 3),
        ("cortex-m0plus", BX_LR, 2),
        ("cortex-m0plus", POP_PC, 5),
        ("cortex-m4", BEQ, 2),
        ("cortex-m4", BX_LR, 3),
        ("cortex-m4", POP_PC, 5),
    ],
)
def test_taken_branches(core: str, code: str, total: int) -> None:
    block = decode(code)
    model = cycle_model(core)
    assert sum(model.cycles(block)) + model.taken(block[-1]) == total


def test_a_wide_target_across_a_word_border_takes_another_fetch() -> None:
    backwards = "fcd0"  # beq to 4 bytes before itself plus 4: the instruction before it
    for base, extra in ((0x1000, 1), (0x1002, 2)):
        block = decode(SMLAD, backwards, base=base)
        assert cycle_model("cortex-m4").taken(block[-1]) == extra


def test_cortex_m7_issues_two_where_they_are_independent() -> None:
    assert cycles("cortex-m7", ADDS_R1_1, ADDS_R4_1) == 1
    assert cycles("cortex-m7", ADDS_R1_1, ADDS_R1_1) == 2
    assert cycles("cortex-m7", LDR_R0_R1, ADDS_R4_1) == 1
    assert cycles("cortex-m7", LDR_R0_R1, LDR_R2_R3) == 2
    assert cycles("cortex-m7", LDR_R0_R1, LDR_R1_R0) > cycles("cortex-m7", LDR_R0_R1, LDR_R2_R3)


def test_every_core_has_a_model_and_no_other() -> None:
    for core in CORES:
        assert cycles(core, NOP) == 1
    with pytest.raises(UsageError, match="cortex-m9"):
        cycle_model("cortex-m9")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (PUSH_4, -16),
        (POP_PC, 8),
        (SUB_SP_1024, -1024),
        (VPUSH_D8_D11, -32),
        (STR_PRE_SP, -4),
        (ADD_SP_R3, None),
        (LDR_R0_R1, 0),
    ],
)
def test_what_happens_to_the_stack_pointer(code: str, change: int | None) -> None:
    assert decode(code)[0].stack_change == change


def test_bytes_that_are_no_instructions() -> None:
    assert decode(POP_PC)[0].loads_pc
    assert decode(BL)[0].op is Op.CALL
    with pytest.raises(InternalError, match="cannot be decoded"):
        decode("ffffffff")
