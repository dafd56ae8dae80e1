"""Control flow with known conditions and counts, and values that are only shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from fuzz.network import Network

ARITHMETIC = ("Add", "Sub", "Mul", "Min", "Max")


def choose(n: Network, x: str) -> str:
    """If with a known condition; branches read values from outside."""
    rank, other = len(n.shape(x)), n.like(x)
    branches = {}
    for name, node in (
        ("then_branch", helper.make_node(n.one_of(*ARITHMETIC), [x, other], ["chosen"])),
        ("else_branch", helper.make_node(n.one_of("Relu", "Neg", "Sigmoid"), [x], ["chosen"])),
    ):
        info = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [None] * rank)
        branches[name] = helper.make_graph([node], name, [], [info])
    condition = n.const(np.array(n.one_of(False, True)))
    return n.emit("If", [condition], captured=[x, other], **branches)


def repeat_body(n: Network, x: str) -> str:
    """Loop with a known count: a state that runs through, and a value per round."""
    rank, scans = len(n.shape(x)), n.one_of(0, 1) and len(n.shape(x)) < 4
    factor = n.const(np.float32(n.real(0.3, 0.9)))
    nodes = [
        helper.make_node("Mul", ["state", factor], ["scaled"]),
        helper.make_node(n.one_of("Add", "Max"), ["scaled", x], ["next"]),
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Tanh", ["next"], ["seen"]),
    ]
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
        for name in ("state", "next", "seen")
    ]
    body = helper.make_graph(
        nodes[: 4 if scans else 3],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            floats[0],
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            floats[1],
            *(floats[2:] if scans else []),
        ],
    )
    operands = [n.const(np.array(n.size(1, 4))), n.const(np.array(True)), n.like(x)]
    return n.emit_all("Loop", operands, 2 if scans else 1, captured=[x, factor], body=body)[-1]


def scan(n: Network, x: str) -> str:
    """Scan over the first axis, with a running state."""
    shape = n.shape(x)
    if len(shape) < 2:
        return choose(n, x)
    state = n.const(np.zeros(shape[1:], np.float32))
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape[1:])
        for name in ("old", "row", "new", "seen")
    ]
    nodes = [
        helper.make_node(n.one_of("Add", "Max", "Min"), ["old", "row"], ["new"]),
        helper.make_node("Identity", ["new"], ["seen"]),
    ]
    body = helper.make_graph(nodes, "body", infos[:2], infos[2:])
    options = {"scan_input_directions": [n.one_of(0, 1)], "scan_output_directions": [n.one_of(0, 1)]}
    return n.emit_all("Scan", [state, x], 2, body=body, num_scan_inputs=1, **options)[n.one_of(0, 1)]


def reshape_by_shape(n: Network, x: str) -> str:
    """The shape is taken apart and put together at run time, as exporters write it."""
    shape = n.shape(x)
    if len(shape) < 2:
        return choose(n, x)
    whole = n.emit("Shape", [x])
    kept = n.emit("Gather", [whole, n.ints(0)], axis=0)
    if n.one_of(0, 1):
        return n.emit("Reshape", [x, n.emit("Concat", [kept, n.ints(-1)], axis=0)])
    rest = n.emit("Slice", [whole, n.ints(1), n.ints(len(shape)), n.ints(0)])
    rows = n.emit("ReduceProd", [rest, n.ints(0)], keepdims=1)
    return n.emit("Reshape", [x, n.emit("Concat", [rows, kept], axis=0)])


def filled(n: Network, x: str) -> str:
    """A constant of a value's shape, and a row of counted numbers, beside it."""
    shape = n.shape(x)
    if not shape:
        return choose(n, x)
    whole = n.emit("Shape", [x])
    if n.one_of(0, 1):
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [n.real(-1, 1)])
        return n.emit(n.one_of("Add", "Mul"), [x, n.emit("ConstantOfShape", [whole], value=value)])
    last = n.emit("Squeeze", [n.emit("Gather", [whole, n.ints(len(shape) - 1)], axis=0), n.ints(0)])
    row = n.emit("Range", [n.const(np.array(0)), last, n.const(np.array(1))])
    return n.emit(n.one_of("Add", "Mul"), [x, n.emit("Cast", [row], to=TensorProto.FLOAT)])


CONTROL = (choose, repeat_body, scan, reshape_by_shape, filled)
