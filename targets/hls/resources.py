"""The resource model: what multipliers, adders, memories and FIFOs cost. Analytical; nothing here was synthesized.

Logic follows the published estimates of FINN (FINN-R, Blott et al. 2018, section 5, and the formulas of its compiler);
block RAM is the vendor's table of widths and depths. Flip-flops, which FINN does not estimate, are taken as one
per lookup table, a pipelined datapath's usual balance.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

BASE_LUT = 120
"""Counters, handshakes and the state machine of one process (FINN's constant of 300 is for one with its memories)."""
OVERHEAD = 1.1
"""Routing and packing losses on the datapath (FINN's c1)."""
_WIDTHS = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
_LUT_RAM_DEPTH = 64
_SRL_DEPTH = 32


@dataclass(frozen=True)
class Resources:
    """Counts of lookup tables, flip-flops, 18 Kbit block RAMs and DSP blocks."""

    lut: int = 0
    ff: int = 0
    bram18: int = 0
    dsp: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def exceeding(self, limit: Resources) -> list[str]:
        """The kinds of which there is more than in ``limit``."""
        return [kind for kind in KINDS if getattr(self, kind) > getattr(limit, kind)]


KINDS = tuple(field.name for field in fields(Resources))


def total(parts: list[Resources]) -> Resources:
    found = Resources()
    for part in parts:
        found += part
    return found


def logic(lut: float, state_bits: int = 0) -> Resources:
    """A datapath of so many tables, and registers that it keeps beside its pipeline's."""
    tables = math.ceil(lut * OVERHEAD) + BASE_LUT
    return Resources(lut=tables, ff=tables + state_bits)


def multiplier_lut(a: int, b: int) -> int:
    """Tables of an a x b bit multiplier."""
    return (2 * math.ceil((a + b) / 6) - 1) * (a + b)


def multiplier_dsp(a: int, b: int, wide: int, narrow: int) -> int:
    """DSP blocks of a signed a x b bit multiplier: an operand beyond a port is cut into limbs, of which all but the
    highest lose the sign bit.
    """

    def limbs(bits: int, port: int) -> int:
        return 1 if bits <= port else math.ceil((bits - 1) / (port - 1))

    return min(limbs(a, wide) * limbs(b, narrow), limbs(b, wide) * limbs(a, narrow))


def adder_tree_lut(terms: int, bits: int) -> int:
    """Tables of the sum of so many products of this width : an adder of b bits takes b tables."""
    return (terms - 1) * (bits + max(terms - 1, 0).bit_length() // 2)


def block_ram(width: int, depth: int) -> int:
    """18 Kbit block RAMs of a simple dual-port memory or a ROM."""
    return min(math.ceil(width / w) * math.ceil(depth / d) for w, d in _WIDTHS)


def distributed_rom_lut(width: int, depth: int) -> int:
    """Tables of a ROM: 64 x 1 bit each."""
    return width * math.ceil(depth / _LUT_RAM_DEPTH)


def distributed_ram_lut(width: int, depth: int) -> int:
    """Tables of a simple dual-port memory: eight hold 64 x 7 bits."""
    return math.ceil(width / 7) * 8 * math.ceil(depth / _LUT_RAM_DEPTH)


def memory(width: int, depth: int, style: str, rom: bool) -> Resources:
    """A memory in "bram" or "lutram"."""
    if style == "bram":
        return Resources(bram18=block_ram(width, depth))
    return Resources(lut=(distributed_rom_lut if rom else distributed_ram_lut)(width, depth))


def fifo_style(width: int, depth: int) -> str:
    """Where a FIFO lies: shift registers, distributed RAM, or block RAM where that saves much logic."""
    if depth <= _SRL_DEPTH:
        return "srl"
    return "lutram" if distributed_ram_lut(width, depth) <= 256 * block_ram(width, depth) else "bram"


def fifo(width: int, depth: int) -> Resources:
    """A FIFO with its counters."""
    control = 10 + 2 * depth.bit_length()
    style = fifo_style(width, depth)
    if style == "srl":
        return Resources(lut=width + control, ff=width + control)
    return memory(width, depth, style, rom=False) + Resources(lut=control, ff=width + control)
