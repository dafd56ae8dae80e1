"""Operators that say themselves how they loop (``Op.loops``): several outputs, running state, addresses from data."""

from __future__ import annotations

from typing import Any

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.targets.lowering.kernel import Kernel
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as t


def build(body: Graph, anchor: Node, compact: bool) -> Kernel | None:
    """One operator's own loops as they are; parameters are the group's inputs, then constants, then outputs."""
    if not anchor.op.is_loops():
        return None
    assert body.nodes == [anchor], "nothing fuses with an operator that loops by itself"
    constants: dict[Value, Array] = {
        v: np.ascontiguousarray(v.data) for v in anchor.inputs if isinstance(v, Const)
    }
    with IRBuilder() as builder:
        with t.prim_func(s_tir=True):
            t.func_name("main")
            buffers = {
                value: t.match_buffer(t.arg(f"p{i}", t.handle()), _shape(value), value.type.dtype.numpy.name)
                for i, value in enumerate([*body.inputs, *constants, *anchor.outputs])
            }
            anchor.op.loops(t, [buffers[v] for v in anchor.inputs], [buffers[v] for v in anchor.outputs])
        function: Any = builder.get()
    return Kernel(f"loops-{anchor.op.name}", function, tuple(constants.values()), {})


def _shape(value: Value) -> tuple[int, ...]:
    return value.type.shape or (1,)
