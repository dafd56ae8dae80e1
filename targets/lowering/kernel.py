"""What a lowering strategy produces: one scheduled function and what the planner must know about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dnncc.ir.types import Array


@dataclass(frozen=True)
class Kernel:
    """A scheduled group.

    Attributes:
        strategy: which schedule was used, for reports.
        function: the scheduled TIR function; parameters are the group's inputs, then constants, then outputs.
        constants: the packed constants, in parameter order.
        overlaps: per (output, input) index pair the smallest distance d, in bytes, such that the output may start d
            or more bytes below the input although both are live; pairs that are absent must be disjoint.
    """

    strategy: str
    function: Any
    constants: tuple[Array, ...]
    overlaps: Mapping[tuple[int, int], int]


def overlap_distance(
    reads_from: Sequence[int] | Array, writes_to: Sequence[int] | Array, input_bytes: int, buffered: bool
) -> int:
    """The distance at which an output may be laid over an input without a byte being overwritten before it is read.

    Args:
        reads_from: per step, the lowest input byte (offset) that the step reads.
        writes_to: per step, one past the highest output byte that the step writes.
        input_bytes: size of the input.
        buffered: a step reads all that it needs before it writes (it works on a copy).

    Returns:
        The smallest d such that ``output + d <= input`` is safe; at least ``-input_bytes``, where anything is.
    """
    needed = np.minimum.accumulate(np.asarray(reads_from, np.int64)[::-1])[::-1]
    written = np.maximum.accumulate(np.asarray(writes_to, np.int64))
    gaps = written[:-1] - needed[1:] if buffered else written - needed
    return int(max(-input_bytes, *gaps.tolist())) if gaps.size else -input_bytes
