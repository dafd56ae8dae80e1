"""An independent check of spill plans, naive on purpose: it replays the plan and shares no code with the search."""

from __future__ import annotations

from itertools import combinations

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.spill.problem import Residency, SpillProblem, SpillSolution


def _error(name: str, reason: str) -> InternalError:
    return InternalError("the spill plan failed its check", [Culprit(name, reason=reason)])


def _home(graph: OrderProblem, tensor: int) -> tuple[int, int]:
    """(storage, the tensor's offset in it)."""
    parent = graph.tensors[tensor].view_of
    if parent is None:
        return tensor, 0
    storage, offset = _home(graph, parent)
    return storage, offset + graph.tensors[tensor].view_offset


def check_spill(problem: SpillProblem, solution: SpillSolution) -> None:
    """Replays the plan: order, copies, residency of every operand, addresses, and the figures claimed.

    Raises:
        InternalError: names the operator, storage or figures.
    """
    if solution.status in ("infeasible", "unknown"):
        if solution.residencies or solution.events:
            raise _error("status", f"{solution.status}, but there is a plan")
        return
    graph, order = problem.graph, solution.order
    if sorted(order) != list(range(len(graph.operators))):
        raise _error("order", "not every operator runs exactly once")
    lives: dict[int, list[Residency]] = {}
    for r in solution.residencies:
        if not 0 <= r.start < r.end <= len(order) + 1:
            raise _error(f"storage {r.storage}", f"resident in [{r.start}, {r.end})")
        lives.setdefault(r.storage, []).append(r)
    _replay(problem, solution, lives)
    _addresses(problem, solution)
    moved = sum(graph.tensors[e.storage].size for e in solution.events)
    if moved != solution.bytes or solution.bound > moved:
        raise _error("bytes", f"{solution.bytes} claimed, {moved} copied, bound {solution.bound}")
    if (solution.status == "optimal") != (solution.bound == moved):
        raise _error("status", f"{solution.status} with {moved} bytes and bound {solution.bound}")


def _replay(problem: SpillProblem, solution: SpillSolution, lives: dict[int, list[Residency]]) -> None:
    graph = problem.graph
    creator = {t: v for v, op in enumerate(graph.operators) for t in op.outputs}
    position = {v: now for now, v in enumerate(solution.order)}
    size = {t: tensor.size for t, tensor in enumerate(graph.tensors) if tensor.view_of is None}
    touched = dict.fromkeys(size, False)
    copy = dict.fromkeys(size, False)  # off-chip, and equal to the content

    def there(s: int, step: int) -> Residency | None:
        return next((r for r in lives.get(s, ()) if r.start <= step < r.end), None)

    for s in size:
        # What no operator creates may begin in either memory.
        if (s not in creator and there(s, 0) is None) or _retrieved(solution, s, 0):
            copy[s] = s not in creator
    filled: set[tuple[int, int]] = set()
    for now, v in enumerate(solution.order):
        op = graph.operators[v]
        for t in op.inputs:
            source: int | None = t
            while source is not None and source not in creator:
                source = graph.tensors[source].view_of
            if source is not None and position[creator[source]] >= now:
                raise _error(f"operator {v}", f"it reads tensor {t} before operator {creator[source]} ran")
        for e in (e for e in solution.events if e.step == now):
            s = e.storage
            if s not in size:
                raise _error(f"tensor {s}", "only whole storages are copied")
            if e.kind == "spill":
                resident = there(s, now - 1) if now else there(s, 0)
                if resident is None or not (touched[s] or s not in creator):
                    raise _error(f"storage {s}", f"spilled at step {now}, but not resident before")
                if now == resident.end and _overwritten(problem, solution, resident):
                    raise _error(f"storage {s}", f"spilled at step {now}, overwritten before")
                copy[s] = True
            else:
                if not copy[s]:
                    raise _error(f"storage {s}", f"retrieved at step {now} without a valid copy")
                if not any(r.start == now for r in lives.get(s, ())):
                    raise _error(f"storage {s}", f"retrieved at step {now}, but not resident from there")
                filled.add((s, now))
        operands = {_home(graph, t)[0] for t in (*op.inputs, *op.outputs)}
        written = {_home(graph, t)[0] for t in op.outputs}
        for s in operands:
            r = there(s, now)
            if size[s] and r is None:
                raise _error(f"operator {v}", f"storage {s} is not resident at step {now}")
            if r is not None and r.start and (s, r.start) not in filled:
                if r.start != now or touched[s] or s not in creator:
                    raise _error(f"storage {s}", f"resident from step {r.start} without its content")
                filled.add((s, now))
            touched[s] = True
            if s in written:
                copy[s] = False
    for t in graph.outputs:
        s = _home(graph, t)[0]
        if size[s] and there(s, len(solution.order)) is None and not copy[s]:
            raise _error(f"storage {s}", "a graph output is nowhere at the end")


