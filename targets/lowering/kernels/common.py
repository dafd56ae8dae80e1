"""What the SMLAD-class strategies share: packing, padding, and the checks that an epilogue can be tiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType
from dnncc.targets.lowering.kernel import overlap_distance
from tvm import s_tir, te, tirx

BYTE_TYPES = (DType.I8, DType.U8)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def constant_operands(node: Node) -> tuple[Array, Array] | None:
    """Weights and bias of an integer product node with byte activations, i8 weights and i32 sums; else None."""
    x, w, b = node.inputs
    if x.type.dtype not in BYTE_TYPES or not isinstance(w, Const) or not isinstance(b, Const):
        return None
    if w.type.dtype is not DType.I8 or b.type.dtype is not DType.I32:
        return None
    return w.data, b.data


def elementwise_epilogue(nodes: Sequence[Node], result: Value, body: Graph) -> bool:
    """Whether ``nodes`` only transform ``result`` element by element into the body's single output."""
    if len(body.outputs) != 1 or not all(n.op.elementwise and len(n.outputs) == 1 for n in nodes):
        return False
    return all(n.output.type.shape == result.type.shape for n in nodes)


def per_channel_constants(nodes: Sequence[Node]) -> bool:
    """Whether every constant of the epilogue is a scalar, one value per channel, or of full shape."""
    for node in nodes:
        shape = node.output.type.shape
        for i, value in enumerate(node.inputs):
            dims = value.type.shape
            if i in node.op.tables:
                continue
            if not isinstance(value, Const):
                if dims != shape:
                    return False
            elif (
                value.type.size != 1
                and dims != shape
                and (dims[-1] != value.type.size or dims[-1] != shape[-1])
            ):
                return False
    return True


def padded_channels(data: Array, axis: int, multiple: int) -> Array:
    """``data`` with zeros appended along ``axis`` up to a multiple."""
    widths = [(0, 0)] * data.ndim
    widths[axis] = (0, round_up(data.shape[axis], multiple) - data.shape[axis])
    return np.pad(data, widths)


def zero(dtype: object) -> Any:
    return tirx.const(0, str(dtype))


def select(conditions: Sequence[Any], value: Any, other: Any) -> Any:
    """``value`` where all conditions hold; conditions that are known to hold cost nothing."""
    return te.if_then_else(te.all(*conditions), value, other) if conditions else value


def start_schedule(function: Any, keep: Sequence[str]) -> tuple[Any, Any]:
    """A schedule in which every stage except ``keep`` and the output is inlined, and the output's block."""
    sch = s_tir.Schedule(function, debug_mask="none", enable_check=False)
    root = sch.get_sblock("root")
    (output,) = sch.get_output_blocks(root)
    name = sch.get(output).name_hint
    for block in sch.get_child_blocks(root):
        if sch.get(block).name_hint not in {*keep, name}:
            sch.compute_inline(block)
    return sch, output


def epilogue_distance(value: Value, starts: Array, written: Array) -> int:
    """How far an operand that is read element by element may lie below its output; ``starts`` in elements per step."""
    return overlap_distance(starts * value.type.dtype.bytes, written, value.type.bytes, buffered=False)


def fuse_bias(sch: Any) -> None:
    """Let the sums start from the bias instead of having it added afterwards."""
    sch.fuse_reduction_epilogue(sch.get_sblock("sums"), sch.get_sblock("biased"))


def tensorize_biased(sch: Any, sums: Any, loops: int, intrinsic: str, hidden: int = 1) -> None:
    """Replace the innermost ``loops`` loops of the sums by an intrinsic; the bias is stored before them.

    Args:
        hidden: how many buffers the sums start from.
    """
    nest = sch.get_loops(sums)[-loops:]
    sch.decompose_reduction(sums, nest[0])
    # fuse_reduction_epilogue leaves the bias among the reads of the update, which does not read it.
    sch.unsafe_hide_buffer_access(sums, "read", list(range(1, 1 + hidden)))
    sch.tensorize(nest[0], intrinsic)
