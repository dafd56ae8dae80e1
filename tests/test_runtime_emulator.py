"""The Cortex-M emulator: exact counts, and every access that the artifact must not make."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from handwritten import write_artifact

from dnncc.errors import MismatchError, ToolMissingError, UsageError
from dnncc.runtime.cores import CORES
from dnncc.runtime.emulator import Emulator
from dnncc.runtime.host import HostModel

SAMPLE = np.arange(-4, 4, dtype=np.int8)
ARMV7 = [core for core in CORES if core != "cortex-m0plus"]


def choose(case: int) -> list[np.ndarray]:
    """The input that makes an artifact of `switched` run one of its cases; 0 is harmless."""
    return [np.full(8, case, np.int8)]


def switched(folder: Path, cases: list[str], prelude: str = "", **options):
    """An artifact with many ways to misbehave, each chosen by the first input value."""
    branches = "\n".join(f"case {number}: {{ {code} break; }}" for number, code in enumerate(cases, start=1))
    body = f"switch (in[0]) {{ {branches} default: break; }} for (int i = 0; i < 8; i++) out[i] = in[i];"
    return write_artifact(folder, body, prelude=prelude, **options)


READ = "static int8_t peek(const volatile void *p, int at) { return ((const volatile int8_t *)p)[at]; }\n"
WRITE = "static void poke(volatile void *p, int at) { ((volatile int8_t *)p)[at] = 5; }\n"
WORD = (
    "static void poke4(volatile void *p, int at)"
    "{ *(volatile int32_t *)(void *)((volatile int8_t *)p + at) = 5; }\n"
)

ACCESSES = [
    ("poke(net->arena, 40);", "writes 1 byte .* 1 byte past the end of arena 'ram'"),
    ("poke(net->arena, -1);", "writes 1 byte .* 1 byte before arena 'ram'"),
    ("poke4(net->arena, 38);", "writes 4 bytes .* at byte 38 of arena 'ram'"),
    ("poke4(net->arena, -2);", "writes 4 bytes .* 2 bytes before arena 'ram'"),
    ("out[0] = peek(net->arena, 40);", "reads 1 byte .* past the end of arena"),
    ("out[0] = peek(net->arena, -1);", "reads 1 byte .* before arena"),
    ("out[0] = peek(in, 8);", "reads 1 byte .* 1 byte past the end of input 'in'"),
    ("out[0] = peek(in, -1);", "reads 1 byte .* 1 byte before input 'in'"),
    ("poke((volatile void *)(uintptr_t)in, 3);", "writes 1 byte of read-only memory .* byte 3 of input 'in'"),
    ("poke(out, 8);", "writes 1 byte .* 1 byte past the end of output 'out'"),
    ("poke(out, -1);", "writes 1 byte .* 1 byte before output 'out'"),
    ("out[0] = peek(net_w, 16);", "reads 1 byte .* 1 byte past the end of constants"),
    ("out[0] = peek(net_w, -1);", "reads 1 byte .* 1 byte before constants"),
    ("poke((volatile void *)(uintptr_t)net_w, 1);", "writes 1 byte of read-only memory .* byte 1 of constants"),
    ("poke((volatile void *)(uintptr_t)&net->arena, 0);", "read-only memory .* the network's struct"),
    ("poke((volatile void *)((uintptr_t)net_run & ~1u), 0);", "writes 1 byte of read-only memory .* of code"),
    ("poke((volatile void *)(uintptr_t)4096, 0);", "memory that is not its own at 0x00001000"),
    ('__asm__ volatile("ldr r2, [sp, #252]" ::: "r2", "memory");', "reads 4 bytes .* past the end of stack"),
]


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_every_access_outside_is_caught_to_the_byte(tmp_path: Path, core: str) -> None:
    """In a first run, where all accesses are watched, and in later ones, where those at borders are."""
    bundle = switched(tmp_path, [code for code, _ in ACCESSES], prelude=READ + WRITE + WORD)
    emulator = Emulator(bundle, core)
    for repeat in range(2):
        for number, (_, message) in enumerate(ACCESSES, start=1):
            with pytest.raises(MismatchError, match=message):
                emulator.run(choose(number))
        assert np.array_equal(emulator.run(choose(0))[0] if False else emulator.run(choose(0)).outputs[0], choose(0)[0])
        assert repeat or emulator.run(choose(0)).unaligned_accesses == 0
