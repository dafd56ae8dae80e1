"""Every other group: the operators' own tensor expressions, elementwise parts inlined, loops in memory order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dnncc.ir.graph import Graph, Node
from dnncc.targets.lowering.c_expressions import call_name, mentions
from dnncc.targets.lowering.group import Expressions
from dnncc.targets.lowering.kernel import Kernel
from dnncc.targets.lowering.kernels.stages import arrange, inlined_stages, is_reduction, nodes
from tvm import ir, s_tir


def build(body: Graph, anchor: Node, compact: bool) -> Kernel:
    """The strategy that takes every group."""
    expressions = Expressions(body)
    expressions.evaluate(body.nodes)
    outputs = [expressions[v] for v in body.outputs]
    function = expressions.prim_func(outputs)
    constants = tuple(data for _, data in expressions.operands.constants)
    merged = _merged_axes(body) if all(n.op.elementwise for n in body.nodes) else []
    return Kernel("generic", _schedule(function, merged), constants, _overlaps(body))


def _schedule(function: Any, merged: Sequence[Sequence[int]]) -> Any:
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
    for stage in reversed(stages):
        block = sch.get_sblock(stage.name)
        if stage.depth:
            sch.compute_at(block, loops[stage.depth - 1], preserve_unit_loops=True)
        if stage.elements == 1:
            sch.set_scope(block, 0, "local")
        if stage.reduces:
            sch.decompose_reduction(block, sch.get_loops(block)[stage.depth + stage.spatial])
    return sch.mod["main"]


def _split_cases(sch: Any, output: Any, loops: Sequence[Any]) -> None:
    """Where an axis decides between the parts of a concat, or border and image, let there be a loop for each."""
    block = sch.get(output)
    calls = nodes(block.body, lambda node: isinstance(node, ir.Call))
    conditions = [call.args[0] for call in calls if call_name(call) == "if_then_else"]
    for loop, axis in reversed(list(zip(loops, block.iter_vars, strict=False))):
        if any(mentions(c, axis.var) for c in conditions):
            # Only the innermost such loop: around it one test serves for many elements.
            sch.annotate(loop, "pragma_loop_partition_hint", 1)
            return


def _merged_axes(body: Graph) -> list[list[int]]:
    """Runs of axes over which an elementwise group can count as over one: no operand broadcasts along a part of it."""
    shape = body.outputs[0].type.shape
    operands = [v.type.shape for v in body.values() if v.type.size > 1]
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


def _overlaps(body: Graph) -> dict[tuple[int, int], int]:
    """A chain of elementwise operators may run in place: element i is read right before element i is written."""
    if len(body.outputs) != 1 or not all(n.op.elementwise for n in body.nodes):
        return {}
    out = body.outputs[0].type
    same = [
        i
        for i, v in enumerate(body.inputs)
        if v.type.shape == out.shape and v.type.dtype.bytes >= out.dtype.bytes
    ]
    return {(0, i): 0 for i in same}
