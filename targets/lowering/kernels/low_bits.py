"""Weights of 4 and 2 bits, packed in flash for the SMLAD-class kernels.

A word holds what two channels have for four inputs (4 bits), or for two times four (2 bits), as unsigned fields: the
weight plus half of the range. One AND with a shifted operand gives a pair of weights in 16-bit halves, as one SXTB16
does for bytes, so that unpacking costs nothing; what the products are too large by is the same for all channels, half
of the range times the sum of the inputs, and the sums start lower by that much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dnncc.ir.types import Array
from tvm import te, tirx

MOST_INPUTS = 1 << 16
"""Sums over more inputs keep bytes: no partial sum of unsigned fields can leave 32 bits up to there."""


def stored_bits(weights: Array) -> int:
    """Bits of a stored weight: 8, 4 or 2. Weights [O, ...]."""
    inputs = weights[0].size
    low, high = (int(weights.min()), int(weights.max())) if weights.size else (-128, 127)
    if inputs > MOST_INPUTS:
        return 8
    return next((bits for bits in (2, 4) if low >= -excess_of(bits) and high < excess_of(bits)), 8)


def excess_of(bits: int) -> int:
    """What is added to a weight before it is stored."""
    return 1 << (bits - 1)


def words_of(words: int, bits: int) -> int:
    """How many words hold what two channels have for ``words`` times four inputs."""
    return -(-words * bits // 4)


def pack(weights: Array, bits: int) -> Array:
    """[..., words, 2, 4] bytes of two channels -> uint32 [..., words_of(words, bits)].

    Input k = h + 2 j of channel c of word g is the field at bit ``bits * (c + 2 h) + 16 j``, and 8 higher in the second
    of two words that share one.
    """
    *outer, words, _, _ = weights.shape
    shared = 4 // bits
    fields = (weights.astype(np.int64) + excess_of(bits)).reshape(*outer, words, 2, 2, 2)
    channel, j, h = np.ogrid[0:2, 0:2, 0:2]
    whole = (fields << (bits * (channel + 2 * h) + 16 * j)).sum(axis=(-3, -2, -1))
    short = [(0, 0)] * len(outer) + [(0, -words % shared)]
    whole = np.pad(whole, short).reshape(*outer, -1, shared) << (8 * np.arange(shared))
    packed: Array = whole.sum(axis=-1).astype(np.uint32)
    return packed


def pack_taps(weights: Array) -> Array:
    """3x3 depthwise weights of 4 bits, [C/4, 9, 4], four channels side by side -> uint32 [C/4, 5].

    Two taps share a word: the first is in the upper halves of its bytes, the second in the lower ones. A mask leaves
    signed bytes, 16 times the weights.
    """
    fields = np.pad(weights.astype(np.int64) & 15, [(0, 0), (0, 1), (0, 0)]).reshape(-1, 5, 2, 4)
    second, channel = np.ogrid[0:2, 0:4]
    packed: Array = (fields << (8 * channel + 4 * (1 - second))).sum(axis=(2, 3)).astype(np.uint32)
    return packed


def tap(load: Callable[[Any], Any], index: Any, channel: Any) -> Any:
    """A weight as int32: TE of what ``pack_taps`` says; ``load`` gives the stored word of an index."""
    at = channel * 8 + te.indexmod(index + 1, 2) * 4
    mask, sign = tirx.const(15, "uint32"), tirx.const(8, "int32")
    stored = tirx.bitwise_and(tirx.shift_right(load(te.indexdiv(index, 2)), at.astype("uint32")), mask)
    return tirx.bitwise_xor(stored.astype("int32"), sign) - sign


def field(load: Callable[[Any], Any], word: Any, channel: Any, h: Any, j: Any, bits: int) -> Any:
    """The stored field as int32: TE of what ``pack`` says.

    Args:
        load: gives the stored word of an index.
    """
    shared = 4 // bits
    at = channel * bits + h * (2 * bits) + j * 16 + te.indexmod(word, shared) * 8
    mask = tirx.const((1 << bits) - 1, "uint32")
    stored = load(te.indexdiv(word, shared))
    return tirx.bitwise_and(tirx.shift_right(stored, at.astype("uint32")), mask).astype("int32")
