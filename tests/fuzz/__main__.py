"""``python -m fuzz [--count N] [--first SEED] [--jobs J] [--check CHECK] [--damage] [--no-sanitizers]``."""

from __future__ import annotations

import argparse
import collections
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import onnx
import onnxruntime

from fuzz.checks import CHECKS, Verdict, guarded, network_for, shrunk
from fuzz.damage import damaged, outcome
from fuzz.network import random_network

onnxruntime.set_default_logger_severity(4)


def examine(dtypes: tuple[str, ...], sanitize: bool, folder: Path, seed: int) -> list[tuple[str, Verdict]]:
    """One network in every dtype; a failure leaves its reproducer behind."""
    found = []
    for dtype in dtypes:
        model = network_for(dtype, seed)
        verdict = guarded(CHECKS[dtype], model, sanitize)
        if verdict.failed:
            small, verdict = shrunk(CHECKS[dtype], model, verdict, sanitize)
            folder.mkdir(parents=True, exist_ok=True)
            onnx.save(small, folder / f"{dtype}-{seed}.onnx")
        found.append((dtype, verdict))
    return found


def examine_damage(folder: Path, seed: int) -> list[tuple[str, Verdict]]:
    """One damaged file; a failure is kept."""
    data = damaged(random_network(seed // 4).SerializeToString(), seed)
    problem = outcome(data)
    if problem:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"damaged-{seed}.onnx").write_bytes(data)
    return [("damaged", Verdict("wrong", problem) if problem else Verdict("ok"))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", choices=sorted(CHECKS))
    parser.add_argument("--damage", action="store_true", help="damaged model files instead of networks")
    parser.add_argument("--no-sanitizers", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/fuzz"), help="where reproducers go")
    arguments = parser.parse_args()
    dtypes = (arguments.check,) if arguments.check else tuple(CHECKS)
    work = (
        partial(examine_damage, arguments.output)
        if arguments.damage
        else partial(examine, dtypes, not arguments.no_sanitizers, arguments.output)
    )
    seeds = range(arguments.first, arguments.first + arguments.count)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for seed, results in zip(seeds, pool.map(work, seeds, chunksize=4), strict=True):
            for what, verdict in results:
                counts[what, verdict.kind] += 1
                if verdict.failed:
                    print(f"{what} seed {seed}: {verdict.kind}\n{verdict.why}\n", flush=True)
    for (what, kind), count in sorted(counts.items()):
        print(f"{what:8} {kind:8} {count}")
    return int(any(kind in ("wrong", "crash") for _, kind in counts))


if __name__ == "__main__":
    sys.exit(main())
