"""Samples of functions as tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ir import Array, DType
from dnncc.ops.interpolate import SEGMENTS, Interpolate
from dnncc.ops.lookup import Lookup

from op_samples.case import Case, Fixed, integers

EVERY_BYTE = {"int8": np.arange(-128, 128, dtype=np.int8), "uint8": np.arange(256, dtype=np.uint8)}


def lookups() -> Iterator[Case]:
    for dtype, every in EVERY_BYTE.items():
        for entries in ("int8", "uint8", "int16", "uint16", "int32"):
            yield Case(Lookup(), [every, Fixed(integers(entries, 256))])
        yield Case(Lookup(), [integers(dtype, 2, 3, 4, 5), Fixed(integers("int8", 256))])
        yield Case(Lookup(), [integers(dtype), Fixed(integers("uint8", 256))])
        yield Case(Lookup(), [integers(dtype, 3, 256), integers("int8", 256)])


def interpolations() -> Iterator[Case]:
    every = np.arange(-32768, 32768).astype(np.int16)
    for dtype, fraction, limit in ((DType.I8, 8, 32512), (DType.U8, 7, 32640), (DType.I16, 0, 32767)):
        for x in (every, integers("int16", 2, 1, 5), integers("int16")):
            yield Case(Interpolate(dtype, fraction), [x, Fixed(entries(dtype, limit))])
    yield Case(Interpolate(DType.I8, 3), [every, entries(DType.I8, 127 * 8)])


def entries(dtype: DType, limit: int) -> Array:
    """Jumps from one end to the other, and anything between."""
    low = 0 if dtype is DType.U8 else -limit
    table = np.random.default_rng(0).integers(low, limit, SEGMENTS + 1, endpoint=True)
    table[:9] = [low, limit] * 4 + [low]
    return table.astype(np.int16)


SAMPLES = {"lookup": list(lookups()), "interpolate": list(interpolations())}
