"""Independent checks of the planner's solutions, naive on purpose: they share no code with the solvers."""

from __future__ import annotations

from collections.abc import Iterator

from dnncc.errors import Culprit, InternalError
from dnncc.passes.planning.problem import OrderProblem, OrderSolution, PlaceProblem, PlaceSolution


def _error(what: str, name: str, reason: str) -> InternalError:
    return InternalError(f"{what} failed its check", [Culprit(name, reason=reason)])


def _check_claims(what: str, value: int, bound: int, status: str) -> None:
    if bound > value:
        raise _error(what, "bound", f"{bound} exceeds the value {value} that was reached")
    if (status == "optimal") != (bound == value):
        raise _error(what, "status", f"{status} with value {value} and bound {bound}")


def check_order(problem: OrderProblem, solution: OrderSolution) -> None:
    """Every operator runs once, after what it reads, and the peak is the one claimed.

    Raises:
        InternalError: names the operators and the tensor, or the figures, that disagree.
    """
    what = "the operator order"
    if sorted(solution.order) != list(range(len(problem.operators))):
        raise _error(what, "order", "not every operator runs exactly once")
    position = {v: now for now, v in enumerate(solution.order)}
    creator = {t: v for v, op in enumerate(problem.operators) for t in op.outputs}
    for v, op in enumerate(problem.operators):
        for t in op.inputs:
            source = _source(problem, creator, t)
            if source is not None and position[source] >= position[v]:
                raise _error(
                    what, f"operators {source}, {v}", f"{v} reads tensor {t} before {source} creates it"
                )
    peak = max(loads(problem, creator, position))
    if peak != solution.peak:
        raise _error(what, "peak", f"{solution.peak} claimed, {peak} measured")
    _check_claims(what, solution.peak, solution.bound, solution.status)


def _source(problem: OrderProblem, creator: dict[int, int], tensor: int) -> int | None:
    """The operator that a reader of the tensor has to wait for."""
    if tensor in creator:
        return creator[tensor]
    parent = problem.tensors[tensor].view_of
    return None if parent is None else _source(problem, creator, parent)


def _home(problem: OrderProblem, tensor: int) -> tuple[int, int]:
    """(storage, the tensor's offset in it)."""
    parent = problem.tensors[tensor].view_of
    if parent is None:
        return tensor, 0
    storage, offset = _home(problem, parent)
    return storage, offset + problem.tensors[tensor].view_offset


def loads(problem: OrderProblem, creator: dict[int, int], position: dict[int, int]) -> Iterator[int]:
    """Bytes needed before the first operator and at each one."""
    home = [_home(problem, t) for t in range(len(problem.tensors))]
    times: dict[int, list[int]] = {}
    for v, op in enumerate(problem.operators):
        for t in (*op.inputs, *op.outputs):
            times.setdefault(home[t][0], []).append(position[v])
    for t in problem.outputs:
        times.setdefault(home[t][0], []).append(len(position))
    life = {s: (min(at) if s in creator else -1, max(at)) for s, at in times.items()}
    yield sum(problem.tensors[s].size for s, (first, _) in life.items() if first == -1)
    for v, now in position.items():
        alive = {s: problem.tensors[s].size for s, (first, last) in life.items() if first <= now <= last}
        gaps: dict[tuple[int, int], int] = {}
        for o in {home[t][0] for t in problem.operators[v].outputs}:
            for i in {home[t][0] for t in problem.operators[v].inputs}:
                distance = _distance(problem, home, v, o, i)
                if distance is None or not alive[o] or not alive[i] or distance >= alive[o]:
                    continue
                if life[o][0] == now == life[i][1]:
                    gaps[o, i] = distance
        yield _need(alive, gaps) + problem.operators[v].workspace


def _distance(
    problem: OrderProblem, home: list[tuple[int, int]], v: int, output: int, input: int
) -> int | None:
    """How far below storage `input` operator v may start storage `output`; None where some pair has no
    rule."""
    stated = {(r.output, r.input): r.distance for r in problem.operators[v].overlaps}
    found: list[int] = []
    for o in problem.operators[v].outputs:
        for i in problem.operators[v].inputs:
            if home[o][0] == output and home[i][0] == input:
                if (o, i) not in stated or output == input:
                    return None
                found.append(stated[o, i] + home[o][1] - home[i][1])
    return max(found)


