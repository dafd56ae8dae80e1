"""How a node of the newest opset is spelled in an older one: operands that used to be attributes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from dnncc.ir.types import Array
from onnx import helper

_OPERANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Clip": (11, ("min", "max")),
    "Dropout": (12, ("ratio",)),
    "Pad": (11, ("pads", "value")),
    "ReduceSum": (13, ("axes",)),
    "Slice": (10, ("starts", "ends", "axes")),
    "Split": (13, ("split",)),
    "Squeeze": (13, ("axes",)),
    "TopK": (10, ("k",)),
    "Unsqueeze": (13, ("axes",)),
    "Upsample": (9, ("scales",)),
    **{
        f"Reduce{kind}": (18, ("axes",))
        for kind in ("Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
    },
}
"""Since when all operands but the first are operands, and the attributes they were before."""


def spelled(node: onnx.NodeProto, opset: int, constants: Mapping[str, Array]) -> onnx.NodeProto:
    """The node in an opset; what the opset cannot say stays, for ONNX Runtime to refuse."""
    since, names = _OPERANDS.get(node.op_type, (0, ()))
    if opset >= since or len(node.input) > 1 + len(names):
        return node
    old = onnx.NodeProto()
    old.CopyFrom(node)
    del old.input[1:]
    for name, operand in zip(names, node.input[1:], strict=False):
        if operand not in constants:
            return node
        value: Array = np.asarray(constants[operand])
        plain = value.tolist()
        old.attribute.append(helper.make_attribute(name, plain[0] if name == "k" else plain))
    if node.op_type == "TopK":
        kept = [a for a in old.attribute if a.name not in ("largest", "sorted")]
        del old.attribute[:]
        old.attribute.extend(kept)
    return old
