"""What spilling is compared with: a linear allocator with replacement by the farthest next use (Belady).

Operators run in a given order. A tensor is placed at the lowest free address when it is created or comes back. Where
no hole is large enough, the idle tensor with the farthest next use leaves: written unless a copy off-chip is valid, and
read back before its next use. If holes are still too small with all idle tensors gone, the operands are moved, each
through off-chip memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from dnncc.passes.planning.problem import OrderProblem


class _Memory:
    """The scratchpad and what has been copied so far."""

    def __init__(self, sizes: Sequence[int], capacity: int) -> None:
        self.sizes = sizes
        self.capacity = capacity
        self.at: dict[int, int] = {}
        self.valid: set[int] = set()
        self.copied = 0

    def hole(self, size: int) -> int | None:
        """The lowest address with so many free bytes."""
        x = 0
        for start, end in sorted((a, a + self.sizes[t]) for t, a in self.at.items()):
            if start - x >= size:
                break
            x = max(x, end)
        return x if x + size <= self.capacity else None

    def evict(self, tensor: int) -> None:
        del self.at[tensor]
        if tensor not in self.valid:
            self.valid.add(tensor)
            self.copied += self.sizes[tensor]


def belady(problem: OrderProblem, order: Sequence[int], capacity: int) -> int:
    """Bytes copied. Every tensor must be created by an operator; no views, no overlap rules."""
    sizes = [t.size for t in problem.tensors]
    count = len(sizes)
    sizes += [op.workspace for op in problem.operators]
    uses: dict[int, list[int]] = {}
    for now, v in enumerate(order):
        for t in (*problem.operators[v].inputs, *problem.operators[v].outputs):
            uses.setdefault(t, []).append(now)
    for t in problem.outputs:
        uses[t].append(len(order))
    memory = _Memory(sizes, capacity)

    def next_use(tensor: int, now: int) -> int:
        return next(u for u in uses[tensor] if u > now)

    for now, v in enumerate(order):
        op = problem.operators[v]
        scratch = [count + v] if op.workspace else []
        needed = [t for t in (*op.inputs, *op.outputs, *scratch) if sizes[t]]
        for t in needed:
            if t in memory.at:
                continue
            if t in op.inputs:
                memory.copied += sizes[t]
            while (x := memory.hole(sizes[t])) is None:
                idle = [u for u in memory.at if u not in needed]
                if not idle:
                    x = _compact(memory, needed, sizes)
                    break
                memory.evict(max(idle, key=lambda u: (next_use(u, now), sizes[u])))
            memory.at[t] = x
        for t in list(memory.at):
            if t >= count or uses[t][-1] <= now:
                del memory.at[t]
    return memory.copied


def _compact(memory: _Memory, needed: Sequence[int], sizes: Sequence[int]) -> int:
    """Moves the operands together, each out and back; returns the first free address."""
    x = 0
    for t in [t for t in needed if t in memory.at]:
        if memory.at[t] != x:
            memory.copied += 2 * sizes[t]
            memory.at[t] = x
        x += sizes[t]
    return x
