"""Running an artifact, or the graph that it was made from, on many samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dnncc.artifact import load_graph
from dnncc.calibration import load_samples
from dnncc.errors import UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.cores import HOST
from dnncc.runtime.suggest import did_you_mean

INTERPRETER = "interpreter"
PLACES = ("host", "emulator", "qemu", INTERPRETER)
_QEMU_BYTES = 1 << 20
"""Inputs that one boot of a QEMU board runs: they lie in its flash."""

Arguments = Sequence[Array]


@dataclass(frozen=True)
class Place:
    """Where and how an artifact runs.

    Attributes:
        on: one of ``PLACES``.
        core: for the emulator, another core than the artifact's own.
        compiler: another C compiler than the usual one: gcc, clang or zig on the host; zig or gcc-arm for the
            emulator.
        opt: the C compiler's optimization option.
    """

    on: str
    core: str | None = None
    compiler: str | None = None
    opt: str = "-O2"

    def __post_init__(self) -> None:
        if self.on not in PLACES:
            raise UsageError(
                f"cannot run on {self.on!r}{did_you_mean(self.on, PLACES)}",
                help=f"places: {', '.join(PLACES)}",
            )
        if self.core is not None and self.on != "emulator":
            raise UsageError(
                f"another core cannot be chosen on {self.on}", help="only the emulator can be told a core"
            )
        if self.compiler is not None and self.on not in ("host", "emulator"):
            raise UsageError(
                f"a compiler cannot be chosen on {self.on}", help="only on the host and the emulator"
            )


def place_of(bundle: Bundle, on: str | None, core: str | None, compiler: str | None, opt: str) -> Place:
    """Where to run: by default the emulator for a microcontroller's artifact, the host for the host's."""
    if on is None:
        on = "host" if bundle.core == HOST or bundle.library is not None else "emulator"
    if bundle.library is not None and on != INTERPRETER and (core or compiler):
        raise UsageError(
            "neither core nor compiler can be chosen: the artifact is a shared library, compiled already"
        )
    return Place(on, core, compiler, opt)


def execute(bundle: Bundle, graph: Graph, place: Place, samples: Sequence[Arguments]) -> list[list[Array]]:
    """Run every sample.

    Args:
        graph: the artifact's graph; what runs if the place is the interpreter.
        samples: per sample one array per input, in the artifact's types.

    Returns:
        Per sample one array per output, in the artifact's types.

    Raises:
        ToolMissingError, ToolFailedError: a tool is missing or fails.
        MismatchError: the code does what it must not, such as writing outside its buffers.
    """
    if place.on == INTERPRETER:
        return [interpret(graph, sample) for sample in samples]
    if place.on == "qemu" and bundle.library is not None:
        from dnncc.runtime.host import run_emulated

        return run_emulated(bundle, samples)
    if place.on == "qemu":
        return _on_qemu(bundle, place, samples)
    from dnncc.runtime.runner import open_runner

    runner = open_runner(bundle, place.on, place.core, place.compiler, place.opt)
    return [runner.run(sample) for sample in samples]


def run(
    artifact: str | Path,
    inputs: str | Path | Mapping[str, Array],
    *,
    on: str | None = None,
    raw: bool = False,
    core: str | None = None,
    compiler: str | None = None,
    opt: str = "-O2",
) -> dict[str, Array]:
    """Run an artifact on float samples.

    Args:
        artifact: its folder.
        inputs: an .npz file or arrays, see ``dnncc.calibration.load_samples``.
        on: "host", "emulator", "qemu" or "interpreter"; by default see ``place_of``.
        raw: outputs as the integers that the network computes, instead of what they stand for.
        core, compiler, opt: see ``Place``.

    Returns:
        By output: [samples, *shape without a leading batch axis of 1]; float32, or the output's own type if
        ``raw``.

    Raises:
        CalibrationError: the samples do not fit. UsageError: no artifact, no such place. And what ``execute``
            raises.
    """
    from dnncc.passes.quantize import integer_arguments, to_floats

    bundle = Bundle.open(artifact)
    graph = load_graph(Path(artifact))
    place = place_of(bundle, on, core, compiler, opt)
    samples = load_samples(inputs, graph)
    count = min((len(array) for array in samples.values()), default=1)
    results = execute(bundle, graph, place, [integer_arguments(graph, samples, i) for i in range(count)])
    found = {}
    for index, value in enumerate(graph.outputs):
        shape = value.type.shape
        stacked = np.stack([result[index] for result in results])
        stacked = stacked.reshape(count, *(shape[1:] if shape[:1] == (1,) else shape))
        found[value.name] = stacked if raw else to_floats(stacked, value.type)
    return found


def _on_qemu(bundle: Bundle, place: Place, samples: Sequence[Arguments]) -> list[list[Array]]:
    from dnncc.runtime.qemu import Qemu

    qemu = Qemu(bundle, opt=place.opt)
    each = max(1, _QEMU_BYTES // max(1, sum(port.bytes for port in bundle.inputs)))
    boots = [samples[first : first + each] for first in range(0, len(samples), each)]
    return [result.outputs for boot in boots for result in qemu.run_samples(boot)]
