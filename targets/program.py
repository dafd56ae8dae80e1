"""A network ready to be written down: kernels as C functions, constants, a plan, and the calls in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array
from dnncc.ops.fused import Fused
from dnncc.ops.patched import Patched
from dnncc.ops.transfer import Transfer
from dnncc.plan import KernelNeeds, Plan, make_plan

if TYPE_CHECKING:
    from dnncc.targets.lowering.emit_c import CFunction


_REFERENCE = re.compile(r"(\$[FC]\d+)")

Lower = Callable[[Node, bool], "GroupCode"]
"""Schedules, lowers and prints one ``fused`` node; the flag asks for little scratch memory."""


@dataclass(frozen=True)
class GroupCode:
    """A lowered group.

    Attributes:
        strategy: the schedule that was used, such as "gemm-2x2".
        function: its C function.
        constants: packed constants in parameter order.
        needs: scratch and overlaps, for the planner.
        parts: further functions, each with its strategy. Where there are any, the function's body has ``$Fi`` for the
            name of part i and ``$Ci`` for that of constant i, and gets no constants as parameters.
    """

    strategy: str
    function: CFunction
    constants: tuple[Array, ...]
    needs: KernelNeeds
    parts: tuple[tuple[str, CFunction], ...] = ()


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        node: the graph's node.
        function: name of the C function, shared by nodes whose code is the same; of a copy between memories the macro.
        constants: names of the constant arrays that it reads.
        passed: whether these are its parameters, in this order.
    """

    node: Node
    function: str
    constants: tuple[str, ...]
    passed: bool = True


@dataclass(frozen=True)
class Arena:
    """A block of memory in one pool.

    Attributes:
        pool: index in the plan's pools.
        name: of the pool.
        member: of the network's C struct.
        macro: its size in the header.
        bytes: its size.
    """

    pool: int
    name: str
    member: str
    macro: str
    bytes: int


