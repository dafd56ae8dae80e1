"""From an order and the gaps to evict to events, residencies and addresses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dnncc.passes.planning import place
from dnncc.passes.planning.problem import Buffer, Overlap, PlaceProblem
from dnncc.passes.planning.spill.problem import Event, Residency
from dnncc.passes.planning.spill.timeline import Timeline


@dataclass(frozen=True)
class Placed:
    """A plan with addresses; its height may exceed the capacity."""

    events: tuple[Event, ...]
    residencies: tuple[Residency, ...]
    workspaces: tuple[int | None, ...]
    height: int


def realize(
    timeline: Timeline,
    evicted: Collection[int],
    *,
    effort: float,
    time_limit: float | None = None,
    threads: int = 1,
) -> Placed:
    """Events of the plan, and every residency as a rectangle in time and space, placed at the capacity."""
    problem = timeline.model.problem
    events, spans = _copies(timeline, evicted)
    sizes = timeline.model.traffic
    buffers = [Buffer(n, start, end, sizes[s], problem.alignment) for n, (s, start, end) in enumerate(spans)]
    born = {(s, start): n for n, (s, start, _) in enumerate(spans)}
    left = {(s, end - 1): n for n, (s, _, end) in enumerate(spans)}
    overlaps = [
        Overlap(born[o, now], left[i, now], distance)
        for now, rules in enumerate(timeline.rules)
        for (o, i, distance), gap in rules
        if (gap is None or gap in evicted) and (o, now) in born and (i, now) in left
    ]
    first = len(spans)
    for now, v in enumerate(timeline.order):
        if scratch := problem.graph.operators[v].workspace:
            buffers.append(Buffer(first + v, now, now + 1, scratch, problem.alignment))
    wanted = PlaceProblem(tuple(buffers), tuple(overlaps), capacity=problem.capacity)
    found = place.solve(wanted, effort, time_limit=time_limit, threads=threads)
    at = {b.id: x for b, x in zip(buffers, found.offsets, strict=True)}
    residencies = sorted(
        (Residency(s, start, end, at[n]) for n, (s, start, end) in enumerate(spans)),
        key=lambda r: (r.start, r.end, r.storage),
    )
    workspaces = tuple(at.get(first + v) for v in range(timeline.steps))
    return Placed(events, tuple(residencies), workspaces, found.height)


def _copies(
    timeline: Timeline, evicted: Collection[int]
) -> tuple[tuple[Event, ...], list[tuple[int, int, int]]]:
    """The events, and (storage, start, end) of every residency."""
    overwritten = {gap for rules in timeline.rules for _, gap in rules if gap is not None and gap in evicted}
    events: list[Event] = []
    spans: list[tuple[int, int, int]] = []
    gaps: dict[int, list[int]] = {}
    for g, gap in enumerate(timeline.gaps):
        gaps.setdefault(gap.storage, []).append(g)
    for s, uses in timeline.uses.items():
        start: int | None = max(timeline.first[s], 0)
        written: set[int] = set()
        for g in gaps.get(s, []):
            gap = timeline.gaps[g]
            if g not in evicted:
                continue
            version = gap.version
            if version is not None and version not in written and timeline.pays(version, evicted):
                written.add(version)
                events.append(Event(gap.start + (g not in overwritten), "spill", s))
            if gap.start >= 0 and start is not None:
                spans.append((s, start, gap.start + 1))
            start = None
            if gap.end < timeline.steps:
                events.append(Event(gap.end, "retrieve", s))
                start = gap.end
        if start is not None:
            end = timeline.steps + 1 if s in timeline.model.kept else uses[-1] + 1
            spans.append((s, start, end))
    events.sort(key=lambda e: (e.step, e.kind != "spill", e.storage))
    return tuple(events), spans
