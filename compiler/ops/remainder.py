"""Remainder of a division."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType
from dnncc.ops.elementwise import NUMBERS, Binary


@dataclass(frozen=True)
class Mod(Binary):
    """The remainder of a / b, broadcast; 0 for integers divided by zero. Operands: both f32, or both of one integer
    type.

    Attributes:
        truncated: the sign is that of a, as in C; else that of b, as in Python.
    """

    name: ClassVar[str] = "mod"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS
    truncated: bool = True

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        function = np.fmod if self.truncated else np.remainder
        if a.dtype.kind == "f":
            with np.errstate(all="ignore"):
                return [np.asarray(function(a, b))]
        with np.errstate(divide="ignore", over="ignore"):
            return [np.asarray(np.where(b == 0, 0, function(a, b)), a.dtype)]

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import const, libm, tirx

        dtype = str(b.ty.dtype)
        zero = const(0, dtype)
        if dtype == "float32":
            rest = libm("fmod", a, b)
            if self.truncated:
                return rest
            # A remainder of zero has the divisor's sign, too.
            signed = tirx.Select(b < zero, const(-0.0, dtype), zero)
            other = tirx.Select(_opposite(rest, b, zero), rest + b, rest)
            return tirx.Select(rest == zero, signed, other)
        rest = tirx.truncmod(a, b)
        if dtype.startswith("u"):
            return tirx.if_then_else(b == zero, zero, rest)
        if not self.truncated:
            rest = tirx.Select(_opposite(rest, b, zero), rest + b, rest)
        # What remains of a division by -1 is 0; C leaves it undefined for the smallest number.
        return tirx.if_then_else(tirx.any(b == zero, b == const(-1, dtype)), zero, rest)


def _opposite(a: Any, b: Any, zero: Any) -> Any:
    """Whether one is negative and the other positive."""
    from dnncc.targets.lowering.api import tirx

    return tirx.any(tirx.all(a < zero, b > zero), tirx.all(a > zero, b < zero))


@onnx_op("Mod")
def import_mod(g: Importer, node: OnnxNode) -> Value:
    a, b = node.value(0), node.value(1)
    return g.emit(Mod(bool(node.int("fmod", 0))), [a, b])