def _retrieved(solution: SpillSolution, storage: int, step: int) -> bool:
    return any(e.storage == storage and e.kind == "retrieve" and e.step == step for e in solution.events)


def _lent(problem: SpillProblem, solution: SpillSolution, output: Residency, input: Residency) -> int | None:
    """How far below the input the output may start at the operator where the one begins and the other ends; None where
    they must be disjoint."""
    graph, now = problem.graph, output.start
    if now != input.end - 1 or now >= len(solution.order) or output.storage == input.storage:
        return None
    op = graph.operators[solution.order[now]]
    writes = [t for t in op.outputs if _home(graph, t)[0] == output.storage]
    reads = [t for t in op.inputs if _home(graph, t)[0] == input.storage]
    stated = {(r.output, r.input): r.distance for r in op.overlaps}
    pairs = [(o, i) for o in writes for i in reads]
    if not pairs or any(p not in stated for p in pairs):
        return None
    made = any(output.storage in op.outputs for op in graph.operators)
    if not made or _retrieved(solution, output.storage, now):
        return None  # it has content before the input is read
    return max(stated[o, i] + _home(graph, o)[1] - _home(graph, i)[1] for o, i in pairs)


def _collide(a: Residency, b: Residency, size: dict[int, int]) -> bool:
    together = a.start < b.end and b.start < a.end
    return together and a.offset < b.offset + size[b.storage] and b.offset < a.offset + size[a.storage]


def _overwritten(problem: SpillProblem, solution: SpillSolution, r: Residency) -> bool:
    """Whether the operator of its last step reads it and has written something else over it."""
    graph = problem.graph
    size = {t: tensor.size for t, tensor in enumerate(graph.tensors)}
    if all(_home(graph, t)[0] != r.storage for t in graph.operators[solution.order[r.end - 1]].inputs):
        return False
    fresh = [other for other in solution.residencies if other.start == r.end - 1 and other is not r]
    return any(_collide(other, r, size) for other in fresh)


def _addresses(problem: SpillProblem, solution: SpillSolution) -> None:
    graph = problem.graph
    size = {t: tensor.size for t, tensor in enumerate(graph.tensors)}
    boxes = list(solution.residencies)
    for now, v in enumerate(solution.order):
        offset, scratch = solution.workspaces[v], graph.operators[v].workspace
        if (offset is None) != (scratch == 0):
            raise _error(f"operator {v}", f"{scratch} bytes of workspace at {offset}")
        if offset is not None:
            size[len(graph.tensors) + v] = scratch
            boxes.append(Residency(len(graph.tensors) + v, now, now + 1, offset))
    height = 0
    for box in boxes:
        if box.offset < 0 or box.offset % problem.alignment:
            raise _error(f"storage {box.storage}", f"offset {box.offset} is not aligned")
        height = max(height, box.offset + size[box.storage])
    if height > problem.capacity or height != solution.height:
        raise _error("height", f"{solution.height} claimed, {height} used of {problem.capacity}")
    for a, b in combinations(boxes, 2):
        if not _collide(a, b, size):
            continue
        over = [(d, x, y) for x, y in ((a, b), (b, a)) if (d := _lent(problem, solution, x, y)) is not None]
        if not any(x.offset + d <= y.offset for d, x, y in over):
            raise _error(f"storages {a.storage}, {b.storage}", "they share bytes while both are resident")
