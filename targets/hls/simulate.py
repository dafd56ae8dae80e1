"""Token-cycle simulation: when every word of every stream is written and read, and how deep its FIFO must be.

Earliest times come from a pass from the sources to the sinks with unbounded FIFOs; then a pass from the sinks back
puts every iteration as late as it can be without delaying any result. A FIFO is as deep as these late times need it:
a word's place must be free when the iteration that will write it starts.

Why that is enough, for pipelines that stand still as a whole while a word finds its FIFO full: no event happens later
than in the late times. Assume that so far none has. A pipeline that stands still because of a word waits for the read
that frees its place, which comes before the late start of the word's iteration; so it goes on by then, at least a
latency before the word is due, and what is behind the word in the pipeline, or not started yet, is in time as well.
(For pipelines that let bubbles collapse this is the monotonicity of marked graphs, Commoner et al. 1971.) The earliest
times are a lower bound, and both end at the same cycle: the bounded pipeline runs at full speed and cannot get stuck.
``check`` verifies that the late times keep every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dnncc.ir.types import Array
from dnncc.targets.hls.stages.base import Schedule

FRAMES = 4
LEAST_DEPTH = 2
"""A FIFO of one word would let its writer and its reader take turns only."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Stages and how they are connected; a stage comes after those that it reads from.

    Attributes:
        schedules: per stage.
        links: per stream (writing stage, its output, reading stage, its input).
    """

    schedules: tuple[Schedule, ...]
    links: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Solution:
    """Times in cycles over ``FRAMES`` frames.

    Attributes:
        earliest, latest: per stage the start of each iteration.
        depths: per stream.
        interval: cycles between two frames' last results, in the steady state.
        latency: cycles from the first word in to the first frame's last result.
    """

    earliest: tuple[Array, ...]
    latest: tuple[Array, ...]
    depths: tuple[int, ...]
    interval: int
    latency: int


def solve(problem: Problem, frames: int = FRAMES) -> Solution:
    """Times and FIFO depths."""
    earliest = _forward(problem, frames)
    sinks = [i for i in range(len(problem.schedules)) if all(link[0] != i for link in problem.links)]
    ends = np.max([_ends(problem.schedules[i], earliest[i], frames) for i in sinks], axis=0)
    latest = _backward(problem, earliest, frames)
    depths = tuple(
        max(LEAST_DEPTH, _depth(problem.schedules[link[0]].latency, *_times(problem, link, latest, frames)))
        for link in problem.links
    )
    interval = int(ends[-1] - ends[-2]) if frames > 1 else int(ends[-1])
    return Solution(tuple(earliest), tuple(latest), depths, interval, int(ends[0]))


def check(problem: Problem, solution: Solution, frames: int = FRAMES) -> None:
    """AssertionError unless the late times keep every rule with FIFOs of the chosen depths, and end as early as
    possible.
    """
    for schedule, times in zip(problem.schedules, solution.latest, strict=True):
        assert len(times) == schedule.iterations * frames
        assert (np.diff(times) >= 1).all(), "a stage starts two iterations in a cycle"
    for link, depth in zip(problem.links, solution.depths, strict=True):
        writes, reads = _times(problem, link, solution.latest, frames)
        starts = writes - problem.schedules[link[0]].latency
        assert len(writes) == len(reads), "words are left over"
        assert (reads >= writes + 1).all(), "a word is read before it is there"
        assert (starts[depth:] >= reads[:-depth] + 1).all(), "a word may find its FIFO full"
    for i in range(len(problem.schedules)):
        if all(link[0] != i for link in problem.links):
            assert solution.latest[i][-1] == solution.earliest[i][-1], "a result is late"


def _positions(schedule: Schedule, words: Array, frames: int) -> Array:
    """A port's iterations over all frames."""
    starts = np.arange(frames, dtype=np.int64)[:, None] * schedule.iterations
    return (starts + words[None, :]).reshape(-1)


def _times(
    problem: Problem, link: tuple[int, int, int, int], times: Sequence[Array], frames: int
) -> tuple[Array, Array]:
    """When a stream's words are written and read."""
    source, out, target, into = link
    writer, reader = problem.schedules[source], problem.schedules[target]
    written = times[source][_positions(writer, writer.writes[out], frames)] + writer.latency
    return written, times[target][_positions(reader, reader.reads[into], frames)]


def _forward(problem: Problem, frames: int) -> list[Array]:
    """Each iteration as early as its words are there."""
    times: list[Array] = []
    for i, schedule in enumerate(problem.schedules):
        count = schedule.iterations * frames
        index = np.arange(count, dtype=np.int64)
        slack = np.zeros(count, np.int64)
        for source, out, target, into in problem.links:
            if target == i:
                writer = problem.schedules[source]
                there = times[source][_positions(writer, writer.writes[out], frames)] + writer.latency + 1
                at = _positions(schedule, schedule.reads[into], frames)
                slack[at] = np.maximum(slack[at], there - at)
        times.append(np.maximum.accumulate(slack) + index)
    return times


def _backward(problem: Problem, earliest: Sequence[Array], frames: int) -> list[Array]:
    """Each iteration as late as its results are needed; what ends at the sinks is needed at its earliest."""
    times: list[Array] = [np.zeros(0, np.int64)] * len(problem.schedules)
    for i in reversed(range(len(problem.schedules))):
        schedule = problem.schedules[i]
        count = schedule.iterations * frames
        index = np.arange(count, dtype=np.int64)
        limit = np.full(count, np.iinfo(np.int64).max // 2, np.int64)
        readers = [link for link in problem.links if link[0] == i]
        for _, out, target, into in readers:
            reader = problem.schedules[target]
            needed = times[target][_positions(reader, reader.reads[into], frames)] - 1 - schedule.latency
            at = _positions(schedule, schedule.writes[out], frames)
            limit[at] = np.minimum(limit[at], needed)
        if not readers:
            limit = earliest[i].copy()
        # Iterations after the last result needed (a window's unused last pixels) end with the frame's last one.
        late = np.minimum.accumulate((limit - index)[::-1])[::-1] + index
        times[i] = _bounded(late, earliest[i], schedule.iterations, frames)
    return times


def _bounded(late: Array, earliest: Array, iterations: int, frames: int) -> Array:
    """Late times without the infinite ones of iterations that no result waits for: those keep their distance."""
    known = late < np.iinfo(np.int64).max // 4
    if known.all():
        return late
    first = int(np.argmin(known))
    index = np.arange(len(late) - first, dtype=np.int64)
    shift = late[first - 1] - earliest[first - 1] if first else 0
    late = late.copy()
    late[first:] = np.maximum(earliest[first:] + shift, late[first - 1] + 1 + index if first else 0)
    return late


def _ends(schedule: Schedule, times: Array, frames: int) -> Array:
    """When each frame's last word leaves a sink."""
    return times.reshape(frames, -1)[:, -1] + schedule.latency


def _depth(latency: int, writes: Array, reads: Array) -> int:
    """The most words at a time between the start of their iteration and the cycle after their read."""
    free = np.searchsorted(reads, writes - latency - 1, side="right")
    return int((np.arange(len(writes)) - free + 1).max())
