"""Placement: exact against exhaustive search, honest bounds, overlaps that leave the values intact."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from dnncc.errors import InternalError
from dnncc.passes.planning import canonical, lifetimes, order, place
from dnncc.passes.planning.check import check_place
from dnncc.passes.planning.clock import Clock
from dnncc.passes.planning.exact import solve_exactly
from dnncc.passes.planning.firstfit import first_fit
from dnncc.passes.planning.layout import Layout
from dnncc.passes.planning.problem import Buffer, OrderProblem, Overlap, PlaceProblem, PlaceSolution
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planning_cases import (
    Net,
    chain,
    inception,
    mobilenet,
    nasnet,
    random_order_problem,
    random_place_problem,
    resnet,
)


def least_height(problem: PlaceProblem) -> int:
    """Tries all offsets."""
    allowed = {(r.output, r.input): r.distance for r in problem.overlaps}
    buffers = [b for b in problem.buffers if b.size]

    def legal(a: Buffer, x: int, b: Buffer, y: int) -> bool:
        apart_in_time = a.upper <= b.lower or b.upper <= a.lower
        if apart_in_time or x + a.size <= y or y + b.size <= x:
            return True
        below = (a.id, b.id) in allowed and x + allowed[a.id, b.id] <= y
        return below or ((b.id, a.id) in allowed and y + allowed[b.id, a.id] <= x)

    def fits(height: int, chosen: list[int]) -> bool:
        if len(chosen) == len(buffers):
            return True
        b = buffers[len(chosen)]
        for x in range(0, height - b.size + 1, b.alignment):
            free = all(legal(b, x, a, y) for a, y in zip(buffers, chosen, strict=False))
            if free and fits(height, [*chosen, x]):
                return True
        return False

    height = 0
    while not fits(height, []):
        height += 1
    return height


@given(st.randoms(use_true_random=False), st.integers(0, 6), st.integers(-2, 3))
@settings(max_examples=150)
def test_optimal_and_bounds_hold_against_all_offsets(rng: Random, count: int, spare: int) -> None:
    problem = random_place_problem(rng, count)
    best = least_height(problem)
    solution = place.solve(problem)
    assert (solution.height, solution.status) == (best, "optimal")
    hurried = place.solve(problem, effort=0)
    assert hurried.bound <= best <= hurried.height
    fitting = place.solve(replace(problem, capacity=best + spare))
    if spare >= 0:
        assert fitting.height <= best + spare
    else:
        assert fitting.bound > best + spare
    assert fitting.bound <= best


@given(st.randoms(use_true_random=False), st.integers(2, 6))
@settings(max_examples=50)
def test_constraint_solver_alone_is_exact(rng: Random, count: int) -> None:
    """From a start as bad as can be, to the minimum and to a target that can or cannot be had."""
    problem = random_place_problem(rng, count)
    layout = Layout(problem)
    best = least_height(problem)
    start: list[int] = []
    for n in range(len(layout.size)):
        under = start[-1] + layout.size[n - 1] if n else 0
        start.append(-(-under // layout.step[n]) * layout.step[n])
    assume(layout.height(start) > layout.bound())

    def silent(height: int, bound: int) -> None:
        assert bound <= height

    lowest = solve_exactly(layout, start, layout.bound(), None, 10, silent)
    assert (layout.height(lowest.offsets or start), lowest.bound) == (best, best)
    assert solve_exactly(layout, start, layout.bound(), best, 10, silent).offsets is not None
    if best > layout.bound():
        refuted = solve_exactly(layout, start, layout.bound(), best - 1, 10, silent)
        assert refuted.offsets is None
        assert layout.bound() < refuted.bound <= best


@pytest.mark.parametrize("problem", [chain(1000), resnet(30), nasnet(2)], ids=["chain", "resnet", "nasnet"])
def test_usual_networks_reach_the_bound_at_once(problem: OrderProblem) -> None:
    """Without the constraint solver, whose import alone takes a second."""
    solved = order.solve(problem)
    solution = place.solve(lifetimes.place_problem(problem, solved.order))
    assert solution.method == "first-fit"
    assert solution.height == solved.peak


def test_tree_search_reaches_the_bound_where_first_fit_does_not() -> None:
    problem = inception(9)
    solved = order.solve(problem)
    solution = place.solve(lifetimes.place_problem(problem, solved.order))
    assert solution.method == "branch-and-bound"
    assert solution.height == solved.peak


def test_overlaps_in_a_row_cannot_all_be_tight() -> None:
    """Every depthwise pair needs two rows beside its input, but the rows of consecutive ones add up."""
    problem = mobilenet(10)
    solved = order.solve(problem)
    placing = lifetimes.place_problem(problem, solved.order)
    solution = place.solve(placing)
    assert solved.peak == 19_200
    assert solution.status == "optimal"
    assert place.solve(replace(placing, capacity=solution.height - 1)).bound >= solution.height
    assert solution.height < place.solve(replace(placing, overlaps=())).height


def test_depthwise_convolution_starts_two_rows_below_its_input() -> None:
    pair = (Buffer(0, 0, 2, 100), Buffer(1, 1, 3, 100))
    for distance, height in ((-5, 100), (0, 100), (20, 120), (99, 199), (100, 200), (500, 200)):
        solution = place.solve(PlaceProblem(pair, (Overlap(1, 0, distance),)))
        assert (solution.height, solution.status) == (height, "optimal")


def test_alignment_and_empty_buffers() -> None:
    buffers = (Buffer(0, 0, 1, 5, 1), Buffer(1, 0, 1, 3, 8), Buffer(2, 0, 1, 0, 4), Buffer(3, 0, 1, 2, 4))
    solution = place.solve(PlaceProblem(buffers))
    assert (solution.height, solution.status) == (10, "optimal")
    assert [x % b.alignment for b, x in zip(buffers, solution.offsets, strict=True)] == [0, 0, 0, 0]
    assert place.solve(PlaceProblem(())).height == 0


@given(st.randoms(use_true_random=False), st.integers(1, 7), st.integers(0, 2))
@settings(max_examples=100)
def test_canonical_search_alone_is_exact(rng: Random, count: int, spare: int) -> None:
    problem = replace(random_place_problem(rng, count), overlaps=())
    layout = Layout(problem)
    assume(canonical.applies(layout))
    best = least_height(problem)
    order = list(range(len(layout.size)))
    rng.shuffle(order)
    search = canonical.Search(layout, best + spare, order)
    while not search.over:
        search.run(3, Clock())
    if all(size % layout.step[0] == 0 for size in layout.size):
        assert search.offsets is not None
    if search.offsets is not None:
        assert layout.height(search.offsets) <= best + spare
        check_place(problem, placed(problem, layout.offsets(search.offsets)))
    if best > layout.bound():
        below = canonical.Search(layout, best - 1, order)
        below.run(10_000, Clock())
        assert below.offsets is None
        assert below.over


def placed(problem: PlaceProblem, offsets: tuple[int, ...]) -> PlaceSolution:
    height = max((b.size + x for b, x in zip(problem.buffers, offsets, strict=True) if b.size), default=0)
    pools = (0,) * len(offsets)
    return PlaceSolution(offsets, height, height, "optimal", "", 0, 0, pools=pools, heights=(height,))


def hard(count: int) -> PlaceProblem:
    """Rectangles that no heuristic packs to the bound."""
    rng = Random(5)
    buffers = []
    for n in range(count):
        lower = rng.randrange(40)
        buffers.append(Buffer(n, lower, lower + rng.randint(1, 15), rng.randint(50, 500)))
    return PlaceProblem(tuple(buffers))


def test_interrupt_during_the_heuristics_keeps_the_best() -> None:
    seen: list[tuple[int, int]] = []

    def interrupt(height: int, bound: int) -> None:
        seen.append((height, bound))
        if len(seen) == 3:
            raise KeyboardInterrupt

    solution = place.solve(hard(60), progress=interrupt)
    assert solution.interrupted
    assert (solution.height, solution.bound) == seen[2]
    assert solution.height < seen[0][0]


def ctrl_c(height: int, bound: int) -> None:
    """Arrives while the constraint solver runs in its own thread, at its first solution."""
    if threading.current_thread() is not threading.main_thread():
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C arrives as it does in a terminal, even where a shell started the tests in the background, ignoring it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_interrupt_during_the_constraint_solver_keeps_the_best() -> None:
    layout = Layout(hard(250))
    start = first_fit(layout, range(250))
    answer = solve_exactly(layout, start, layout.bound(), None, 10_000, ctrl_c)
    assert answer.interrupted
    assert answer.offsets is not None
    assert layout.bound() <= answer.bound <= layout.height(answer.offsets) < layout.height(start)


@pytest.mark.usefixtures("interrupts")
def test_interrupt_at_the_last_improvement_is_reported() -> None:
    problem = mobilenet(10)
    placing = lifetimes.place_problem(problem, order.solve(problem).order)
    solution = place.solve(placing, progress=ctrl_c)
    assert (solution.method, solution.interrupted) == ("cp-sat", True)
    with pytest.raises(KeyboardInterrupt):  # Python's own handler is back
        signal.raise_signal(signal.SIGINT)


def test_malformed_problems_are_refused() -> None:
    a, b, later = Buffer(0, 0, 2, 4), Buffer(1, 1, 3, 4), Buffer(2, 2, 3, 4)
    wrong = [
        (PlaceProblem((a, a)), "an id occurs twice"),
        (PlaceProblem((replace(a, upper=0),)), r"it lives in \[0, 0\)"),
        (PlaceProblem((replace(a, size=-1),)), "-1 bytes"),
        (PlaceProblem((replace(a, alignment=0),)), "it lives in"),
        (PlaceProblem((a, b), (Overlap(1, 7, 0),)), "no pair of buffers"),
        (PlaceProblem((a, b), (Overlap(1, 0, 0), Overlap(0, 1, 0))), "stated twice"),
        (PlaceProblem((a, later), (Overlap(2, 0, 0),)), "is not the input's last one"),
        (PlaceProblem((replace(a, upper=3), b), (Overlap(1, 0, 0),)), "is not the input's last one"),
    ]
    for problem, reason in wrong:
        with pytest.raises(InternalError, match=reason):
            place.solve(problem)


def test_the_checker_refuses_wrong_placements() -> None:
    problem = PlaceProblem((Buffer(7, 0, 2, 8, 4), Buffer(9, 1, 3, 8, 4)), (Overlap(9, 7, 4),))
    good = place.solve(problem)
    assert good.offsets == (4, 0)

    def moved(*offsets: int) -> PlaceSolution:
        height = max(offsets) + 8
        return replace(good, offsets=offsets, height=height, bound=height, heights=(height,))

    check_place(problem, moved(4, 0))
    check_place(problem, moved(0, 8))
    wrong = [
        (moved(0, 0), "buffers 9, 7"),
        (moved(0, 4), "buffers 9, 7"),
        (moved(2, 12), "buffer 7: offset 2"),
        (moved(-4, 8), "buffer 7: offset -4"),
        (moved(4), "1, 2 for 2 buffers"),
        (replace(good, height=8, bound=8), r"\[12\] measured"),
        (replace(good, bound=13), "exceeds"),
        (replace(good, bound=11), "optimal with"),
    ]
    for solution, reason in wrong:
        with pytest.raises(InternalError, match=reason):
            check_place(problem, solution)
    longer = replace(problem, buffers=(replace(problem.buffers[0], upper=3), problem.buffers[1]))
    with pytest.raises(InternalError, match="buffers 9, 7"):
        check_place(longer, good)


@given(st.randoms(use_true_random=False), st.integers(0, 12))
@settings(max_examples=100)
def test_placement_of_an_order_needs_at_least_its_peak(rng: Random, count: int) -> None:
    problem = random_order_problem(rng, count)
    solved = order.solve(problem)
    placing = lifetimes.place_problem(problem, solved.order)
    solution = place.solve(placing, effort=0)
    assert solution.bound >= solved.peak
    found = lifetimes.addresses(problem, placing, solution)
    for t, tensor in enumerate(problem.tensors):
        at = found.tensors[t]
        if tensor.view_of is not None and at is not None:
            base = found.tensors[tensor.view_of]
            assert base is not None
            assert at == base + tensor.view_offset


def test_addresses_of_views_and_workspaces() -> None:
    net = Net()
    x = net.op([net.tensor(0)], 8, workspace=6)
    half = net.tensor(4, x, 4)
    problem = net.problem(net.op([half], 3))
    placing = lifetimes.place_problem(problem, (0, 1), alignment=4)
    found = lifetimes.addresses(problem, placing, place.solve(placing))
    assert found.tensors[0] is None
    assert found.tensors[half] == 4 + (found.tensors[x] or 0)
    assert sorted(found.workspaces, key=str) == [8, None]


@given(st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_overlapped_operators_compute_the_same(rng: Random) -> None:
    """Runs a net of sliding windows byte by byte in the arena, and beside it with every tensor on its own."""
    net = Net()
    windows: list[int] = []
    readable = [net.op([net.tensor(0)], rng.randint(4, 9))]
    for _ in range(rng.randint(3, 9)):
        inputs = [rng.choice(readable[-3:]) for _ in range(rng.randint(1, 2))]
        window = rng.randint(1, 4)
        windows.append(window)
        # y[k] sums up x[k - window + 1 .. k], the first of which nobody reads after y[k] is written.
        readable.append(net.op(inputs, rng.randint(4, 9), over=dict.fromkeys(inputs, window - 1)))
    problem = net.problem(readable[-1])
    solved = order.solve(problem)
    placing = lifetimes.place_problem(problem, solved.order)
    solution = place.solve(placing, effort=0.1)
    at = lifetimes.addresses(problem, placing, solution).tensors
    arena = bytearray(solution.height)
    alone = [bytearray(t.size) for t in problem.tensors]

    def run(v: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None]) -> None:
        op = problem.operators[v]
        size = problem.tensors[op.outputs[0]].size
        for k in range(size):
            total = 7 * k + 1
            for t in op.inputs if v else ():
                seen = range(max(0, k - windows[v - 1] + 1), min(k + 1, problem.tensors[t].size))
                total += sum(read(t, j) * (t + 1) for j in seen)
            write(op.outputs[0], k, total % 251)

    def address(t: int, k: int) -> int:
        start = at[t]
        assert start is not None
        return start + k

    for v in solved.order:
        run(v, lambda t, k: alone[t][k], lambda t, k, x: alone[t].__setitem__(k, x))
        run(v, lambda t, k: arena[address(t, k)], lambda t, k, x: arena.__setitem__(address(t, k), x))
        result = problem.operators[v].outputs[0]
        start = address(result, 0)
        assert arena[start : start + len(alone[result])] == alone[result]
    kept = problem.outputs[0]
    assert arena[address(kept, 0) : address(kept, 0) + len(alone[kept])] == alone[kept]


@pytest.mark.parametrize("name", "ABCDEFGHIJK")
def test_public_allocation_instances_have_sound_bounds(data_dir: Path, name: str) -> None:
    """All fit in 1 MiB (as their file names say), mostly without a byte to spare."""
    with (data_dir / "minimalloc" / f"{name}.1048576.csv").open(newline="") as file:
        rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    problem = PlaceProblem(tuple(Buffer(r["id"], r["lower"], r["upper"], r["size"]) for r in rows))
    solution = place.solve(problem, effort=0)
    assert 0.94 * 2**20 <= solution.bound <= 2**20 <= solution.height <= 1.41 * 2**20


@pytest.mark.parametrize("name", ["D", "E", "F"])
def test_public_allocation_instances_are_placed(data_dir: Path, name: str) -> None:
    """The others take longer; ``python -m benchmarks.memory`` places all."""
    with (data_dir / "minimalloc" / f"{name}.1048576.csv").open(newline="") as file:
        rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    buffers = tuple(Buffer(r["id"], r["lower"], r["upper"], r["size"]) for r in rows)
    assert place.solve(PlaceProblem(buffers, capacity=2**20)).fits
