"""The TVM names that operators' tensor expressions use. Importing this module imports tvm (seconds): do it late."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

__all__ = ["const", "extern_pure", "f32", "libm", "requantize_expr", "te", "tirx", "to_even_expr"]

_I32 = (-(1 << 31), (1 << 31) - 1)


def const(value: int | float, dtype: str) -> Any:
    """An immediate of a numpy-style type name."""
    return tirx.const(value, dtype)


def extern_pure(dtype: str, function: str, *arguments: Any) -> Any:
    """A call of a side-effect free function of ``dnncc.h``."""
    return tirx.call_pure_extern(dtype, function, *arguments)


def libm(function: str, *arguments: Any) -> Any:
    """A function of C's library in single precision (``expm1``) for which TIR has no name of its own."""
    return tirx.call_pure_extern("float32", f"{function}f", *arguments)


def f32(value: float) -> Any:
    """An immediate in single precision."""
    return tirx.const(value, "float32")


def requantize_expr(
    x: Any, multiplier: Any, shift: int, lo: int, hi: int, dtype: str, zero_point: int = 0
) -> Any:
    """``clamp(((x * multiplier + 2^(shift-1)) >> shift) + zero_point, lo, hi)``, exact, in the cheapest form that
    cannot overflow.

    Four forms, the same bits: two shifts for a multiplier of 1; 32-bit arithmetic where the operands' ranges prove
    that it suffices; the rounding high multiplication (SMMULR) for a shift of 32; a 64-bit product otherwise.
    """

    def finish(y: Any, room: bool) -> Any:
        return _finish(y, lo, hi, dtype, zero_point, room)

    x32 = x.astype("int32")
    if isinstance(multiplier, tirx.IntImm) and int(multiplier) == 1:
        if shift == 0:
            return finish(x32, _magnitude(x) <= 1 << 15)
        if 2 <= shift < 32:
            # ((x >> (s-1)) + 1) >> 1 is the same number, and cannot overflow.
            return finish(((x32 >> (shift - 1)) + 1) >> 1, True)
    bound = _magnitude(x) * (abs(int(multiplier)) if isinstance(multiplier, tirx.IntImm) else 1 << 31)
    rounding = (1 << shift) >> 1
    if bound + rounding <= _I32[1]:
        y = x32 * multiplier
        return finish((y + rounding) >> shift if shift else y, shift > 0)
    if shift == 32:
        return finish(extern_pure("int32", "dnncc_mulhi_round", x32, multiplier), True)
    low, high = _inner(lo, hi, zero_point)
    arguments = (x32, multiplier, const(shift, "int32"), const(low, "int32"), const(high, "int32"))
    y = extern_pure("int32", "dnncc_requantize", *arguments)
    return (y + zero_point if zero_point else y).astype(dtype)


def to_even_expr(
    x: Any, multiplier: Any, shift: int, lo: int, hi: int, dtype: str, zero_point: int = 0
) -> Any:
    """``requantize_expr`` with halves to even: the bit above the point decides, in 64 bits."""
    one = const(1, "int64")
    p = x.astype("int64") * multiplier.astype("int64")
    odd = (p >> const(shift, "int64")) & one
    y = (p + const((1 << shift >> 1) - 1, "int64") + odd) >> const(shift, "int64")
    low, high = (const(end, "int64") for end in _inner(lo, hi, zero_point))
    clamped = te.min(te.max(y, low), high).astype("int32")
    return (clamped + zero_point if zero_point else clamped).astype(dtype)


def _finish(y: Any, lo: int, hi: int, dtype: str, zero_point: int, room: bool) -> Any:
    """``clamp(y + zero_point, lo, hi)``.

    Args:
        room: ``|y|`` is at most 2^30.
    """
    if not zero_point:
        return clamp_expr(y, lo, hi, dtype)
    if room and abs(zero_point) < 1 << 30 and dtype != "int32":
        return clamp_expr(y + zero_point, lo, hi, dtype)
    moved = clamp_expr(y, *_inner(lo, hi, zero_point), "int32") + zero_point
    return moved if dtype == "int32" else moved.astype(dtype)


def _inner(lo: int, hi: int, zero_point: int) -> tuple[int, int]:
    """What ``y`` is clamped to so that ``y + zero_point`` is in lo..hi and fits 32 bits."""
    return max(lo - zero_point, _I32[0]), min(hi - zero_point, _I32[1])


def clamp_expr(y: Any, lo: int, hi: int, dtype: str) -> Any:
    """``y`` (i32) clamped to [lo, hi] as ``dtype``; the whole ranges of u8 and i8 become one saturating instruction."""
    if (lo, hi) == (0, 255) and dtype == "uint8":
        return extern_pure("uint8", "dnncc_sat_u8", y)
    if (lo, hi) == (-128, 127) and dtype == "int8":
        return extern_pure("int8", "dnncc_sat_i8", y)
    if lo > _I32[0]:
        y = te.max(y, const(lo, "int32"))
    if hi < _I32[1]:
        y = te.min(y, const(hi, "int32"))
    return y if dtype == "int32" else y.astype(dtype)


def _magnitude(x: Any) -> int:
    """Largest absolute value of an expression's element type (the operand of a widening cast counts)."""
    if isinstance(x, tirx.Cast):
        return _magnitude(x.value)
    return {"uint8": 255, "int8": 128, "int16": 1 << 15}.get(str(_dtype(x)), 1 << 31)


def _dtype(x: Any) -> str:
    return str(getattr(x, "dtype", "")) or str(x.ty.dtype)
