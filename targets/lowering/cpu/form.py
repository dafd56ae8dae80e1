"""How activations and weights are multiplied: the forms of ``dnncc_cpu.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dnncc.ir.graph import Const, Node
from dnncc.ir.types import Array, DType
from dnncc.runtime.cpus import Cpu
from dnncc.targets.lowering.kernels.common import BYTE_TYPES


@dataclass(frozen=True)
class Form:
    """One way to multiply and add.

    Attributes:
        name: such as "u8x4".
        dtype: of an activation in memory.
        group: products per lane and step.
        sums: type of the sums.
    """

    name: str
    dtype: str
    group: int
    sums: str

    def zero(self, dtype: DType) -> int:
        """What is added to an activation of that type so that it is in this form's range."""
        if self.name == "u8x4" and dtype is DType.I8:
            return 128
        return -128 if self.name == "i8x4" and dtype is DType.U8 else 0

    def takes(self, dtype: DType) -> bool:
        """Whether activations of that type are multiplied as they are."""
        return dtype.numpy.name == self.dtype


_MOST_PRODUCTS = (1 << 30) // (255 * 128)
FORMS = {
    "f32": Form("f32", "float32", 1, "float32"),
    "i16x2": Form("i16x2", "int16", 2, "int32"),
    "u8x4": Form("u8x4", "uint8", 4, "int32"),
    "i8x4": Form("i8x4", "int8", 4, "int32"),
}


def form_of(anchor: Node, cpu: Cpu) -> Form | None:
    """The form for a node with operands x, w and b; None where weights are computed or types are others."""
    x, w, b = anchor.inputs
    if not isinstance(w, Const) or not isinstance(b, Const):
        return None
    types = x.type.dtype, w.type.dtype, b.type.dtype
    if types == (DType.F32,) * 3:
        return FORMS["f32"]
    if x.type.dtype in BYTE_TYPES and types[1:] == (DType.I8, DType.I32):
        # Moved activations have another sign: so many products of them still fit a sum.
        fits = w.data[0].size <= _MOST_PRODUCTS or not FORMS[cpu.dot].zero(x.type.dtype)
        return FORMS[cpu.dot] if fits else None
    return None


def moved_bias(anchor: Node, form: Form) -> Array:
    """The bias [O] that makes up for activations with ``Form.zero`` added."""
    x, w, b = anchor.inputs
    assert isinstance(w, Const) and isinstance(b, Const)
    zero = form.zero(x.type.dtype)
    if not zero:
        return b.data
    total = w.data.reshape(w.data.shape[0], -1).astype(np.int64).sum(1)
    return np.asarray(b.data - zero * total).astype(b.data.dtype)
