"""Tensor intrinsics: the loop nests that become one call of a kernel in ``dnncc.h``.

Each is a pair of TIR functions, what is computed (``desc``) and the call that computes it (``impl``), made for
constant sizes and registered with TVM under a name that carries them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tvm import s_tir
from tvm.script import tirx as T


def _register(name: str, desc: Any, impl: Any) -> str:
    s_tir.TensorIntrin.register(name, desc, impl, override=True)
    return name


def _suffix(dtype: str) -> str:
    return {"uint8": "u8", "int8": "i8"}[dtype]


@cache
def dot(pixels: int, words: int) -> str:
    """``acc[pixel, channel] += sum x[word, half, pixel, pair] * w[word, channel, half + 2 * pair]``."""
    function = f"dnncc_dot_{pixels}x2"

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        W = T.match_buffer(w, (words, 2, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (pixels, 2), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels, 0:2], X[0:words, 0:2, 0:pixels, 0:2], W[0:words, 0:2, 0:4])
            T.writes(A[0:pixels, 0:2])
            for p, c, g, h, j in T.grid(pixels, 2, words, 2, 2):
                with T.sblock("dot"):
                    vp, vc, vg, vh, vj = T.axis.remap("SSRRR", [p, c, g, h, j])
                    A[vp, vc] = A[vp, vc] + T.Cast("int32", X[vg, vh, vp, vj]) * T.Cast(
                        "int32", W[vg, vc, vj * 2 + vh]
                    )

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        W = T.match_buffer(w, (words, 2, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (pixels, 2), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels, 0:2], X[0:words, 0:2, 0:pixels, 0:2], W[0:words, 0:2, 0:4])
            T.writes(A[0:pixels, 0:2])
            T.evaluate(
                T.call_extern(
                    "int32",
                    function,
                    T.address_of(A[0, 0]),
                    T.address_of(X[0, 0, 0, 0]),
                    T.address_of(W[0, 0, 0]),
                    words,
                )
            )

    return _register(f"{function}_{words}", desc, impl)


@cache
def low_dot(pixels: int, words: int, bits: int) -> str:
    """``acc[pixel, channel] += sum x[word, half, pixel, pair] * field(w)``, fields as ``low_bits.pack`` stores them."""
    function = f"dnncc_dot_{pixels}x2_w{bits}"
    shared = 4 // bits
    stored = -(-words // shared)
    mask = T.uint32((1 << bits) - 1)

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        W = T.match_buffer(w, (stored,), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (pixels, 2), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels, 0:2], X[0:words, 0:2, 0:pixels, 0:2], W[0:stored])
            T.writes(A[0:pixels, 0:2])
            for p, c, g, h, j in T.grid(pixels, 2, words, 2, 2):
                with T.sblock("dot"):
                    vp, vc, vg, vh, vj = T.axis.remap("SSRRR", [p, c, g, h, j])
                    A[vp, vc] = A[vp, vc] + T.Cast("int32", X[vg, vh, vp, vj]) * T.Cast(
                        "int32",
                        T.bitwise_and(
                            T.shift_right(
                                W[vg // shared],
                                T.Cast("uint32", vc * bits + vh * (2 * bits) + vj * 16 + vg % shared * 8),
                            ),
                            mask,
                        ),
                    )

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        W = T.match_buffer(w, (stored,), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (pixels, 2), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels, 0:2], X[0:words, 0:2, 0:pixels, 0:2], W[0:stored])
            T.writes(A[0:pixels, 0:2])
            T.evaluate(
                T.call_extern(
                    "int32",
                    function,
                    T.address_of(A[0, 0]),
                    T.address_of(X[0, 0, 0, 0]),
                    T.address_of(W[0]),
                    words,
                )
            )

    return _register(f"{function}_{words}", desc, impl)


@cache
def totals(pixels: int, words: int, scale: int) -> str:
    """``acc[pixel] += sum scale * x[word, half, pixel, pair]``."""
    function = f"dnncc_totals_{pixels}"

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        A = T.match_buffer(acc, (pixels,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels], X[0:words, 0:2, 0:pixels, 0:2])
            T.writes(A[0:pixels])
            for p, g, h, j in T.grid(pixels, words, 2, 2):
                with T.sblock("total"):
                    vp, vg, vh, vj = T.axis.remap("SRRR", [p, g, h, j])
                    A[vp] = A[vp] + T.Cast("int32", X[vg, vh, vp, vj]) * scale

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words, 2, pixels, 2), "int16", offset_factor=1)
        A = T.match_buffer(acc, (pixels,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:pixels], X[0:words, 0:2, 0:pixels, 0:2])
            T.writes(A[0:pixels])
            T.evaluate(
                T.call_extern(
                    "int32", function, T.address_of(A[0]), T.address_of(X[0, 0, 0, 0]), words, scale
                )
            )

    return _register(f"{function}_{words}_{scale}", desc, impl)


@cache
def dot_1x4(words: int, dtype: str) -> str:
    """``acc[row] += sum x[4 * word + byte] * w[word, row, byte]``."""
    function = f"dnncc_dot_1x4_{_suffix(dtype)}"

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        W = T.match_buffer(w, (words, 4, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0 : words * 4], W[0:words, 0:4, 0:4])
            T.writes(A[0:4])
            for r, g, i in T.grid(4, words, 4):
                with T.sblock("dot"):
                    vr, vg, vi = T.axis.remap("SRR", [r, g, i])
                    A[vr] = A[vr] + T.Cast("int32", X[vg * 4 + vi]) * T.Cast("int32", W[vg, vr, vi])

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        W = T.match_buffer(w, (words, 4, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0 : words * 4], W[0:words, 0:4, 0:4])
            T.writes(A[0:4])
            T.evaluate(
                T.call_extern(
                    "int32", function, T.address_of(A[0]), T.address_of(X[0]), T.address_of(W[0, 0, 0]), words
                )
            )

    return _register(f"{function}_{words}", desc, impl)


@cache
def low_dot_1x4(words: int, dtype: str, bits: int) -> str:
    """``acc[row] += sum x[4 * word + byte] * field(w)``, two words of ``low_bits.pack`` for four rows."""
    function = f"dnncc_dot_1x4_{_suffix(dtype)}_w{bits}"
    stored = -(-words * bits // 4)
    shared = 4 // bits
    mask = T.uint32((1 << bits) - 1)

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        W = T.match_buffer(w, (stored, 2), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0 : words * 4], W[0:stored, 0:2])
            T.writes(A[0:4])
            for r, g, i in T.grid(4, words, 4):
                with T.sblock("dot"):
                    vr, vg, vi = T.axis.remap("SRR", [r, g, i])
                    A[vr] = A[vr] + T.Cast("int32", X[vg * 4 + vi]) * T.Cast(
                        "int32",
                        T.bitwise_and(
                            T.shift_right(
                                W[vg // shared, vr // 2],
                                T.Cast(
                                    "uint32",
                                    vr % 2 * bits + vi % 2 * (2 * bits) + vi // 2 * 16 + vg % shared * 8,
                                ),
                            ),
                            mask,
                        ),
                    )

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        W = T.match_buffer(w, (stored, 2), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0 : words * 4], W[0:stored, 0:2])
            T.writes(A[0:4])
            T.evaluate(
                T.call_extern(
                    "int32", function, T.address_of(A[0]), T.address_of(X[0]), T.address_of(W[0, 0]), words
                )
            )

    return _register(f"{function}_{words}", desc, impl)


@cache
def widen(pixels: int, words: int, dtype: str) -> str:
    """``pairs[word, half, pair] = x[4 * word + half + 2 * pair]`` in 16 bits, for one pixel of a tile."""
    function = f"dnncc_widen_{_suffix(dtype)}"

    @T.prim_func(s_tir=True)
    def desc_words(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        Y = T.match_buffer(
            y, (words, 2, 1, 2), "int16", offset_factor=1, strides=[4 * pixels, 2 * pixels, 2, 1]
        )
        with T.sblock("root"):
            T.reads(X[0 : words * 4])
            T.writes(Y[0:words, 0:2, 0, 0:2])
            for g, h, j in T.grid(words, 2, 2):
                with T.sblock("widen"):
                    vg, vh, vj = T.axis.remap("SSS", [g, h, j])
                    Y[vg, vh, 0, vj] = T.Cast("int16", X[vg * 4 + vj * 2 + vh])

    # A loop of one iteration is no loop to the matcher.
    @T.prim_func(s_tir=True)
    def desc_word(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (4,), dtype, offset_factor=1)
        Y = T.match_buffer(y, (1, 2, 1, 2), "int16", offset_factor=1, strides=[4 * pixels, 2 * pixels, 2, 1])
        with T.sblock("root"):
            T.reads(X[0:4])
            T.writes(Y[0, 0:2, 0, 0:2])
            for h, j in T.grid(2, 2):
                with T.sblock("widen"):
                    vh, vj = T.axis.remap("SS", [h, j])
                    Y[0, vh, 0, vj] = T.Cast("int16", X[vj * 2 + vh])

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (words * 4,), dtype, offset_factor=1)
        Y = T.match_buffer(
            y, (words, 2, 1, 2), "int16", offset_factor=1, strides=[4 * pixels, 2 * pixels, 2, 1]
        )
        with T.sblock("root"):
            T.reads(X[0 : words * 4])
            T.writes(Y[0:words, 0:2, 0, 0:2])
            T.evaluate(
                T.call_extern(
                    "int32", function, T.address_of(Y[0, 0, 0, 0]), T.address_of(X[0]), words, pixels
                )
            )

    return _register(f"{function}_{words}x{pixels}", desc_words if words > 1 else desc_word, impl)


@cache
def depthwise_3x3(row: int, column: int, dtype: str) -> str:
    """Four channels of one output pixel of a 3x3 depthwise convolution over padded rows.

    ``acc[c] += sum x[kh, kw, c] * w[kh, kw, c]``; a row of x is ``row`` bytes
    further, a column ``column`` bytes.
    """
    function = f"dnncc_dw_3x3_{_suffix(dtype)}"

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (3, 3, 4), dtype, offset_factor=1, strides=[row, column, 1])
        W = T.match_buffer(w, (3, 3, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0:3, 0:3, 0:4], W[0:3, 0:3, 0:4])
            T.writes(A[0:4])
            for c, kh, kw in T.grid(4, 3, 3):
                with T.sblock("taps"):
                    vc, vkh, vkw = T.axis.remap("SRR", [c, kh, kw])
                    A[vc] = A[vc] + T.Cast("int32", X[vkh, vkw, vc]) * T.Cast("int32", W[vkh, vkw, vc])

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (3, 3, 4), dtype, offset_factor=1, strides=[row, column, 1])
        W = T.match_buffer(w, (3, 3, 4), "int8", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0:3, 0:3, 0:4], W[0:3, 0:3, 0:4])
            T.writes(A[0:4])
            T.evaluate(
                T.call_extern(
                    "int32",
                    function,
                    T.address_of(A[0]),
                    T.address_of(X[0, 0, 0]),
                    T.address_of(W[0, 0, 0]),
                    row,
                    column,
                )
            )

    return _register(f"{function}_{row}_{column}", desc, impl)


@cache
def low_depthwise_3x3(row: int, column: int, dtype: str) -> str:
    """The same with weights of 4 bits, two taps in a word: see ``low_bits.pack_taps``."""
    function = f"dnncc_dw_3x3_{_suffix(dtype)}_w4"
    mask, sign = T.uint32(15), T.int32(8)

    @T.prim_func(s_tir=True)
    def desc(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (3, 3, 4), dtype, offset_factor=1, strides=[row, column, 1])
        W = T.match_buffer(w, (5,), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0:3, 0:3, 0:4], W[0:5])
            T.writes(A[0:4])
            for c, kh, kw in T.grid(4, 3, 3):
                with T.sblock("taps"):
                    vc, vkh, vkw = T.axis.remap("SRR", [c, kh, kw])
                    A[vc] = A[vc] + T.Cast("int32", X[vkh, vkw, vc]) * (
                        T.bitwise_xor(
                            T.Cast(
                                "int32",
                                T.bitwise_and(
                                    T.shift_right(
                                        W[(vkh * 3 + vkw) // 2],
                                        T.Cast("uint32", vc * 8 + (vkh * 3 + vkw + 1) % 2 * 4),
                                    ),
                                    mask,
                                ),
                            ),
                            sign,
                        )
                        - sign
                    )

    @T.prim_func(s_tir=True)
    def impl(x: T.handle, w: T.handle, acc: T.handle) -> None:
        X = T.match_buffer(x, (3, 3, 4), dtype, offset_factor=1, strides=[row, column, 1])
        W = T.match_buffer(w, (5,), "uint32", offset_factor=1)
        A = T.match_buffer(acc, (4,), "int32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(A[0:4], X[0:3, 0:3, 0:4], W[0:5])
            T.writes(A[0:4])
            T.evaluate(
                T.call_extern(
                    "int32",
                    function,
                    T.address_of(A[0]),
                    T.address_of(X[0, 0, 0]),
                    T.address_of(W[0]),
                    row,
                    column,
                )
            )

    return _register(f"{function}_{row}_{column}", desc, impl)
