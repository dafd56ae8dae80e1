"""Every other group: the operators' own tensor expressions, elementwise parts inlined, loops in memory order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.pool2d import Pool2d
from dnncc.targets.lowering.c_expressions import call_name, mentions
from dnncc.targets.lowering.emit_c import OVERLAPPING
from dnncc.targets.lowering.group import Expressions
from dnncc.targets.lowering.kernel import Kernel, overlap_distance
from dnncc.targets.lowering.kernels.stages import Stage, arrange, inlined_stages, is_reduction, nodes
from tvm import ir, s_tir

_FEW_TAPS = 4
"""A window of no more taps, 2x2 for instance, needs no loops."""


_WIDTHS = (4, 3, 2, 1)
"""Neighbours that are summed side by side, each in a register."""


def build(
    body: Graph, anchor: Node, compact: bool, widths: Sequence[int] = _WIDTHS, narrow: bool = True
) -> Kernel:
    """The strategy that takes every group.

    Args:
        widths: how many neighbours may be summed side by side, the best first, the last one 1; where more than four
            are, they stay a loop, which C compilers turn into vectors.
        narrow: see ``Operands``.
    """
    expressions = Expressions(body, narrow=narrow)
    expressions.evaluate(body.nodes)
    outputs = [expressions[v] for v in body.outputs]
    function = expressions.prim_func(outputs)
    constants = tuple(data for _, data in expressions.operands.constants)
    merged = _merged_axes(body) if all(n.op.elementwise for n in body.nodes) else []
    overlaps = _overlaps(body, anchor)
    schedule = _schedule(function, merged, widths).with_attr(OVERLAPPING, sorted({i for _, i in overlaps}))
    return Kernel("generic", schedule, constants, overlaps)


def _schedule(function: Any, merged: Sequence[Sequence[int]], widths: Sequence[int]) -> Any:
    """Compute every stage once, right where it is first needed; keep sums in registers."""
    sch = s_tir.Schedule(function, debug_mask="none", enable_check=False)
    root = sch.get_sblock("root")
    (output,) = sch.get_output_blocks(root)
    if is_reduction(sch.get(output)):
        sch.cache_write(output, 0, "local")
    for name in inlined_stages([sch.get(b) for b in sch.get_child_blocks(root)]):
        sch.compute_inline(sch.get_sblock(name))
    order, stages = arrange([sch.get(b) for b in sch.get_child_blocks(root)])
    (output,) = sch.get_output_blocks(root)
    loops = sch.get_loops(output)
    loops = [loops[k] for k in order if k < len(loops)]  # a scalar's block has an axis, but no loop
    if len(loops) > 1:
        sch.reorder(*loops)
    if not stages:
        _split_cases(sch, output, loops)
        for axes in merged:
            sch.fuse(*(loops[k] for k in axes if k < len(loops)))
    width = _width(sch, stages, loops, widths)
    if width > 1:
        loops[-1], inner = sch.split(loops[-1], [None, width])
        _unroll(sch, inner)
    for stage in reversed(stages):
        _compute_within(sch, stage, loops, width if stage.depth == len(loops) else 1)
    return sch.mod["main"]


def _unroll(sch: Any, loop: Any) -> None:
    """Unroll a loop of a few iterations."""
    if int(sch.get(loop).extent) <= max(_WIDTHS):
        sch.unroll(loop)


def _width(sch: Any, stages: Sequence[Stage], loops: Sequence[Any], widths: Sequence[int]) -> int:
    """How many neighbours are summed side by side, each in a register: they share the loops, and often an operand."""
    if not any(stage.reduces and stage.depth == len(loops) for stage in stages):
        return 1
    extent = int(sch.get(loops[-1]).extent)
    return next(width for width in widths if extent % width == 0)


def _compute_within(sch: Any, stage: Stage, loops: Sequence[Any], width: int) -> None:
    """Move a stage into the output's loops, ``width`` neighbours side by side."""
    block = sch.get_sblock(stage.name)
    if stage.depth:
        sch.compute_at(block, loops[stage.depth - 1], preserve_unit_loops=True)
    if stage.elements == 1:
        sch.set_scope(block, 0, "local")
    own = sch.get_loops(block)[stage.depth :]
    spatial, reduced = own[: stage.spatial], own[stage.spatial :]
    for loop in spatial:
        if width > 1 and int(sch.get(loop).extent) == width:
            sch.reorder(*reduced, loop)
            _unroll(sch, loop)
    if not stage.reduces:
        return
    sch.decompose_reduction(block, reduced[0])
    if math.prod(int(sch.get(loop).extent) for loop in reduced) <= _FEW_TAPS:
        for loop in reduced:
            sch.unroll(loop)


