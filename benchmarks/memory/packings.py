"""Static allocation: random instances of which a placement without any gap is known, so that capacity is load."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from dnncc.passes.planning import place
from dnncc.passes.planning.problem import Buffer, PlaceProblem

from benchmarks.bars import Bar
from benchmarks.memory.suite import Options, Outcome, Say, Watch
from benchmarks.tables import Table

CAPACITY = 1 << 16
COUNTS = (20, 50, 100, 200)
GRAINS = (1024, 64)
SEEDS = range(5)

_NOTES = (
    "A rectangle, steps by bytes, is cut by random straight cuts (guillotine) into buffers, which lose their places.",
    "'checked' is done here, in the rectangle's own terms: every byte at every step has exactly one buffer.",
    "Of 400 buffers without a gap a placement was not found (17 % above the load after 50 s).",
)


def cut(rng: Random, count: int, steps: int, capacity: int, grain: int) -> tuple[Buffer, ...]:
    """`count` buffers that fill `steps` times `capacity` bytes; sizes are multiples of the grain."""
    pieces = [(0, steps, 0, capacity // grain)]
    while len(pieces) < count:
        large = [p for p in pieces if p[1] - p[0] > 1 or p[3] - p[2] > 1]
        piece = rng.choices(large, [(p[1] - p[0]) * (p[3] - p[2]) for p in large])[0]
        lower, upper, bottom, top = piece
        pieces.remove(piece)
        if upper - lower > 1 and (top - bottom == 1 or rng.random() < 0.5):
            at = rng.randint(lower + 1, upper - 1)
            pieces += [(lower, at, bottom, top), (at, upper, bottom, top)]
        else:
            at = rng.randint(bottom + 1, top - 1)
            pieces += [(lower, upper, bottom, at), (lower, upper, at, top)]
    rng.shuffle(pieces)
    return tuple(
        Buffer(n, lower, upper, (top - bottom) * grain)
        for n, (lower, upper, bottom, top) in enumerate(pieces)
    )


def collision(buffers: Sequence[Buffer], offsets: Sequence[int], capacity: int) -> str | None:
    """What is wrong with a placement, step by step, or None."""
    for step in range(max(b.upper for b in buffers)):
        end = 0
        alive = [(x, b) for x, b in zip(offsets, buffers, strict=True) if b.lower <= step < b.upper]
        for x, b in sorted(alive, key=lambda entry: entry[0]):
            if x < end:
                return f"step {step}: buffer {b.id} begins at {x}, below {end}"
            end = x + b.size
        if end > capacity:
            return f"step {step}: {end} of {capacity} bytes"
    return None


def run(options: Options, say: Say) -> Outcome:
    """Places every instance at its capacity, the load."""
    rows, bars, records = [], [], []
    for count in COUNTS:
        for grain in GRAINS:
            name = f"{count}x{grain}"
            if not options.wants(name):
                continue
            watch = Watch()
            worst, fine = 0, 0
            for seed in SEEDS:
                buffers = cut(Random(f"{name}/{seed}"), count, count, CAPACITY, grain)
                with watch.timed():
                    found = place.solve(PlaceProblem(buffers, capacity=CAPACITY), threads=options.threads)
                worst = max(worst, found.height)
                wrong = collision(buffers, found.offsets, CAPACITY)
                fine += wrong is None
                say(f"{name} seed {seed}: {found.height} of {CAPACITY}, {wrong or 'checked'}")
            every = len(SEEDS)
            rows.append(
                (
                    f"{count}",
                    f"{grain}",
                    f"{every}",
                    f"{CAPACITY}",
                    f"{worst}",
                    f"{fine}",
                    f"{watch.total.cpu / every:.2f}",
                )
            )
            bars.append(Bar(name, "placed at the load", f"{fine} of {every}", f"{every}", fine == every))
            records.append({"instance": name, "worst_height": worst, "placed": fine, "instances": every})
    head = ("buffers", "grain", "instances", "capacity", "worst height", "checked", "CPU seconds (mean)")
    table = Table("Static allocation: random instances without a gap", head, tuple(rows), _NOTES)
    return Outcome((table,), tuple(bars), tuple(records))
