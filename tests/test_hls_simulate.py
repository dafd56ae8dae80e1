"""Token-cycle simulation: against a simulator that steps through every cycle with full and empty FIFOs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dnncc.ops.window import Window as Geometry
from dnncc.targets.hls.pipeline import timing_problem
from dnncc.targets.hls.simulate import FRAMES, Problem, Solution, check, solve
from dnncc.targets.hls.stages.base import Schedule, steps
from dnncc.targets.hls.stages.window import Sliding, progress
from hls_networks import ZU3EG, everything, fold, network


def step_by_step(problem: Problem, depths: tuple[int, ...], frames: int = FRAMES) -> list[int] | None:
    """The cycle of each stage's last iteration's start; None if it gets stuck. A model of the hardware, with pipelines
    whose iterations write when they leave, and that stand still while they cannot.
    """
    stages = range(len(problem.schedules))
    count = [s.iterations * frames for s in problem.schedules]
    issued, last, fill = [0 for _ in stages], [-1 for _ in stages], [0 for _ in depths]
    flying: list[list[tuple[int, int]]] = [[] for _ in stages]
    reads = {(i, p): set(w.tolist()) for i in stages for p, w in enumerate(problem.schedules[i].reads)}
    writes = {(i, p): set(w.tolist()) for i in stages for p, w in enumerate(problem.schedules[i].writes)}

    def touched(stage: int, iteration: int, out: bool) -> list[int]:
        at = iteration % problem.schedules[stage].iterations
        ends = [(link[0], link[1]) if out else (link[2], link[3]) for link in problem.links]
        ports = writes if out else reads
        return [i for i, end in enumerate(ends) if end[0] == stage and at in ports[end]]

    time, idle = 0, 0
    while any(flying) or issued != count:
        present, moved = list(fill), False
        for stage in stages:
            leaving = flying[stage][0] if flying[stage] else None
            if leaving is not None and leaving[1] == 0:
                given = touched(stage, leaving[0], out=True)
                if any(present[i] >= depths[i] for i in given):
                    continue
                flying[stage].pop(0)
                for i in given:
                    fill[i] += 1
                moved = True
            flying[stage] = [(iteration, left - 1) for iteration, left in flying[stage]]
            moved = moved or bool(flying[stage])
            if issued[stage] < count[stage]:
                taken = touched(stage, issued[stage], out=False)
                if all(present[i] > 0 for i in taken):
                    for i in taken:
                        fill[i] -= 1
                    flying[stage].append((issued[stage], problem.schedules[stage].latency - 1))
                    last[stage], moved = time, True
                    issued[stage] += 1
        idle = 0 if moved else idle + 1
        if idle > 2:
            return None
        time += 1
    return last


def random_pipeline(seed: int) -> Problem:
    """A fork, a slow branch, a fast one, and where they meet; random rates and latencies."""
    rng = np.random.default_rng(seed)
    words = int(rng.integers(4, 20))

    def spread(iterations: int) -> np.ndarray:
        return np.sort(rng.choice(iterations, words, replace=False)).astype(np.int64)

    def stage(inputs: int, outputs: int) -> Schedule:
        iterations = int(rng.integers(words, 3 * words))
        reads = tuple(spread(iterations) for _ in range(inputs))
        # No result before what it is made of.
        writes = tuple(
            np.maximum(spread(iterations), np.max(reads, axis=0)) if reads else spread(iterations)
            for _ in range(outputs)
        )
        return Schedule(iterations, reads, writes, int(rng.integers(1, 9)))

    source, fork = stage(0, 1), Schedule(words, (steps(words),), (steps(words),) * 2, 1)
    return Problem(
        (source, fork, stage(1, 1), stage(1, 1), stage(2, 1), stage(1, 0)),
        ((0, 0, 1, 0), (1, 0, 2, 0), (2, 0, 3, 0), (3, 0, 4, 0), (1, 1, 4, 1), (4, 0, 5, 0)),
    )


@pytest.mark.parametrize("seed", range(30))
def test_bounded_fifos_lose_no_cycle(seed: int) -> None:
    problem = random_pipeline(seed)
    solution = solve(problem)
    check(problem, solution)
    bounded = step_by_step(problem, solution.depths)
    assert bounded is not None, "stuck"
    assert bounded[-1] == solution.earliest[-1][-1]
    # No cycle faster without bounds either: the earliest times are what they say.
    free = step_by_step(problem, (10_000,) * len(problem.links))
    assert free is not None
    assert free == [int(t[-1]) for t in solution.earliest]


def test_depths_matter() -> None:
    """With the least FIFOs everywhere some pipelines lose cycles: the depths are not just large enough by luck."""
    worse = 0
    for seed in range(30):
        problem = random_pipeline(seed)
        solution = solve(problem)
        shallow = step_by_step(problem, tuple(2 for _ in solution.depths))
        worse += shallow is None or shallow[-1] > solution.earliest[-1][-1]
    assert worse > 0


def test_checker_refuses_shallower_fifos() -> None:
    problem = random_pipeline(3)
    solution: Solution = solve(problem)
    deepest = int(np.argmax(solution.depths))
    depths = tuple(d - (i == deepest) for i, d in enumerate(solution.depths))
    with pytest.raises(AssertionError, match="FIFO full"):
        check(problem, replace(solution, depths=depths))


def test_a_network_keeps_the_predicted_pace() -> None:
    folded = fold(network(everything()), ZU3EG)
    assert abs(folded.timing.interval - folded.cycles) <= 0.05 * folded.timing.interval
    problem = timing_problem(folded.design)
    last = step_by_step(problem, folded.timing.depths, 2)
    assert last is not None
    assert last[-1] == solve(problem, 2).earliest[-1][-1]


@pytest.mark.parametrize(
    ("shape", "folds"),
    [
        (Sliding(8, 8, 4, (3, 3), Geometry((1, 1), (1, 1, 1, 1))), 2),
        (Sliding(9, 7, 4, (3, 3), Geometry((2, 2), (1, 1, 0, 0))), 4),
        (Sliding(12, 5, 1, (10, 4), Geometry((2, 2), (4, 1, 5, 1))), 1),
        (Sliding(6, 6, 2, (1, 1), Geometry((2, 2))), 1),
        (Sliding(7, 9, 2, (2, 3), Geometry((1, 2), (2, 0, 1, 2), (3, 2))), 2),
    ],
)
def test_windows_read_no_word_before_it_is_there_nor_after_it_was_overwritten(
    shape: Sliding, folds: int
) -> None:
    """Every tap inside the image against the times of the words and the size of the buffer."""
    p = progress(shape, folds)
    (sh, sw), (dh, dw), (top, left, _, _) = (
        shape.geometry.strides,
        shape.geometry.dilations,
        shape.geometry.pads,
    )
    oh, ow = shape.output
    word = 0
    for oy in range(oh):
        for ox in range(ow):
            for fold_ in range(folds):
                for ky in range(shape.kernel[0]):
                    for kx in range(shape.kernel[1]):
                        y, x = oy * sh - top + ky * dh, ox * sw - left + kx * dw
                        if 0 <= y < shape.height and 0 <= x < shape.width:
                            index = (y * shape.width + x) * folds + fold_
                            assert p.reads[index] < p.writes[word]
                            if index + p.depth < len(p.reads):
                                assert p.reads[index + p.depth] >= p.writes[word]
                        word += 1
    assert word == len(p.writes)
    assert len(p.reads) == shape.height * shape.width * folds
    assert (np.diff(p.reads) > 0).all()
    assert (np.diff(p.writes) > 0).all()
    assert p.iterations == max(p.reads[-1], p.writes[-1]) + 1
