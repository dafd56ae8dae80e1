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
        truncated: the sign is that of a, as in C; else that of b, as in Python. Floats are always truncated.
    """

    name: ClassVar[str] = "mod"
    dtypes: ClassVar[frozenset[DType]] = NUMBERS
    truncated: bool = True

    def reference(self, *inputs: Array) -> Sequence[Array]:
        a, b = inputs
        if a.dtype.kind == "f":
            return super().reference(a, b)
        function = np.fmod if self.truncated else np.remainder
        with np.errstate(divide="ignore", over="ignore"):
            return [np.asarray(np.where(b == 0, 0, function(a, b)), a.dtype)]

    def apply(self, a: Array, b: Array) -> Array:
        y: Array = np.fmod(a, b)
        return y

    def expr(self, a: Any, b: Any) -> Any:
        from dnncc.targets.lowering.api import const, tirx

        dtype = str(b.ty.dtype)
        if dtype == "float32":
            return tirx.fmod(a, b)
        zero = const(0, dtype)
        rest = tirx.truncmod(a, b)
        if dtype.startswith("u"):
            return tirx.Select(b == zero, zero, rest)
        if not self.truncated:
            differs = tirx.all(rest != zero, (rest < zero) != (b < zero))
            rest = tirx.Select(differs, rest + b, rest)
        # What remains of a division by -1 is 0; C leaves it undefined for the smallest number.
        return tirx.Select(tirx.any(b == zero, b == const(-1, dtype)), zero, rest)


@onnx_op("Mod")
def import_mod(g: Importer, node: OnnxNode) -> Value:
    a, b = node.value(0), node.value(1)
    truncated = bool(node.int("fmod", 0))
    if not truncated and a.type.dtype is DType.F32:
        raise node.invalid("floats without fmod=1")
    return g.emit(Mod(truncated), [a, b])
