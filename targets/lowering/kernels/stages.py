"""Which tensor expressions of a group become stages of their own, and in which loop of the output each belongs.

A stage that is cheap to compute again is inlined. A reduction, and what many elements of its consumer would compute
again (a softmax's sum and reciprocal), is computed once: in the innermost of those output loops on which it depends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dnncc.targets.lowering.float_functions import COSTLY, extern_function
from tvm import ir, tirx
from tvm_ffi import structural_walk

_REDUCE = 2  # IterVar.CommReduce


@dataclass(frozen=True)
class Stage:
    """A block that is not inlined.

    Attributes:
        name: the block's name.
        spatial: its number of spatial axes.
        reduces: whether it has reduction axes.
        depth: number of output loops around it.
        elements: how many elements it computes each time.
    """

    name: str
    spatial: int
    reduces: bool
    depth: int
    elements: int


def inlined_stages(blocks: Sequence[Any]) -> list[str]:
    """Names of the blocks that are computed again wherever they are needed, in order of computation.

    Args:
        blocks: a function's blocks in order of computation, the output last; not scheduled yet.
    """
    loops = _loops_of_axes(blocks)
    return [str(b.name_hint) for b in blocks[:-1] if not _is_kept(b, blocks, loops[str(b.name_hint)])]


def arrange(blocks: Sequence[Any]) -> tuple[tuple[int, ...], tuple[Stage, ...]]:
    """The order of the output's loops, outermost first, and the stages to compute within them.

    Args:
        blocks: what is not inlined, in order of computation, the output last; not scheduled yet.
    """
    *producers, output = blocks
    rank = len(_spatial(output))
    loops = _loops_of_axes(blocks)
    single = {k for k, size in enumerate(_extents(_spatial(output))) if size == 1}  # around anything
    used = [{*loops[str(b.name_hint)], *single} for b in producers]
    # What the most stages depend on goes outside; otherwise memory order.
    order = sorted(range(rank), key=lambda k: -sum(k in loop_set for loop_set in used))
    stages = []
    for block, loop_set in zip(producers, used, strict=True):
        depth = next((d for d, k in enumerate(order) if k not in loop_set), rank)
        around = set(order[:depth])
        spatial = _spatial(block)
        axes = zip(_extents(spatial), loops[str(block.name_hint)], strict=True)
        elements = math.prod(size for size, k in axes if k not in around)
        stages.append(Stage(str(block.name_hint), len(spatial), is_reduction(block), depth, elements))
    return tuple(order), tuple(stages)


def is_reduction(block: Any) -> bool:
    """Whether a block sums, or takes an extreme, over some axes."""
    return block.init is not None


def _is_kept(block: Any, blocks: Sequence[Any], loops: Sequence[int | None]) -> bool:
    """Whether a block is not inlined: a reduction, and what would be computed more than once at some cost."""
    if is_reduction(block):
        return True
    value = block.body.value
    if _is_cheap(value):
        return False
    loads = [_loads(b, block) for b in blocks]
    extents = _extents(_spatial(block))
    if any(k is None and size > 1 for k, size in zip(loops, extents, strict=True)):
        # It would take memory, not a register.
        return sum(loads) > 1 and _calls_function(value)
    instances = [math.prod(_extents(b.iter_vars)) for b, n in zip(blocks, loads, strict=True) if n]
    return sum(loads) > 1 or max(instances) > math.prod(extents)


def _loops_of_axes(blocks: Sequence[Any]) -> dict[str, list[int | None]]:
    """Per block and axis the output loop that runs over it; None where an axis is needed as a whole."""
    *producers, output = blocks
    loops: dict[str, list[int | None]] = {str(output.name_hint): list(range(len(_spatial(output))))}
    for block in reversed(producers):
        found: list[set[int | None]] = [set() for _ in _spatial(block)]
        for consumer in blocks:
            around = dict(
                zip((a.var for a in _spatial(consumer)), loops.get(str(consumer.name_hint), ()), strict=False)
            )
            for region in _accesses(consumer, block):
                for axis, accessed in enumerate(region):
                    found[axis].add(around.get(accessed.min) if int(accessed.extent) == 1 else None)
        loops[str(block.name_hint)] = [ks.pop() if len(ks) == 1 else None for ks in found]
    return loops


def _accesses(consumer: Any, producer: Any) -> list[Any]:
    """The regions of the producer's result that one instance of the consumer reads."""
    if consumer.same_as(producer):
        return []
    (written,) = (w.source for w in producer.writes)
    return [r.region for r in consumer.reads if r.source.same_as(written)]


def _spatial(block: Any) -> list[Any]:
    return [axis for axis in block.iter_vars if axis.iter_type != _REDUCE]


def _extents(axes: Sequence[Any]) -> list[int]:
    return [int(axis.dom.extent) for axis in axes]


def _is_cheap(value: Any) -> bool:
    """A load, a constant, or a choice between such: no arithmetic."""
    if isinstance(value, tirx.Cast):
        return _is_cheap(value.value)
    if isinstance(value, ir.Call) and str(value.op.name).endswith("if_then_else"):
        return all(_is_cheap(v) for v in value.args[1:])
    return isinstance(value, ir.TensorLoad | tirx.IntImm | tirx.FloatImm)


def _calls_function(value: Any) -> bool:
    """Whether a mathematical function such as exp is called."""
    calls = nodes(value, lambda node: isinstance(node, ir.Call))
    return any(_function(call) in COSTLY for call in calls)


def _function(call: Any) -> str | None:
    name = str(call.op.name).rpartition(".")[2]
    return extern_function(str(call.args[0].value)) if name.endswith("_extern") else name


def _loads(consumer: Any, producer: Any) -> int:
    """How often one instance of the consumer reads the producer's result."""
    written = producer.writes[0].source
    return len(
        nodes(consumer.body, lambda node: isinstance(node, ir.TensorLoad) and node.source.same_as(written))
    )


def nodes(root: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """The nodes of a TIR tree that a predicate holds for."""
    found = []

    def visit(node: Any) -> None:
        if wanted(node):
            found.append(node)

    structural_walk(root, visit)
    return found
