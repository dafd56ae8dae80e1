"""Paths of integers and booleans between floats: rounded, computed with, compared, cast back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

if TYPE_CHECKING:
    from fuzz.network import Network

KINDS = (TensorProto.INT32, TensorProto.INT64, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16)
NUMPY = {
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.INT8: np.int8,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT16: np.int16,
}


def _integers(n: Network, x: str, kind: int) -> str:
    """Small integers of x; what casts of larger floats give is not defined."""
    low = 0.0 if kind == TensorProto.UINT8 else -9.0
    scaled = n.emit("Mul", [x, n.const(np.float32(n.one_of(1, 3)))])
    bounded = n.emit("Clip", [scaled, n.const(np.float32(low)), n.const(np.float32(9))])
    return n.emit("Cast", [n.emit(n.one_of("Round", "Floor", "Identity"), [bounded])], to=kind)


def arithmetic(n: Network, x: str) -> str:
    kind = n.one_of(*KINDS)
    y = _integers(n, x, kind)
    shape = tuple(d if n.one_of(0, 1) else 1 for d in n.shape(x))
    for _ in range(n.size(1, 2)):
        op = n.one_of(
            "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Abs", "Neg", "Sign", "Clip", "Where", "Pow"
        )
        low = 1 if op in ("Div", "Mod", "Pow") or kind == TensorProto.UINT8 else -4
        other = n.const(n.rng.integers(low, 4 if op == "Pow" else 6, shape).astype(NUMPY[kind]))
        if op in ("Abs", "Neg", "Sign"):
            y = n.emit(op, [y])
        elif op == "Clip":
            y = n.emit(op, [y, n.const(NUMPY[kind](1)), n.const(NUMPY[kind](5))])
        elif op == "Where":
            y = n.emit(op, [n.emit(n.one_of("Equal", "Less", "Greater"), [y, other]), y, other])
        else:
            y = n.emit(op, [y, other], **({"fmod": 0} if op == "Mod" else {}))
    return n.emit("Cast", [y], to=TensorProto.FLOAT)


def bits(n: Network, x: str) -> str:
    y = _integers(n, x, TensorProto.UINT8)
    other = n.const(n.rng.integers(0, 8, n.shape(x)).astype(np.uint8))
    op = n.one_of("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "BitwiseNot")
    operands = [y] if op == "BitwiseNot" else [y, other]
    y = n.emit(op, operands, **({"direction": n.one_of("LEFT", "RIGHT")} if op == "BitShift" else {}))
    return n.emit("Cast", [y], to=TensorProto.FLOAT)


def rearranged(n: Network, x: str) -> str:
    """Integers moved, reduced, searched."""
    kind = n.one_of(TensorProto.INT32, TensorProto.INT64)
    y = _integers(n, x, kind)
    axis = n.axis(y)
    rank = len(n.shape(y))
    op = n.one_of(
        "Transpose", "Concat", "ReduceSum", "ReduceMax", "ReduceMin", "CumSum", "Slice", "TopK", "ReduceProd"
    )
    if op == "Transpose":
        y = n.emit(op, [y], perm=n.shuffled(range(rank)))
    elif op == "Concat":
        y = n.emit(op, [y, y], axis=axis)
    elif op == "CumSum":
        y = n.emit(op, [y, n.const(np.int64(axis))])
    elif op == "Slice":
        y = n.emit(op, [y, n.ints(0), n.ints(n.size(1, n.shape(y)[axis])), n.ints(axis)])
    elif op == "TopK":
        y = n.emit_all(op, [y, n.ints(n.size(1, n.shape(y)[axis]))], 2, axis=axis)[n.one_of(0, 1)]
    else:
        y = n.emit(op, [y, n.ints(axis)], keepdims=n.one_of(0, 1))
    return n.emit("Cast", [y], to=TensorProto.FLOAT)


def looked_up(n: Network, x: str) -> str:
    """Indices that the network computes."""
    shape = n.shape(x)
    axis = n.axis(x)
    index = n.emit(n.one_of("ArgMax", "ArgMin"), [x], axis=axis, keepdims=n.one_of(0, 1))
    op = n.one_of("Gather", "GatherElements", "OneHot", "GatherND")
    if op == "Gather":
        return n.emit(op, [n.weights(shape[axis], n.size(1, 4)), index], axis=0)
    if op == "OneHot":
        values = n.const(np.array([n.real(-1, 0), n.real(0, 1)], np.float32))
        return n.emit(op, [index, n.const(np.array(shape[axis])), values], axis=n.one_of(-1, 0))
    if op == "GatherElements":
        kept = n.emit("ArgMax", [x], axis=axis, keepdims=1)
        return n.emit(op, [x, kept], axis=axis)
    last = n.emit("Unsqueeze", [index, n.ints(len(n.shape(index)))])
    return n.emit(op, [n.weights(shape[axis], n.size(1, 4)), last])


INTEGERS = (arithmetic, arithmetic, bits, rearranged, looked_up)
