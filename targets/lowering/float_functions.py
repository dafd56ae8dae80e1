"""The functions of real numbers that generated code may call: TIR's names, and what ``dnncc_math.h`` has for them."""

from __future__ import annotations

ROUNDING = ("floor", "ceil", "trunc", "nearbyint", "fabs", "isnan")
"""A few instructions each."""

COSTLY = (
    *("exp", "expm1", "sqrt", "log", "log1p", "pow", "fmod", "tanh", "sinh", "cosh", "erf"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "asinh", "acosh", "atanh"),
)
"""Dozens of instructions each: a stage that calls one is not computed twice."""

FUNCTIONS = frozenset((*ROUNDING, *COSTLY))
MATH_HEADER = "dnncc_math.h"


def c_function(name: str) -> str:
    """The function in single precision."""
    return f"dnncc_{name}f"


C_FUNCTIONS = frozenset(map(c_function, FUNCTIONS))


def extern_function(name: str) -> str | None:
    """What an external function of single precision, named as in C's library, is: ``expm1f`` is expm1; None for
    others."""
    return name[:-1] if name.endswith("f") and name[:-1] in FUNCTIONS else None
