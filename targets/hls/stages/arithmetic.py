"""Multipliers: in lookup tables, one per DSP block, or two that share an operand in one DSP block.

Two products with one operand in common are one wide product: ``(a * 2^s + b) * x = (a * x) * 2^s + b * x`` with s bits
for ``b * x`` (Xilinx WP486, "Deep Learning with INT8 Optimization"; exact, with a correction where ``b * x`` is
negative).
"""

from __future__ import annotations

from dnncc.ops.ranges import Interval, product_interval
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources, multiplier_dsp, multiplier_lut
from dnncc.targets.hls.stages.base import Number

STYLES = ("lut", "dsp", "dsp2")
C_STYLES = {"lut": "dnncc::in_lut", "dsp": "dnncc::in_dsp", "dsp2": "dnncc::in_shared_dsp"}


def product_bits(x: Interval, w: Interval) -> int:
    """Of a signed type that holds the product."""
    return product_interval(x, w).bits


def shares(x: Interval, w: Interval, part: Part) -> bool:
    """Whether one DSP block takes two of these products with x in common."""
    shift = product_bits(x, w)
    packed = Interval.of(w.min * (1 << shift) + w.min, w.max * (1 << shift) + w.max)
    return packed.bits <= part.wide and x.bits <= part.narrow


def multipliers(style: str, count: int, pairs: int, x: Interval, w: Interval, part: Part) -> Resources:
    """Of ``count`` multipliers, which make ``pairs`` pairs (a single one counts as one) with an operand in common."""
    if style == "lut":
        a, b = Number.of(x).bits, Number.of(w).bits
        return Resources(lut=count * multiplier_lut(a, b))
    if style == "dsp":
        return Resources(dsp=count * multiplier_dsp(x.bits, w.bits, part.wide, part.narrow))
    return Resources(lut=pairs * (w.bits + product_bits(x, w)), dsp=pairs)