def _need(alive: dict[int, int], gaps: dict[tuple[int, int], int]) -> int:
    """Bytes for the living storages, of which the pairs in `gaps` may overlap."""
    group = {s: {s} for s in alive}
    for o, i in gaps:
        merged = group[o] | group[i]
        for s in merged:
            group[s] = merged
    need = 0
    for members in {min(g): g for g in group.values()}.values():
        inside = {pair: gap for pair, gap in gaps.items() if pair[0] in members}
        if not inside:
            need += sum(alive[s] for s in members)
            continue
        spans = [sum(alive[s] for s in {o for o, _ in inside}), sum(alive[s] for s in {i for _, i in inside})]
        for (o, i), gap in inside.items():
            # All inputs of o that start no lower than this one lie one after the other above it; likewise
            # mirrored.
            above = [b for (a, b), other in inside.items() if a == o and other >= gap]
            below = [a for (a, b), other in inside.items() if b == i and other - alive[a] >= gap - alive[o]]
            spans.append(max(0, gap) + sum(alive[s] for s in above))
            spans.append(max(0, alive[i] + gap - alive[o]) + sum(alive[s] for s in below))
        need += max(spans)
    return need


def check_place(problem: PlaceProblem, solution: PlaceSolution) -> None:
    """Every buffer is aligned, no two of a pool that live together collide against the rules, and heights, cost
    and status are the ones claimed.

    Raises:
        InternalError: names the buffer, the pair, the pool or the figures.
    """
    what = "the placement"
    count = len(problem.buffers)
    if len(solution.offsets) != count or len(solution.pools) != count:
        raise _error(what, "offsets", f"{len(solution.offsets)}, {len(solution.pools)} for {count} buffers")
    buffers = {b.id: b for b in problem.buffers}
    # A rule has effect only if the output's first step is the input's last one.
    distance = {
        (r.output, r.input): r.distance
        for r in problem.overlaps
        if buffers[r.output].lower == buffers[r.input].upper - 1
    }
    for b, offset in zip(problem.buffers, solution.offsets, strict=True):
        if offset < 0 or offset % b.alignment:
            raise _error(what, f"buffer {b.id}", f"offset {offset} is not a multiple of {b.alignment}")
    capacities = [p.bytes for p in problem.pools] if problem.pools else [problem.capacity]
    heights = [0] * len(capacities)
    placed = [z for z in zip(problem.buffers, solution.offsets, solution.pools, strict=True) if z[0].size]
    for n, (a, x, p) in enumerate(placed):
        if not 0 <= p < len(heights):
            raise _error(what, f"buffer {a.id}", f"pool {p} of {len(heights)}")
        heights[p] = max(heights[p], x + a.size)
        for b, y, q in placed[:n]:
            together = p == q and a.lower < b.upper and b.lower < a.upper
            shared = x < y + b.size and y < x + a.size
            if not (together and shared):
                continue
            a_over_b = (a.id, b.id) in distance and x + distance[a.id, b.id] <= y
            b_over_a = (b.id, a.id) in distance and y + distance[b.id, a.id] <= x
            if not (a_over_b or b_over_a):
                raise _error(
                    what,
                    f"buffers {a.id}, {b.id}",
                    f"[{x}, {x + a.size}) and [{y}, {y + b.size}) live together from {max(a.lower, b.lower)}",
                )
    if tuple(heights) != solution.heights or sum(heights) != solution.height:
        raise _error(what, "height", f"{solution.height}, {solution.heights} claimed, {heights} measured")
    fits = all(limit is None or h <= limit for h, limit in zip(heights, capacities, strict=True))
    if fits != solution.fits:
        raise _error(what, "fits", f"{solution.fits} claimed for {heights} of {capacities}")
    if problem.pools:
        _check_cost(what, problem, solution)
    else:
        _check_claims(what, solution.height, solution.bound, solution.status)


def _check_cost(what: str, problem: PlaceProblem, solution: PlaceSolution) -> None:
    cost = 0
    for b, p in zip(problem.buffers, solution.pools, strict=True):
        cost += b.accesses * problem.pools[p].cost
    if cost != solution.cost or solution.bound > solution.height:
        raise _error(what, "cost", f"{solution.cost} claimed, {cost} measured; bound {solution.bound}")
    if solution.fits:
        _check_claims(what, cost, solution.cost_bound, solution.status)
    elif solution.status == "optimal":
        raise _error(what, "status", "optimal, but it does not fit")
