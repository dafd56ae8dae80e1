"""The optimizer of stages in parts against brute force, and its checker against plans that are wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from dnncc.passes.planning.patch.check import check
from dnncc.passes.planning.patch.problem import (
    START,
    Ending,
    Form,
    Image,
    Layer,
    PatchProblem,
    Read,
    Stage,
    StagePlan,
    Window,
)
from dnncc.passes.planning.patch.schedule import lay_out, work
from dnncc.passes.planning.patch.solve import front, peak_with, solve

CHOICES: list[tuple[Form, tuple[int, int]]] = [
    *(("rows", (1, n)) for n in range(1, 5)),
    *(("patches", (m, n)) for m in range(1, 5) for n in range(1, 5) if m * n > 1),
]
Pixels = set[tuple[int, int]]


def random_stage(seed: int, layers: int = 4) -> Stage:
    """A chain with windows of all kinds, now and then with a residual or a branch."""
    random = Random(seed)
    images = [Image(random.randint(6, 12), random.randint(6, 12), random.randint(1, 3))]
    made = [Layer()]
    while len(made) <= layers:
        source = images[-1]

        def window(size: int) -> tuple[Window, int]:
            extent = random.randint(1, min(3, size))
            before, after = (random.randint(0, extent - 1) for _ in range(2))
            stride = random.choice((1, 1, 2))
            return Window(extent, stride, before), (size + before + after - extent) // stride + 1

        (rows, height), (columns, width) = window(source.height), window(source.width)
        reads = [Read(len(images) - 1, rows, columns)]
        for i, image in enumerate(images):
            if (image.height, image.width) == (height, width) and random.random() < 0.5:
                reads.append(Read(i))
                break
        made.append(Layer(tuple(reads), random.randint(1, 9), random.choice((0, 0, 5))))
        images.append(Image(height, width, random.randint(1, 4)))
    return Stage(tuple(images), tuple(made))


def needed(stage: Stage, part: Pixels) -> list[Pixels]:
    """Per image the pixels that a part of the output takes, pixel by pixel; rows and columns filled up to a rectangle,
    since that is what kernels compute."""
    found: list[Pixels] = [set() for _ in stage.images]
    found[-1] = part
    for i in reversed(range(len(stage.images))):
        found[i] = rectangle(found[i])
        for y, x in found[i]:
            for read in stage.layers[i].reads:
                image = stage.images[read.image]
                for dy, dx in itertools.product(range(read.rows.extent), range(read.columns.extent)):
                    row = y * read.rows.stride - read.rows.before + dy
                    column = x * read.columns.stride - read.columns.before + dx
                    if 0 <= row < image.height and 0 <= column < image.width:
                        found[read.image].add((row, column))
    return found


def rectangle(pixels: Pixels) -> Pixels:
    rows, columns = [y for y, _ in pixels], [x for _, x in pixels]
    return set(itertools.product(range(min(rows), max(rows) + 1), range(min(columns), max(columns) + 1)))


def parts(size: int, count: int) -> list[range]:
    count = min(count, size)
    ends = [0]
    for k in range(count):
        ends.append(ends[-1] + size // count + (k < size % count))
    return [range(a, b) for a, b in itertools.pairwise(ends)]


def counted_macs(stage: Stage, form: Form, grid: tuple[int, int]) -> int:
    output = stage.images[-1]
    bands = [range(output.height)] if form == "rows" else parts(output.height, grid[0])
    total = 0
    for rows, columns in itertools.product(bands, parts(output.width, grid[1])):
        pixels = needed(stage, set(itertools.product(rows, columns)))
        total += sum(len(p) * k.macs for p, k in zip(pixels, stage.layers, strict=True))
    return total


def live_bytes(stage: Stage, plan: StagePlan) -> int:
    """The most bytes of buffers and workspaces that are needed at once: no placement takes less."""
    widths = [max(c[i][1] - c[i][0] for c in plan.columns) for i in range(len(stage.images))]
    sizes = [r * w * i.bytes for r, w, i in zip(plan.rows, widths, stage.images, strict=True)]
    positions: list[list[int]] = [[] for _ in stage.images]
    lives: list[set[int]] = [set() for _ in stage.images]
    rows: list[int] = []
    band = 0
    made: list[dict[int, int]] = []
    for now, i in enumerate(plan.program):
        if i == START:
            rows, made = list(plan.starts[band]), [{} for _ in stage.images]
            band += 1
            continue
        row = rows[i]
        rows[i] += 1
        made[i][row] = now
        positions[i].append(now)
        lives[i].add(now)
        if 0 <= row < stage.images[i].height:
            for read in stage.layers[i].reads:
                first = row * read.rows.stride - read.rows.before
                for r in range(first, first + read.rows.extent):
                    lives[read.image].update(range(made[read.image][r], now + 1))

    def up(size: int) -> int:
        return -(-size // 4) * 4

    most = 0
    for now in range(len(plan.program)):
        held = sum(up(s) for s, life in zip(sizes, lives, strict=True) if now in life)
        run = sum(up(k.workspace) for k, p in zip(stage.layers, positions, strict=True) if now in p)
        most = max(most, held + run)
    return most


@pytest.mark.parametrize("seed", range(15))
def test_work_and_memory_of_a_layout_are_those_counted(seed: int) -> None:
    stage = random_stage(seed)
    for form, grid in CHOICES:
        plan = lay_out(stage, form, grid)
        check(stage, plan)
        assert plan.macs == work(stage, form, grid) == counted_macs(stage, form, grid), (form, grid)
        assert live_bytes(stage, plan) <= plan.workspace <= 1.3 * live_bytes(stage, plan) + 16, (form, grid)


def random_problem(seed: int, budget: int | None) -> PatchProblem:
    random = Random(seed)
    whole = random_stage(seed, 5)
    endings = []
    for layers in range(2, 6):
        images, made = whole.images[: layers + 1], whole.layers[: layers + 1]
        stage = Stage(images, made)
        if len({r.image for k in made for r in k.reads}) == layers:
            output = images[-1]
            size = output.height * output.width * output.bytes
            endings.append(Ending(stage, size, size + random.randint(0, 300)))
    return PatchProblem(tuple(endings), 600, whole.macs, whole.macs // 3, budget, grids=(4, 4))


@pytest.mark.parametrize("budget", [None, 250, 400, 1])
@pytest.mark.parametrize("seed", range(12))
def test_the_choice_is_that_of_brute_force(seed: int, budget: int | None) -> None:
    problem = random_problem(seed, budget)
    every = [(problem.peak, 0)]
    for ending in problem.endings:
        for form, grid in CHOICES:
            added = counted_macs(ending.stage, form, grid) - ending.stage.macs
            if added <= problem.most_added:
                every.append((peak_with(ending, lay_out(ending.stage, form, grid)), added))
    within = [(added, peak) for peak, added in every if budget is not None and peak <= budget]
    found = solve(problem)
    if within:
        assert (found.added, found.peak) == min(within)
    else:
        assert (found.peak, found.added) == min(every)


@pytest.mark.parametrize("seed", range(12))
def test_the_front_is_what_nothing_beats(seed: int) -> None:
    problem = random_problem(seed, None)
    every = set()
    for ending in problem.endings:
        for form, grid in CHOICES:
            plan = lay_out(ending.stage, form, grid)
            point = peak_with(ending, plan), plan.macs - ending.stage.macs
            if point[0] < problem.peak and point[1] <= problem.most_added:
                every.add(point)
    best = sorted(p for p in every if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in every))
    assert [(f.peak, f.added) for f in front(problem)] == best


def small() -> tuple[Stage, StagePlan]:
    w = Window(3, 1, 1)
    images = (Image(6, 6, 1), Image(6, 6, 2), Image(6, 6, 1))
    stage = Stage(images, (Layer(), Layer((Read(0, w, w),), 9, 4), Layer((Read(1, w, w),), 18, 4)))
    return stage, lay_out(stage, "rows", (1, 2))


BROKEN: dict[str, Callable[[StagePlan], StagePlan]] = {
    "a row too few": lambda p: replace(p, rows=(2, *p.rows[1:])),
    "a row is not computed": lambda p: replace(p, program=(*p.program[:3], *p.program[4:])),
    "the last row is missing": lambda p: replace(p, program=p.program[:-1]),
    "a row is computed too late": lambda p: replace(p, program=(START, 2, *p.program[1:-1])),
    "it starts a row too late": lambda p: replace(p, starts=((p.starts[0][0] + 1, *p.starts[0][1:]),)),
    "buffers lie on each other": lambda p: replace(p, offsets=(p.offsets[1], *p.offsets[1:])),
    "scratch lies on a buffer": lambda p: replace(p, scratch=(0, p.offsets[0], p.scratch[2])),
    "beyond the workspace": lambda p: replace(p, workspace=p.workspace - 4),
    "a column is missing": lambda p: replace(
        p,
        columns=(
            (p.columns[0][0], (p.columns[0][1][0], p.columns[0][1][1] - 1), p.columns[0][2]),
            p.columns[1],
        ),
    ),
    "a strip is missing": lambda p: replace(p, columns=p.columns[:1]),
    "a strip is computed twice": lambda p: replace(p, columns=(*p.columns, p.columns[0])),
    "less work than there is": lambda p: replace(p, macs=p.macs - 1),
    "another stage": lambda p: replace(p, rows=p.rows[1:]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_checker_refuses(broken: str) -> None:
    stage, plan = small()
    check(stage, plan)
    with pytest.raises(ValueError, match=r"\w"):
        check(stage, BROKEN[broken](plan))


def test_a_stage_of_which_a_part_is_for_nothing_is_refused() -> None:
    stage = Stage((Image(4, 4, 1),) * 3, (Layer(), Layer(), Layer((Read(0),), 1)))
    with pytest.raises(ValueError, match="nobody reads image 1"):
        lay_out(stage, "rows", (1, 1))
