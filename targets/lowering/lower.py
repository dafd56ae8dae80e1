"""A scheduled TIR function through TVM's own passes, down to loops over flat buffers."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx


def lower(function: Any) -> Any:
    """Lower one scheduled PrimFunc; returns the flat PrimFunc that the C emitter prints.

    The order matters: partitioning must see flat loops. Common subexpressions are left to the C compiler: bindings
    would hide copies and fills from the emitter and make the text harder to read.
    """
    st, tx = s_tir.transform, tirx.transform
    passes = [
        st.CanonicalizeLoop(),
        st.LowerInitBlock(),
        st.PlanAndUpdateBufferAllocationLocation(),
        st.ConvertBlocksToOpaque(),
        st.CompactBufferAllocation(),
        st.LowerMatchBuffer(),
        tx.StmtSimplify(),
        st.LowerOpaqueBlock(),
        tx.FlattenBuffer(),
        tx.NarrowDataType(32),
        st.LoopPartition(),
        tx.VectorizeLoop(),
        tx.StorageRewrite(),
        st.HoistIfThenElse(),
        tx.UnrollLoop(),
        st.RenormalizeSplitPattern(),
        tx.StmtSimplify(),
        tx.RemoveNoOp(),
        st.RewriteUnsafeSelect(),
    ]
    module = tvm.IRModule({"main": function})
    with tvm.transform.PassContext(opt_level=3):
        for one in passes:
            module = one(module)
    return module["main"]
