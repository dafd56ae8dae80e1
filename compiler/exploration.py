"""Parts and foldings of one model: which speeds are worth having, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.driver import Prepared, Progress, prepare
from dnncc.errors import DoesNotFitError, UsageError
from dnncc.ir.types import Array
from dnncc.options import resolve

if TYPE_CHECKING:
    from dnncc.fpga import Folded
    from dnncc.targets.hls.parts import Part

STEPS = 8


@dataclass(frozen=True)
class Point:
    """One design on the front of its part: none that was found is as fast and takes less of the part.

    Attributes:
        part: the FPGA.
        folded: the design.
    """

    part: Part
    folded: Folded


@dataclass(frozen=True)
class Exploration:
    """What was found.

    Attributes:
        points: by part, the smallest first, then by cycles.
        refused: why a part has no point.
    """

    points: tuple[Point, ...]
    refused: Mapping[str, str]


def explore(
    model: Any,
    example_inputs: Sequence[Any] | None = None,
    *,
    target: str | Sequence[str] = "hls",
    calibrate: str | Path | Mapping[str, Array] | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
    **options: Any,
) -> Exploration:
    """The Pareto front of cycles per frame against resources, for one part, several, or all.

    For each part the fastest folding, then foldings of twice as many cycles each time, the smallest of that speed.

    Args:
        target: "hls" for every part, "hls:NAME", or several of them.
        steps: at most so many designs per part.
        model, example_inputs, calibrate, progress, options: see ``dnncc.compile``.

    Raises:
        UnsupportedError: operators that cannot stream. UsageError: an unknown part.
        DoesNotFitError: no part is large enough.
    """
    if steps < 1:
        raise UsageError(f"cannot explore {steps} designs", help="give at least 1")
    from dnncc.targets.hls.network import build_network

    say = progress or (lambda text: None)
    chosen = _parts([target] if isinstance(target, str) else list(target))
    settings = resolve(chosen[0].target, options)
    prepared: Prepared = prepare(model, example_inputs, settings, calibrate, say)
    network = build_network(prepared.graph, settings.name)
    points: list[Point] = []
    refused: dict[str, str] = {}
    for part in chosen:
        try:
            points += _front(network, part, steps, say)
        except DoesNotFitError as error:
            refused[part.target] = "; ".join(f"{c.name}: {c.reason}" for c in error.culprits)
            last = error
    if not points:
        raise last
    return Exploration(tuple(points), refused)


def _parts(targets: Sequence[str]) -> list[Part]:
    from dnncc.targets.hls.parts import load_part, parts

    found: dict[str, Part] = {}
    for target in targets:
        for part in parts() if target == "hls" else [load_part(target)]:
            found[part.target] = part
    return list(found.values())


def _front(network: Any, part: Part, steps: int, say: Progress) -> list[Point]:
    from dnncc.fpga import fold

    folded = fold(network, part, None, say)
    found = [folded]
    budget = folded.cycles
    while len(found) < steps:
        budget *= 2
        say(f"{part.target}: at most {budget:,} cycles")
        slower = fold(network, part, budget, say)
        if slower.folding.cost >= found[-1].folding.cost:
            break
        found.append(slower)
    return [Point(part, f) for f in found]