def _split_cases(sch: Any, output: Any, loops: Sequence[Any]) -> None:
    """Where an axis decides between the parts of a concat, or border and image, let there be a loop for each."""
    block = sch.get(output)
    calls = nodes(block.body, lambda node: isinstance(node, ir.Call))
    conditions = [call.args[0] for call in calls if call_name(call) == "if_then_else"]
    # What depends on the data is no matter of loops.
    conditions = [c for c in conditions if not nodes(c, lambda node: isinstance(node, ir.TensorLoad))]
    for loop, axis in reversed(list(zip(loops, block.iter_vars, strict=False))):
        if any(mentions(c, axis.var) for c in conditions):
            # Only the innermost such loop: around it one test serves for many elements.
            sch.annotate(loop, "pragma_loop_partition_hint", 1)
            return


def _merged_axes(body: Graph) -> list[list[int]]:
    """Runs of axes over which an elementwise group can count as over one: no operand broadcasts along a part of it."""
    shape = body.outputs[0].type.shape
    tables = body.tables()
    operands = [v.type.shape for v in body.values() if v.type.size > 1 and v not in tables]
    runs: list[list[int]] = []
    previous: tuple[bool, ...] | None = None
    for k, size in enumerate(shape):
        if size == 1:
            continue
        back = k - len(shape)
        follows = tuple(len(dims) >= -back and dims[back] == size for dims in operands)
        if follows == previous:
            runs[-1].append(k)
        else:
            runs.append([k])
        previous = follows
    return [list(range(run[0], run[-1] + 1)) for run in runs if len(run) > 1]


def _overlaps(body: Graph, anchor: Node) -> dict[tuple[int, int], int]:
    """Elements are read right before they are written, and windows move on as their results are written."""
    if len(body.outputs) != 1:
        return {}
    out = body.outputs[0].type
    elementwise = all(n.op.elementwise for n in body.nodes)
    found: dict[tuple[int, int], int] = {}
    for i, value in enumerate(body.inputs):
        x = value.type
        # C lets a compiler reorder accesses of two types, unless one of them is that of bytes.
        if x.dtype is not out.dtype and 1 not in (x.dtype.bytes, out.dtype.bytes):
            continue
        if elementwise and x.shape == out.shape and x.dtype.bytes >= out.dtype.bytes:
            found[0, i] = 0
        elif value is anchor.inputs[0] and body.uses()[value] == [anchor] and x.shape[:1] == (1,):
            reads = _first_reads(anchor)
            if reads is not None:
                written = np.arange(1, out.size + 1) * out.dtype.bytes
                found[0, i] = overlap_distance(reads * x.dtype.bytes, written, x.bytes, buffered=True)
    return found


def _first_reads(anchor: Node) -> Array | None:
    """Per element of a window operator's result, in memory order, the first element of the image that it reads."""
    op = anchor.op
    if not isinstance(op, Conv2d | Pool2d):
        return None
    _, h, w, c = anchor.inputs[0].type.shape
    _, oh, ow, o = anchor.output.type.shape
    groups = op.groups if isinstance(op, Conv2d) else c
    (top, left, _, _), (down, right) = op.pads, op.strides
    y = np.clip(np.arange(oh) * down - top, 0, h - 1)[:, None, None]
    x = np.clip(np.arange(ow) * right - left, 0, w - 1)[None, :, None]
    channel = np.arange(o) // (o // groups) * (c // groups)
    first: Array = ((y * w + x) * c + channel).reshape(-1)
    return first
