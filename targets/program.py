"""A network ready to be written down: kernels as C functions, constants, a plan, and the calls in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array
from dnncc.ops.fused import Fused
from dnncc.ops.transfer import Transfer
from dnncc.passes.planning.place import DEFAULT_EFFORT
from dnncc.plan import ALIGNMENT, DEFAULT_POOLS, EXTERNAL, KernelNeeds, Plan, make_plan

if TYPE_CHECKING:
    from dnncc.passes.planning.problem import Pool, Progress
    from dnncc.targets.lowering.emit_c import CFunction


_ATTEMPTS = 4
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
    """

    strategy: str
    function: CFunction
    constants: tuple[Array, ...]
    needs: KernelNeeds


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        node: the graph's node.
        function: name of the C function, shared by nodes whose code is the same; of a copy between memories the macro.
        constants: names of the constant arrays, in parameter order.
    """

    node: Node
    function: str
    constants: tuple[str, ...]


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


def build_program(
    graph: Graph,
    name: str,
    compact: bool = False,
    effort: float = DEFAULT_EFFORT,
    progress: Progress | None = None,
    pools: Sequence[Pool] = DEFAULT_POOLS,
    external: Pool | None = None,
    lower: Lower | None = None,
    alignment: int = ALIGNMENT,
) -> Program:
    """Lower every group of a fused graph, plan the memory, and name what is shared.

    Args:
        name: prefix of every C symbol.
        compact: prefer less scratch memory to fewer instructions.
        effort: of the placement, see ``dnncc.passes.planning.place.solve``.
        progress: called with the planner's incumbent and bound.
        pools: where values may lie, the default pool first.
        external: where values may be copied to while nobody uses them, if they do not fit.
        lower: of the target; by default portable C.
        alignment: of everything in the arenas, in bytes.

    Raises:
        BudgetError: not even with copies to the external pool it fits the default one.
    """
    lower = lower or lower_group
    code = {n: lower(n, compact) for n in graph.nodes if not isinstance(n.op, Transfer) and not n.op.is_view}
    needs = {n: code[n].needs if n in code else KernelNeeds(0, {}) for n in graph.nodes if not n.op.is_view}
    plan = make_plan(graph, needs, effort, progress, pools, external or EXTERNAL, alignment)
    if external is not None and not plan.fits and not plan.copied_bytes:
        graph, code, plan = _spilled(graph, code, effort, progress, pools, external)
    functions: dict[str, CFunction] = {}
    constants: dict[str, Array] = {}
    known_functions: dict[CFunction, str] = {}
    known_constants: dict[tuple[str, bytes], str] = {}
    steps = []
    for node in plan.steps:
        if isinstance(node.op, Transfer):
            steps.append(Step(node, f"{name.upper()}_{node.op.name.upper()}", ()))
            continue
        group = code[node]
        if group.function not in known_functions:
            known_functions[group.function] = f"{name}_{group.strategy.replace('-', '_')}_{len(functions)}"
            functions[known_functions[group.function]] = group.function
        names = []
        for data in group.constants:
            key = (data.dtype.name, data.tobytes())
            if key not in known_constants:
                known_constants[key] = f"{name}_w{len(constants)}"
                constants[known_constants[key]] = data
            names.append(known_constants[key])
        steps.append(Step(node, known_functions[group.function], tuple(names)))
    return Program(name, graph, plan, tuple(steps), functions, constants, code)


def _spilled(
    graph: Graph,
    code: Mapping[Node, GroupCode],
    effort: float,
    progress: Progress | None,
    pools: Sequence[Pool],
    external: Pool,
) -> tuple[Graph, dict[Node, GroupCode], Plan]:
    """The graph with copies to the external pool, for which the default pool suffices.

    Placing all kernels and copies anew may lose some bytes: then the copies are planned for so many fewer.
    """
    from dnncc.replacement import replace_tensors

    needs = {node: c.needs for node, c in code.items()}
    capacity = room = pools[0].bytes or 0
    for _ in range(_ATTEMPTS):
        replaced = replace_tensors(graph, needs, room, progress=progress)
        plan = make_plan(replaced.graph, replaced.needs, effort, progress, pools, external)
        if plan.pools[0].bytes <= capacity:
            break
        room -= plan.pools[0].bytes - capacity
    return replaced.graph, {replaced.origin[node]: c for node, c in code.items()}, plan


def lower_group(node: Node, compact: bool = False) -> GroupCode:
    """Schedule, lower and print one ``fused`` node."""
    # tvm takes seconds to import: only a compile that comes this far pays for it.
    from dnncc.targets.lowering.emit_c import emit_c
    from dnncc.targets.lowering.kernels import build_kernel
    from dnncc.targets.lowering.lower import lower

    assert isinstance(node.op, Fused)
    body = node.op.graph
    kernel = build_kernel(body, node.op.anchor, compact)
    function = emit_c(lower(kernel.function), len(body.inputs), len(kernel.constants))
    return GroupCode(
        kernel.strategy, function, kernel.constants, KernelNeeds(function.scratch_bytes, kernel.overlaps)
    )
