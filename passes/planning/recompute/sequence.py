"""Sequences with repeats: what lives when, how many bytes each step needs. numpy, because searches ask often."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dnncc.passes.planning.footprint import saved_bytes
from dnncc.passes.planning.problem import OrderProblem
from dnncc.passes.planning.storages import bases, producers, storage_rules

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Profile:
    """What a sequence needs, step by step.

    An *access* is an execution that creates, reads or writes a storage; accesses are sorted by copy, then by
    step. A copy's lifetime is the interval from its first to its last access.

    Attributes:
        load: bytes at every step.
        through: bytes that live both before a step and at it, of every step and of the end.
        step: of every access; the number of steps for the end, where a graph output is read.
        storage: of every access.
        copy: number of the storage's copy, of every access.
        first: bool, whether the access is the copy's first one.
    """

    load: Ints
    through: Ints
    step: Ints
    storage: Ints
    copy: Ints
    first: npt.NDArray[np.bool_]

    @property
    def peak(self) -> int:
        return int(self.load.max(initial=0))


class SequenceModel:
    """Evaluates sequences of a graph's operators.

    Attributes:
        count: number of operators.
        size: bytes of every storage (0 for views).
        maker: of every storage the operator that can compute it again, or -1.
        repeatable: bool by operator: whether it may run more than once.
        accessed: by operator, the storages that it touches; those of no bytes are left out here and below.
        creates: by operator, the storages that it makes and can make again.
        reads: by operator, the other ones that it touches.
        needs: by operator, all operators that must have run before it.
    """

    def __init__(self, graph: OrderProblem, once: Collection[int] = ()) -> None:
        base = bases(graph)
        made = producers(graph)
        self.count = len(graph.operators)
        self.size = np.array([t.size if t.view_of is None else 0 for t in graph.tensors], np.int64)
        self._bytes: list[int] = self.size.tolist()
        self.workspace = np.array([op.workspace for op in graph.operators], np.int64)
        writers: dict[int, set[int]] = {}
        for v, op in enumerate(graph.operators):
            for t in op.outputs:
                writers.setdefault(base[t].storage, set()).add(v)
        whole = {t for op in graph.operators for t in op.outputs if graph.tensors[t].view_of is None}
        shared = {s for s, by in writers.items() if len(by) > 1 or s not in whole}
        self.maker = np.full(len(graph.tensors), -1, np.int64)
        self.repeatable = np.ones(self.count, bool)
        self.repeatable[list(once)] = False
        for s, by in writers.items():
            for v in by:
                if s in shared:
                    self.repeatable[v] = False
        for s, by in writers.items():
            if s not in shared:
                (self.maker[s],) = by
        # An operator that may not run again makes nothing that can be computed again.
        makers = self.maker
        makers[(makers >= 0) & ~self.repeatable[makers]] = -1
        self.kept = sorted({base[t].storage for t in graph.outputs if self.size[base[t].storage]})
        self.initial = {
            s for s in range(len(graph.tensors)) if made[s] is None and graph.tensors[s].view_of is None
        }
        accessed = [
            sorted({base[t].storage for t in (*op.inputs, *op.outputs) if self.size[base[t].storage]})
            for op in graph.operators
        ]
        self._pointer = np.cumsum([0, *map(len, accessed)])
        narrow = np.int16 if len(graph.tensors) < 2**15 else np.int64  # sorts faster
        self._storage = np.array([s for a in accessed for s in a], narrow)
        self._creates = np.array([makers[s] == v for v, a in enumerate(accessed) for s in a], bool)
        self.accessed = accessed
        self.reads = [[s for s in a if makers[s] != v] for v, a in enumerate(accessed)]
        self.creates = [[s for s in a if makers[s] == v] for v, a in enumerate(accessed)]
        self.needs = [sorted({m for t in op.inputs if (m := made[t]) is not None}) for op in graph.operators]
        self.rules = storage_rules(graph, base)
        self._has_rules = any(self.rules)
        wanted = {*self._storage.tolist(), *self.kept}
        self._from_start = np.array([s for s in sorted(self.initial) if self.size[s] and s in wanted], narrow)
        self._end = np.array(self.kept, narrow)

    def need(self, v: int) -> int:
        """Bytes that operator v needs at least while it runs, whatever else is there."""
        total = int(self.size[self.accessed[v]].sum()) + int(self.workspace[v])
        return total - saved_bytes(self.rules[v], self._bytes)

    def profile(self, sequence: Ints) -> Profile:
        """What a sequence needs; every read must have a copy before it."""
        steps = len(sequence)
        start, counts = self._pointer[sequence], self._pointer[sequence + 1] - self._pointer[sequence]
        total = int(counts.sum())
        step = np.repeat(np.arange(steps), counts)
        offset = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(start, counts)
        storage, creates = self._storage[offset], self._creates[offset]
        if len(self._from_start) or len(self._end):
            before, after = len(self._from_start), len(self._end)
            step = np.concatenate([np.full(before, -1), step, np.full(after, steps)])
            storage = np.concatenate([self._from_start, storage, self._end])
            creates = np.concatenate([np.zeros(before, bool), creates, np.zeros(after, bool)])
        by_storage = np.argsort(storage, kind="stable")
        step, storage, first = step[by_storage], storage[by_storage], creates[by_storage]
        if len(step):
            first[0] = True
            first[1:] |= storage[1:] != storage[:-1]
        copy = np.cumsum(first) - 1
        starts = np.flatnonzero(first)
        ends = np.append(starts[1:], len(step))[: len(starts)] - 1
        weight = self.size[storage[starts]]
        born, dies = step[starts], step[ends]
        fresh = np.bincount(np.maximum(born, 0), weight, steps + 1)
        living = np.cumsum(fresh - np.bincount(np.minimum(dies, steps) + 1, weight, steps + 2)[: steps + 1])
        load = living[:steps].astype(np.int64) + self.workspace[sequence]
        found = Profile(load, (living - fresh).astype(np.int64), step, storage, copy, first)
        if self._has_rules:
            self._grant_overlaps(sequence, found, born, dies)
        return found

    def _grant_overlaps(self, sequence: Ints, found: Profile, born: Ints, dies: Ints) -> None:
        """Lower the load where an operator may write over what it reads last."""
        steps = len(sequence)
        storage = found.storage[np.flatnonzero(found.first)]
        fresh: dict[int, set[int]] = {}
        dead: dict[int, set[int]] = {}
        for s, at, end in zip(storage.tolist(), born.tolist(), dies.tolist(), strict=True):
            fresh.setdefault(at, set()).add(s)
            if end < steps:
                dead.setdefault(end, set()).add(s)
        for at, v in enumerate(sequence.tolist()):
            if rules := self.rules[v]:
                new, old = fresh.get(at, set()), dead.get(at, set())
                active = [r for r in rules if r[0] in new and r[1] in old]
                if active:
                    found.load[at] -= saved_bytes(active, self._bytes)
