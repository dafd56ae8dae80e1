"""Samples of integer normalizations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from dnncc.ops.normalize_int import MAX_EPSILON, NormalizeInt

from op_samples.case import Case, integers


def normalizations() -> Iterator[Case]:
    for dtype in ("int8", "uint8", "int16"):
        yield Case(NormalizeInt((2,), 7), [integers(dtype, 2, 3, 12)])
        yield Case(NormalizeInt((1, 2), 0), [integers(dtype, 2, 3, 4)])
        yield Case(NormalizeInt((0, 2), 3, False), [integers(dtype, 2, 3, 5)])
        yield Case(NormalizeInt((1,)), [integers(dtype, 3, 1)])
        yield Case(NormalizeInt((0,), MAX_EPSILON, False), [integers(dtype, 1)])
        yield Case(NormalizeInt((0,), 1), [np.full(9, np.iinfo(dtype).max, dtype)])
        yield Case(NormalizeInt((0,), 0, False), [np.zeros(9, dtype)])
    yield Case(NormalizeInt((1,), 5), [integers("int16", 2, 16384)])
    yield Case(NormalizeInt((1,), 5, False), [np.full((1, 16384), -32768, np.int16)])
    yield Case(NormalizeInt((1, 2), 1 << 40), [integers("uint8", 1, 300, 300, 2)])


SAMPLES = {"normalize_int": list(normalizations())}
