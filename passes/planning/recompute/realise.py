"""From a solution of a relaxation to a sequence: everything is computed again as late as its readers allow."""

from __future__ import annotations

from collections.abc import Sequence

from dnncc.passes.planning.recompute.cuts import Relaxation
from dnncc.passes.planning.recompute.sequence import SequenceModel


def realise(model: SequenceModel, relaxation: Relaxation, values: Sequence[bool]) -> list[int]:
    """A valid sequence in the given order, which may exceed the budget between the cuts."""
    maker = model.maker.tolist()
    sequence = list(range(relaxation.cuts[0].operator + 1))
    for i, cut in enumerate(relaxation.cuts):
        again = {v for v, x in relaxation.again[i].items() if values[x]}
        last = i + 1 == len(relaxation.cuts)
        following = model.count if last else relaxation.cuts[i + 1].operator + 1
        kept = {s for s, x in relaxation.keep[i].items() if values[x]}

        def bring(s: int, again: set[int] = again, kept: set[int] = kept) -> None:
            """Storage s is read next."""
            v = maker[s]
            if v in again and s not in kept:
                again.discard(v)
                for other in model.reads[v]:
                    bring(other)
                sequence.append(v)

        for v in range(cut.operator + 1, following):
            if not last and v == following - 1:
                for s, x in relaxation.keep[i + 1].items():
                    if values[x]:
                        bring(s)
            for s in model.reads[v]:
                bring(s)
            sequence.append(v)
        if last:
            for s in model.kept:
                bring(s)
    return sequence


def overloaded(sequence: Sequence[int], over: Sequence[int], cuts: Sequence[int], count: int) -> list[int]:
    """Operators whose first execution would make a useful further cut, the worst first.

    Args:
        sequence: executions.
        over: bytes above the budget at each of them.
        cuts: operators that are cuts already.
        count: how many to return at most.
    """
    first: dict[int, int] = {}
    following = [0] * len(sequence)
    for at, v in enumerate(sequence):
        first.setdefault(v, at)
    at_next = len(first) - 1
    for at in reversed(range(len(sequence))):
        if first[sequence[at]] == at:
            at_next = sequence[at]
        following[at] = at_next
    found: list[int] = []
    for at in sorted(range(len(sequence)), key=lambda i: (-over[i], i)):
        if over[at] <= 0 or len(found) == count:
            break
        v = following[at]
        if v not in cuts and v not in found:
            found.append(v)
    return found