@dataclass(frozen=True)
class Program:
    """Everything that the artifact's sources are printed from.

    Attributes:
        name: prefix of every C symbol.
        graph: the planned graph of ``fused`` nodes and views.
        plan: order and addresses.
        steps: the calls, in order.
        functions: C function name -> its definition.
        constants: C array name -> its data.
        code: the lowered group of every step's node; copies between memories have none.
    """

    name: str
    graph: Graph
    plan: Plan
    steps: tuple[Step, ...]
    functions: Mapping[str, CFunction]
    constants: Mapping[str, Array]
    code: Mapping[Node, GroupCode] = field(repr=False)

    @property
    def arenas(self) -> tuple[Arena, ...]:
        """What firmware hands to the network: one block per pool in use, that of the default pool always."""
        macro = self.name.upper()
        found = []
        for index, pool in enumerate(self.plan.pools):
            if not index:
                found.append(Arena(index, pool.name, "arena", f"{macro}_ARENA_SIZE", pool.bytes))
            elif pool.bytes:
                name = f"{macro}_{pool.name.upper()}_SIZE"
                found.append(Arena(index, pool.name, f"arena_{pool.name}", name, pool.bytes))
        return tuple(found)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all constants: weights, biases, multipliers, tables."""
        return sum(int(c.nbytes) for c in self.constants.values())


class Kernels:
    """Lowers each group once, in whichever of several graphs it is met.

    Args:
        lower: of the target; by default portable C.
    """

    def __init__(self, lower: Lower | None = None) -> None:
        self._lower = lower or lower_group
        self._known: dict[Hashable, GroupCode] = {}

    def of(self, graph: Graph, compact: bool = False) -> dict[Node, GroupCode]:
        """The code of every group of a fused graph; views and copies between memories have none.

        Args:
            compact: prefer less scratch memory to fewer instructions.
        """
        return {
            n: self._code(n, compact)
            for n in graph.nodes
            if not isinstance(n.op, Transfer) and not n.op.is_view
        }

    def _code(self, node: Node, compact: bool) -> GroupCode:
        assert isinstance(node.op, Fused)
        own = tuple((k, v) for k, v in node.op.attributes().items() if not isinstance(v, Graph))
        key = (compact, node.op.name, own, _signature(node.op.graph))
        if key not in self._known:
            self._known[key] = self._lower(node, compact)
        return self._known[key]


def _signature(body: Graph) -> Hashable:
    """What the code of a group depends on: everything but names."""
    index: dict[Value, Hashable] = {v: (i, v.type) for i, v in enumerate(body.inputs)}

    def of(value: Value) -> Hashable:
        if value not in index:
            digest = sha256(value.data.tobytes()).digest() if isinstance(value, Const) else b""
            index[value] = (len(index), value.type, digest)
        return index[value]

    nodes = tuple((n.op, *map(of, n.inputs), *map(of, n.outputs)) for n in body.nodes)
    return nodes, tuple(map(of, body.outputs)), len(body.inputs)


def needs_of(graph: Graph, code: Mapping[Node, GroupCode]) -> dict[Node, KernelNeeds]:
    """What the planner must know of every node that is no view."""
    return {n: code[n].needs if n in code else KernelNeeds(0, {}) for n in graph.nodes if not n.op.is_view}


def build_program(graph: Graph, name: str, kernels: Kernels | None = None) -> Program:
    """Lower every group of a fused graph and plan its memory, as if there were no limit to it.

    Args:
        name: prefix of every C symbol.
        kernels: of the target; by default portable C.
    """
    code = (kernels or Kernels()).of(graph)
    return assemble(name, graph, code, make_plan(graph, needs_of(graph, code)))


def assemble(name: str, graph: Graph, code: Mapping[Node, GroupCode], plan: Plan) -> Program:
    """A planned graph as calls of C functions; what is the same is written once.

    Args:
        name: prefix of every C symbol.
        code: of every group.
    """
    functions: dict[str, CFunction] = {}
    constants: dict[str, Array] = {}
    known_functions: dict[CFunction, str] = {}
    known_constants: dict[tuple[str, bytes], str] = {}
    steps = []

    def named(strategy: str, function: CFunction) -> str:
        if function not in known_functions:
            known_functions[function] = f"{name}_{strategy.replace('-', '_')}_{len(functions)}"
            functions[known_functions[function]] = function
        return known_functions[function]

    for node in plan.steps:
        if isinstance(node.op, Transfer):
            steps.append(Step(node, f"{name.upper()}_{node.op.name.upper()}", ()))
            continue
        group = code[node]
        names = []
        for data in group.constants:
            key = (data.dtype.name, data.tobytes())
            if key not in known_constants:
                known_constants[key] = f"{name}_w{len(constants)}"
                constants[known_constants[key]] = data
            names.append(known_constants[key])
        if not group.parts:
            steps.append(Step(node, named(group.strategy, group.function), tuple(names)))
            continue
        written = {f"$F{i}": named(*part) for i, part in enumerate(group.parts)}
        written |= {f"$C{i}": constant for i, constant in enumerate(names)}
        pieces = _REFERENCE.split(group.function.body)
        body = "".join(written.get(piece, piece) for piece in pieces)
        function = named(group.strategy, replace(group.function, body=body))
        steps.append(Step(node, function, tuple(names), passed=False))
    return Program(name, graph, plan, tuple(steps), functions, constants, code)


def lower_group(node: Node, compact: bool = False) -> GroupCode:
    """Schedule, lower and print one ``fused`` node."""
    # tvm takes seconds to import: only a compile that comes this far pays for it.
    from dnncc.targets.lowering.emit_c import emit_c
    from dnncc.targets.lowering.kernels import build_kernel
    from dnncc.targets.lowering.lower import lower
    from dnncc.targets.patched import lower_patched

    assert isinstance(node.op, Fused)
    if isinstance(node.op, Patched):
        return lower_patched(node, compact, lower_group)
    body = node.op.graph
    kernel = build_kernel(body, node.op.anchor, compact)
    function = emit_c(lower(kernel.function), len(body.inputs), len(kernel.constants))
    return GroupCode(
        kernel.strategy,
        function,
        kernel.constants,
        KernelNeeds(function.scratch_bytes, kernel.overlaps, function.alignment),
    )
