"""The least traffic over all orders, exactly, where few states need to be looked at.

Dijkstra over what has run, what is resident and what is valid off-chip.

Copies are made as late as they can: a storage leaves when the next operator does not fit, and of the sets that make
room only the minimal ones count, since any other plan may postpone the rest. Storages that begin off-chip may be taken
as resident with a valid copy until their first use. Orders with fragmentation are not told apart: addresses come later.

*Commit* (exact): an operator that fits, needs no copy, writes to nothing that exists, and replaces at most one dying
storage, which is not valid off-chip, by no more bytes than it had, runs at once. In any plan that runs it later, that
storage can be replaced by the new ones from now on, evicted when it was, at no more cost.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.spill.search import Beam, State, first_state
from dnncc.passes.planning.storages import bits

_SUBSETS = 400
"""Sets of victims that one step may choose among."""


@dataclass(frozen=True)
class Exact:
    """What the search found: an order of a plan below the given cost, if any, and a proven bound."""

    order: tuple[int, ...] | None
    cost: int
    bound: int


class _Search(Beam):
    """Steps of the beam search with all choices instead of likely ones."""

    def commit(self, state: State) -> State:
        done, resident, valid, used = state.done, state.resident, state.valid, state.used
        ready, ran = list(state.ready), []
        at = 0
        while at < len(ready):
            v = ready[at]
            at += 1
            need, left, away = self._effect(done, resident, used, v)
            if away or left > used or need > self.model.capacity or not self._replaces(done, valid, v):
                continue
            resident, valid = self._after(done, resident, valid, v)
            done |= 1 << v
            used = left
            ready = self.model.order.ready_after(done, ready, v)
            ran.append(v)
            at = 0
        if not ran:
            return state
        return State(done, resident, valid, state.cost, used, tuple(ready), state, tuple(ran))

    def _replaces(self, done: int, valid: int, v: int) -> bool:
        after = done | 1 << v
        dying = 0
        born = 0
        dead = 0
        for bit, _, touch, fixed, keep in self.uses[v]:
            exists = fixed or touch & done
            if exists and bit & self.written[v]:
                return False
            ends = not touch & ~after and not keep
            traffic = self.model.traffic[bit.bit_length() - 1]
            if exists and ends:
                if valid & bit:
                    traffic = 0
                dying = max(dying, traffic)
                dead += 1
            elif not exists and not ends:
                born += traffic
        return born == 0 or (dead == 1 and born <= dying)

    def children(self, state: State, v: int) -> Iterator[State] | None:
        """Every way to run v; None if there are too many."""
        need, _, _ = self._effect(state.done, state.resident, state.used, v)
        if need <= self.model.capacity:
            child = self._step(state, v, ())
            return iter(() if child is None else (child,))
        choices = self._choices(state, v)
        return None if choices is None else (self._leave(state, v, *c) for c in choices)

    def _choices(self, state: State, v: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
        """Minimal sets of (idle storages, inputs that leave at v) that make v fit."""
        model = self.model
        after = state.done | 1 << v
        idle = sorted(bits(state.resident & ~self.touched[v]), key=lambda s: (-model.size[s], s))
        lend = sorted({i for _, i, _ in model.rules(v) if model.order.touch[i] & ~after or i in model.kept})
        found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for mask in range(1 << len(lend)):
            lent = tuple(s for n, s in enumerate(lend) if mask >> n & 1)
            over = self._need(state, v, lent) - model.capacity
            sets = _covers([model.size[s] for s in idle], over)
            if sets is None or len(found) + len(sets) > _SUBSETS:
                return None
            found += [(tuple(idle[n] for n in chosen), lent) for chosen in sets]
        return found

    def _need(self, state: State, v: int, lent: tuple[int, ...]) -> int:
        """Bytes while v runs if these inputs leave at it."""
        model = self.model
        need, _, _ = self._effect(state.done, state.resident, state.used, v)
        if not lent:
            return need
        after = state.done | 1 << v

        def active(gone: tuple[int, ...]) -> int:
            return model.order.saving(
                tuple(
                    r
                    for r in model.order.rules[v]
                    if not model.order.touch[r[0]] & state.done
                    and r[0] not in model.initial
                    and (r[1] in gone or (not model.order.touch[r[1]] & ~after and r[1] not in model.kept))
                )
            )

        return need + active(()) - active(lent)

    def _leave(self, state: State, v: int, victims: tuple[int, ...], lent: tuple[int, ...]) -> State:
        """v runs after the victims have left; the lent inputs leave at it."""
        model = self.model
        cost, resident, valid, used = state.cost, state.resident, state.valid, state.used
        for s in victims:
            cost += self._price(state, s)
            resident &= ~(1 << s)
            valid |= 1 << s
            used -= model.size[s]
        _, used, _ = self._effect(state.done, resident, used, v)
        resident, valid = self._after(state.done, resident, valid, v)
        after = state.done | 1 << v
        for s in lent:
            read = bool(model.order.touch[s] & ~after)
            cost += model.traffic[s] * ((not valid >> s & 1) + read)
            resident &= ~(1 << s)
            valid |= 1 << s
            used -= model.size[s]
        ready = tuple(model.order.ready_after(after, state.ready, v))
        return State(after, resident, valid, cost, used, ready, state, (v,))


def _covers(sizes: list[int], over: int) -> list[tuple[int, ...]] | None:
    """The minimal subsets, by index, of sizes (descending) that sum up to at least `over`; None if too many."""
    if over <= 0:
        return [()]
    found: list[tuple[int, ...]] = []
    rest = [0] * (len(sizes) + 1)
    for n in reversed(range(len(sizes))):
        rest[n] = rest[n + 1] + sizes[n]
    # Descending sizes: a set is minimal if it fails without its last, smallest member.
    todo: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    while todo:
        n, total, chosen = todo.pop()
        if n == len(sizes) or total + rest[n] < over:
            continue
        todo.append((n + 1, total, chosen))
        if total + sizes[n] >= over:
            found.append((*chosen, n))
        else:
            todo.append((n + 1, total + sizes[n], (*chosen, n)))
        if len(found) > _SUBSETS or len(todo) > 4 * _SUBSETS:
            return None
    return found


def search(model: SpillModel, below: int | None, limit: int, clock: Clock) -> Exact:
    """The order of a plan of least traffic, if that is less than `below`.

    Args:
        model: the problem.
        below: cost of a plan that is known; None for none.
        limit: states to expand.
        clock: when to stop.

    Returns:
        With order None the bound is `below`, or what has been proven when the search was given up.
    """
    steps = _Search(model, range(model.count), model.order.everything, clock)
    root = steps.commit(replace(first_state(model), parent=None))
    queue = [(root.cost, -root.done.bit_count(), root.used, 0, root)]
    reached = {(root.done, root.resident, root.valid): root.cost}
    serial = expanded = bound = 0
    while queue:
        cost, _, _, _, state = heapq.heappop(queue)
        if reached[state.done, state.resident, state.valid] < cost:
            continue
        bound = max(bound, cost)
        if state.done == model.order.everything:
            return Exact(state.order(), cost, cost)
        if expanded >= limit:
            return Exact(None, 0, bound)
        clock.check()
        expanded += 1
        for v in state.ready:
            children = steps.children(state, v)
            if children is None:
                return Exact(None, 0, bound)
            for child in children:
                if below is not None and child.cost >= below:
                    continue
                child = steps.commit(child)
                key = (child.done, child.resident, child.valid)
                if child.cost < reached.get(key, child.cost + 1):
                    reached[key] = child.cost
                    serial += 1
                    heapq.heappush(queue, (child.cost, -child.done.bit_count(), child.used, serial, child))
    return Exact(None, 0, bound if below is None else below)
