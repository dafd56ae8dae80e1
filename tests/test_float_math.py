"""dnncc_math.h against numpy in double precision: the whole range of float32, and what is not finite."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dnncc.ir.types import Array
from dnncc.runtime.toolchain import compile_library

_INCLUDE = Path(__file__).parents[1] / "runtime" / "include"
_COUNT = 200_000


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[float])(x)


# What the header states, in units of the last place.
UNARY: dict[str, tuple[Callable[[Array], Any], float]] = {
    "sqrt": (np.sqrt, 1),
    "exp": (np.exp, 2),
    "expm1": (np.expm1, 3),
    "log": (np.log, 2),
    "log1p": (np.log1p, 3),
    "tanh": (np.tanh, 4),
    "sinh": (np.sinh, 4),
    "cosh": (np.cosh, 4),
    "erf": (_erf, 3),
    "sin": (np.sin, 3),
    "cos": (np.cos, 3),
    "tan": (np.tan, 5),
    "asin": (np.arcsin, 4),
    "acos": (np.arccos, 4),
    "atan": (np.arctan, 3),
    "asinh": (np.arcsinh, 5),
    "acosh": (np.arccosh, 5),
    "atanh": (np.arctanh, 5),
    "floor": (np.floor, 0),
    "ceil": (np.ceil, 0),
    "trunc": (np.trunc, 0),
    "nearbyint": (np.rint, 0),
    "fabs": (np.abs, 0),
}
BINARY: dict[str, tuple[Callable[[Array, Array], Any], float]] = {
    "pow": (np.power, 1),
    "fmod": (np.fmod, 0),
}
SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        2,
        -2,
        3,
        1e-45,
        -1e-45,
        1.17549435e-38,
        3.4e38,
        -3.4e38,
        np.inf,
        -np.inf,
        np.nan,
    ],
    np.float32,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Each function over an array."""
    folder = tmp_path_factory.mktemp("math")
    text = '#include "dnncc_math.h"\n'
    for name in (*UNARY, *BINARY):
        arguments = "x[i], y[i]" if name in BINARY else "x[i]"
        head = f"void run_{name}(const float *x, const float *y, float *z, int32_t n)"
        text += f"{head};\n{head} {{\n    int32_t i;\n    (void)y;\n"
        text += f"    for (i = 0; i < n; ++i) {{\n        z[i] = dnncc_{name}f({arguments});\n    }}\n}}\n"
    for header in ("dnncc.h", "dnncc_math.h"):
        (folder / header).write_text((_INCLUDE / header).read_text())
    source = folder / "run.c"
    source.write_text(text)
    return ctypes.CDLL(str(compile_library([source], "run")))


def call(library: ctypes.CDLL, name: str, x: Array, y: Array) -> Array:
    z = np.empty_like(x)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, y, z)]
    getattr(library, f"run_{name}")(*pointers, ctypes.c_int32(x.size))
    return z


def ulps(found: Array, exact: Array) -> Array:
    """The error in units of the last place of the exact result; 0 where neither is finite and both agree."""
    with np.errstate(all="ignore"):
        wanted = exact.astype(np.float32)
        unit = np.spacing(np.minimum(np.abs(wanted), np.finfo(np.float32).max)).astype(np.float64)
        error = np.abs(found.astype(np.float64) - exact) / unit
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    finite = np.isfinite(wanted) & np.isfinite(found)
    # The largest number and infinity are neighbours.
    edge = np.isinf(wanted) ^ np.isinf(found)
    near = edge & (np.abs(np.where(np.isinf(found), exact, found)) > 3.40282e38)
    return np.where(same | near, 0.0, np.where(finite, error, np.inf))


def arguments(seed: int) -> Array:
    """Every exponent alike, both signs; numbers of everyday size; the special ones."""
    rng = np.random.default_rng(seed)
    anything = rng.integers(0, 1 << 32, _COUNT, np.uint32).view(np.float32)
    usual = (rng.standard_normal(_COUNT) * 10.0 ** rng.integers(-3, 3, _COUNT)).astype(np.float32)
    multiples = (np.arange(-20_000, 20_000) * (np.pi / 4)).astype(np.float32)
    halves = np.arange(-300, 300, 0.5).astype(np.float32)
    edges = np.nextafter(halves, np.float32(np.inf))
    return np.concatenate([SPECIAL, anything, usual, multiples, halves, edges])


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(name: str, library: ctypes.CDLL) -> None:
    function, bound = UNARY[name]
    x = arguments(0)
    with np.errstate(all="ignore"):
        exact = np.asarray(function(x.astype(np.float64)))
    error = ulps(call(library, name, x, x), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}"


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(name: str, library: ctypes.CDLL) -> None:
    function, bound = BINARY[name]
    x, y = arguments(1), arguments(2)
    half = x.size // 2
    # Also powers of numbers near 1, and every pair of special numbers.
    x[half:] = 1 + x[half:] / (1 + np.abs(x[half:])) / 2
    a, b = (grid.reshape(-1) for grid in np.meshgrid(SPECIAL, SPECIAL))
    x, y = np.concatenate([x, a]), np.concatenate([y, b])
    with np.errstate(all="ignore"):
        exact = np.asarray(function(x.astype(np.float64), y.astype(np.float64)))
    error = ulps(call(library, name, x, y), exact)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}, {y[worst]!r}"
