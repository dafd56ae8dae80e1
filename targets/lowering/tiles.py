"""Loop nests that are printed as one call of a kernel written in C.

A schedule marks the loops of a nest ``sum[...] = sum[...] + x[...] * w[...]`` with the roles they play; the nest itself
says what is computed, and the call's pointers and distances are read off its indices, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dnncc.errors import InternalError
from tvm import ir, tirx
from tvm.sym import detect_linear_equation
from tvm_ffi import structural_walk

CALL = "dnncc.call"
"""Annotation of a nest's outermost loop: the function to call, and constant arguments after it."""
ROLE = "dnncc.role"
"""Annotation of every loop of the nest: its role, unique."""
ROW = "row"
"""The role of a loop over a row that may reach into padding. Its nest's first three constants: what to add to the index
where it begins so that it counts from the beginning of the row, the length of a row, the number of channels."""
SKIP = "dnncc.skip"
"""Annotation of the loops that set the sums to zero, which the kernel does by itself."""


def mark(sch: Any, block: Any, function: str, roles: tuple[str, ...]) -> None:
    """Let the innermost loops around a reduction, as many as there are roles, become a call."""
    loops = sch.get_loops(block)[-len(roles) :]
    init = sch.decompose_reduction(block, loops[0])
    sch.annotate(sch.get_loops(init)[len(sch.get_loops(block)) - len(roles)], SKIP, 1)
    mark_plain(sch, block, function, roles)


def mark_plain(sch: Any, block: Any, function: str, roles: tuple[str, ...]) -> None:
    """Likewise for a block that is no reduction."""
    for loop, role in zip(sch.get_loops(block)[-len(roles) :], roles, strict=True):
        sch.annotate(loop, ROLE, role)
    sch.annotate(sch.get_loops(block)[-len(roles)], CALL, function)


@dataclass(frozen=True)
class Access:
    """One buffer of a nest.

    Attributes:
        buffer: the buffer.
        start: the index where all loops of the nest begin.
        strides: by role, in elements.
    """

    buffer: Any
    start: Any
    strides: dict[str, int]


@dataclass(frozen=True)
class Nest:
    """A nest ``sum += x * w``, or one that moves ``x``.

    Attributes:
        function: what to call, and the constant arguments that the schedule adds.
        extents: by role.
        written, read: what is accessed; factors in the order of the product.
    """

    function: str
    constants: tuple[str, ...]
    extents: dict[str, int]
    written: Access
    read: tuple[Access, ...]


def read(loop: Any) -> Nest:
    """The nest of a loop that is marked with ``CALL``."""
    roles: dict[str, Any] = {}
    extents: dict[str, int] = {}
    function, *constants = str(loop.annotations[CALL]).split()
    statement = loop
    while isinstance(statement, tirx.For):
        role = str(statement.annotations[ROLE])
        roles[role], extents[role] = statement.loop_var, int(statement.extent)
        statement = statement.body
    if not isinstance(statement, tirx.BufferStore):
        raise InternalError(f"the nest of {function} has become a {type(statement).__name__}")
    loads: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, ir.TensorLoad) and not node.source.same_as(statement.buffer):
            loads.append(node)

    structural_walk(statement.value, visit)
    written = _access(statement.buffer, statement.indices[0], roles)
    accessed = tuple(_access(x.source, x.indices[0], roles) for x in loads)
    return Nest(function, tuple(constants), extents, written, accessed)


def _access(buffer: Any, index: Any, roles: dict[str, Any]) -> Access:
    found = detect_linear_equation(index, list(roles.values()))
    if len(found) != len(roles) + 1:
        raise InternalError(f"the index {index} is not linear")
    return Access(buffer, found[-1], {role: int(s) for role, s in zip(roles, found[:-1], strict=True)})
