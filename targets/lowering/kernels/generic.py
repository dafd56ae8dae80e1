"""Every other group: the operators' own tensor expressions, elementwise parts inlined, loops in memory order."""

from __future__ import annotations

from typing import Any

from dnncc.ir.graph import Graph, Node
from dnncc.targets.lowering.group import Expressions
from dnncc.targets.lowering.kernel import Kernel
from tvm import s_tir

_REDUCE = 2  # IterVar.CommReduce


def build(body: Graph, anchor: Node, compact: bool) -> Kernel:
    """The strategy that takes every group."""
    expressions = Expressions(body)
    expressions.evaluate(body.nodes)
    outputs = [expressions[v] for v in body.outputs]
    function = expressions.prim_func(outputs)
    schedule = _schedule(function)
    constants = tuple(data for _, data in expressions.operands.constants)
    return Kernel("generic", schedule, constants, _overlaps(body))


def _schedule(function: Any) -> Any:
    """Inline what is cheap to recompute; compute every reduction right where its element is consumed."""
    sch = s_tir.Schedule(function, debug_mask="none", enable_check=False)
    root = sch.get_sblock("root")
    outputs = {sch.get(b).name_hint for b in sch.get_output_blocks(root)}
    blocks = {sch.get(b).name_hint: b for b in sch.get_child_blocks(root)}
    reductions = [name for name, block in blocks.items() if _is_reduction(sch, block) and name not in outputs]
    for name, block in blocks.items():
        if name not in outputs and name not in reductions:
            sch.compute_inline(block)
    for name in reversed(reductions):
        block = sch.get_sblock(name)
        consumers = sch.get_consumers(block)
        if len(consumers) == 1 and not _is_reduction(sch, consumers[0]):
            outer = sch.get_loops(consumers[0])
            sch.compute_at(block, outer[-1], preserve_unit_loops=True)
            sch.set_scope(block, 0, "local")
            spatial = sum(1 for axis in sch.get(block).iter_vars if axis.iter_type != _REDUCE)
            sch.decompose_reduction(block, sch.get_loops(block)[len(outer) + spatial])
    return sch.mod["main"]


def _is_reduction(sch: Any, block: Any) -> bool:
    return sch.get(block).init is not None


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
