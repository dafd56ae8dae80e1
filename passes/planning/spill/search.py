"""Orders that are good for spilling: a beam search over what has run, what is resident and what is valid off-chip.

Evictions are charged in full (write and read) when they happen, so that states of equal progress compare. Victims are
chosen by the next use in a guiding order, the latest first (Belady), or as the one storage that suffices at least
cost. Operators that need no copy and leave no more resident bytes than they found run at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.spill.model import SpillModel
from dnncc.passes.planning.spill.timeline import Timeline
from dnncc.passes.planning.storages import bits


@dataclass(frozen=True, slots=True)
class State:
    """After some operators.

    Attributes:
        done: mask of operators.
        resident: mask of storages in the scratchpad.
        valid: mask of storages with a valid copy off-chip.
        cost: bytes of all copies so far, those that evictions make necessary later included.
        used: resident bytes.
        ready: operators that can run.
        parent, ran: how it was reached.
    """

    done: int
    resident: int
    valid: int
    cost: int
    used: int
    ready: tuple[int, ...]
    parent: State | None
    ran: tuple[int, ...]

    def order(self) -> tuple[int, ...]:
        """The operators that have run since the first state."""
        parts = []
        state: State | None = self
        while state is not None:
            parts.append(state.ran)
            state = state.parent
        return tuple(v for part in reversed(parts) for v in part)


def first_state(model: SpillModel) -> State:
    """Nothing has run; what is there from the start may leave without a write until its first use."""
    initial = sum(1 << s for s in model.initial)
    ready = tuple(v for v in range(model.count) if not model.order.predecessors[v])
    return State(0, initial, initial, 0, sum(model.size[s] for s in model.initial), ready, None, ())


def state_at(timeline: Timeline, evicted: Collection[int], step: int) -> State:
    """Before a step of a plan."""
    model = timeline.model
    done = sum(1 << v for v in timeline.order[:step])
    left = {timeline.gaps[g].version for g in evicted if timeline.gaps[g].start < step - 1}
    left |= {version for version, g in timeline.beginning.items() if g in evicted}
    resident = valid = used = 0
    for g, gap in enumerate(timeline.gaps):
        if gap.start < step <= gap.end:
            if g not in evicted:
                resident |= 1 << gap.storage
                used += model.size[gap.storage]
            if g in evicted or gap.version is None or gap.version in left:
                valid |= 1 << gap.storage
    ready = tuple(
        v for v in range(model.count) if not done >> v & 1 and not model.order.predecessors[v] & ~done
    )
    return State(done, resident, valid, 0, used, ready, None, ())


class Beam:
    """Searches from a state to one where all operators of `goal` have run.

    Args:
        model: the problem.
        guide: an order; uses later in it count as later.
        goal: mask of the operators to run.
        clock: when to stop.
    """

    def __init__(self, model: SpillModel, guide: Sequence[int], goal: int, clock: Clock) -> None:
        self.model = model
        self.goal = goal
        self.clock = clock
        self.position = [0] * model.count
        for now, v in enumerate(guide):
            self.position[v] = now
        self.initial = sum(1 << s for s in model.initial)
        self.workspace = model.order.workspace
        self.uses = [
            [
                (1 << s, model.size[s], model.order.touch[s], s in model.initial, s in model.kept)
                for s in sorted(storages)
            ]
            for storages in model.touched
        ]
        self._existing: dict[int, int] = {}
        self.touched = [sum(1 << s for s in storages) for storages in model.touched]
        self.written = [sum(1 << s for s in storages) for storages in model.written]

    def run(self, start: State, width: int) -> list[State]:
        """The best final states, by cost."""
        final: dict[tuple[int, int], State] = {}
        states = [self._commit(start)]
        while states:
            reached: dict[tuple[int, int, int], State] = {}
            for state in states:
                self.clock.check()
                if not self.goal & ~state.done:
                    key = (state.resident, state.valid)
                    if key not in final or state.cost < final[key].cost:
                        final[key] = state
                    continue
                for v in state.ready:
                    if self.goal >> v & 1:
                        for child in self._children(state, v):
                            child = self._commit(child)
                            at = (child.done, child.resident, child.valid)
                            if at not in reached or child.cost < reached[at].cost:
                                reached[at] = child
            states = sorted(reached.values(), key=lambda s: (s.cost, s.used, s.done, s.resident))[:width]
        return sorted(final.values(), key=lambda s: (s.cost, s.used, s.resident))[:width]

    def _commit(self, state: State) -> State:
        """Runs what needs no copy, fits and leaves no more resident bytes than it found.

        In the state before the last operator nothing could be committed: unless that one freed memory, only operators
        that share a storage with it can be now.
        """
        changed = -1
        if state.parent is not None and state.used >= state.parent.used:
            changed = self.touched[state.ran[-1]]
        done, resident, valid, used = state.done, state.resident, state.valid, state.used
        ready, ran = list(state.ready), []
        at = 0
        while at < len(ready):
            v = ready[at]
            at += 1
            if not self.goal >> v & 1 or not self.touched[v] & changed:
                continue
            need, left, away = self._effect(done, resident, used, v)
            if away or left > used or need > self.model.capacity:
                continue
            changed = -1 if left < used else changed | self.touched[v]
            resident, valid = self._after(done, resident, valid, v)
            done |= 1 << v
            used = left
            ready = self.model.order.ready_after(done, ready, v)
            ran.append(v)
            at = 0
        if not ran:
            return state
        return State(done, resident, valid, state.cost, used, tuple(ready), state, tuple(ran))

    def _effect(self, done: int, resident: int, used: int, v: int) -> tuple[int, int, bool]:
        """(bytes while v runs, resident bytes after it, whether it must retrieve) if nothing is evicted."""
        after = done | 1 << v
        need = used + self.workspace[v]
        freed = 0
        born = dying = 0
        away = False
        for bit, size, touch, fixed, keep in self.uses[v]:
            if not resident & bit:
                need += size
                if fixed or touch & done:
                    away = True
                else:
                    born |= bit
            if not touch & ~after and not keep:
                freed += size
                dying |= bit
        left = need - self.workspace[v] - freed
        if rules := self.model.order.rules[v]:
            active = tuple(r for r in rules if born >> r[0] & 1 and dying >> r[1] & 1)
            if active:
                need -= self.model.order.saving(active)
        return need, left, away

    def _after(self, done: int, resident: int, valid: int, v: int) -> tuple[int, int]:
        """Resident and valid storages once v has run."""
        after = done | 1 << v
        for bit, _, touch, fixed, keep in self.uses[v]:
            if fixed and not touch & done and resident & bit:
                valid &= ~bit  # it began in the scratchpad after all
            if not touch & ~after and not keep:
                resident &= ~bit
                valid &= ~bit
            else:
                resident |= bit
        return resident, valid & ~self.written[v]

    def _children(self, state: State, v: int) -> Iterator[State]:
        seen: set[tuple[int, ...]] = set()
        for victims in self._victims(state, v):
            if victims not in seen:
                seen.add(victims)
                child = self._step(state, v, victims)
                if child is not None:
                    yield child

    def _victims(self, state: State, v: int) -> Iterator[tuple[int, ...]]:
        model = self.model
        over = self._effect(state.done, state.resident, state.used, v)[0] - model.capacity
        if over <= 0:
            yield ()
            return
        idle = list(bits(state.resident & ~self.touched[v]))
        later = {s: self._next_use(state, s) for s in idle}
        by_use = sorted(idle, key=lambda s: (-later[s], -model.size[s], s))
        for ranking in (by_use, sorted(idle, key=lambda s: (self._price(state, s) / model.size[s], s))):
            chosen: list[int] = []
            freed = 0
            for s in ranking:
                if freed >= over:
                    break
                chosen.append(s)
                freed += model.size[s]
            for s in sorted(chosen, key=lambda s: -self._price(state, s)):
                if freed - model.size[s] >= over:
                    chosen.remove(s)
                    freed -= model.size[s]
            yield tuple(sorted(chosen))
        if enough := [s for s in idle if model.size[s] >= over]:
            yield (min(enough, key=lambda s: (self._price(state, s), -later[s], s)),)

    def _next_use(self, state: State, s: int) -> int:
        ahead = [self.position[u] for u in self.model.touchers[s] if not state.done >> u & 1]
        return min(ahead, default=self.model.count)

    def _price(self, state: State, s: int) -> int:
        read = bool(self.model.order.touch[s] & ~state.done)
        return self.model.traffic[s] * ((not state.valid >> s & 1) + read)

    def _step(self, state: State, v: int, victims: tuple[int, ...]) -> State | None:
        """v runs after the victims have left; None if it does not fit even so."""
        model = self.model
        cost, resident, valid, used = state.cost, state.resident, state.valid, state.used
        for s in victims:
            cost += self._price(state, s)
            resident &= ~(1 << s)
            valid |= 1 << s
            used -= model.size[s]
        need, used, _ = self._effect(state.done, resident, used, v)
        after = state.done | 1 << v
        lent = 0
        if need > model.capacity:
            if model.working_set(v) > model.capacity:
                return None
            # Inputs that are used again later may leave at v, so that v can overwrite them.
            for _, i, _ in model.rules(v):
                if model.order.touch[i] & ~after or i in model.kept:
                    lent |= 1 << i
        resident, after_valid = self._after(state.done, resident, valid, v)
        for s in bits(lent):
            read = bool(model.order.touch[s] & ~after)
            cost += model.traffic[s] * ((not after_valid >> s & 1) + read)
            used -= model.size[s]
        resident &= ~lent
        ready = tuple(model.order.ready_after(after, state.ready, v))
        return State(after, resident, after_valid | lent, cost, used, ready, state, (v,))
