"""What an artifact costs: measured beside what the compiler predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dnncc.artifact import load_graph
from dnncc.errors import UsageError
from dnncc.execution import INTERPRETER, Place, place_of
from dnncc.ir.types import Array
from dnncc.runtime.bundle import Bundle
from dnncc.validation import SEED, made_up

_MEASURED = 3
"""``made_up`` gives the extremes first; this one is uniform over the inputs' whole range."""


@dataclass(frozen=True)
class NodeCost:
    """One kernel: its multiply-accumulates, and what it took where that was measured."""

    name: str
    op: str
    macs: int
    instructions: int | None = None
    cycles_estimated: int | None = None
    nanoseconds: int | None = None


@dataclass(frozen=True)
class Benchmark:
    """One inference. None: cannot be measured there.

    Attributes:
        on, core, compiler, opt: where the artifact ran and how it was built.
        instructions: retired; exact on the emulator, within about 40 on QEMU.
        cycles_estimated: from the core's timing table, with memory that answers at once.
        milliseconds: on the host, the median of 20.
        flash_bytes: code, constants and initial values of the artifact, without what the C library adds.
        library_bytes: what the C library adds: memcpy and its kin, 64-bit or floating-point arithmetic.
        ram_bytes: arenas and statics. The stack, inputs and outputs are apart.
        stack_bytes: the deepest that the stack was.
        macs: multiply-accumulates.
        nodes: per kernel.
        data: what ran, in words.
    """

    on: str
    core: str
    compiler: str | None
    opt: str
    instructions: int | None
    cycles_estimated: int | None
    milliseconds: float | None
    flash_bytes: int | None
    library_bytes: int | None
    ram_bytes: int
    stack_bytes: int | None
    macs: int
    nodes: tuple[NodeCost, ...]
    data: str = f"uniform over the inputs' whole range, seed {SEED}"

    @property
    def instructions_per_mac(self) -> float | None:
        """None where instructions were not measured or nothing is multiplied."""
        return self.instructions / self.macs if self.instructions is not None and self.macs else None


def bench(
    artifact: str | Path,
    *,
    on: str | None = None,
    core: str | None = None,
    compiler: str | None = None,
    opt: str = "-O2",
) -> Benchmark:
    """Measure one inference of an artifact.

    Args:
        artifact: its folder.
        on: "host", "emulator" or "qemu"; by default see ``dnncc.execution.place_of``.
        core, compiler, opt: see ``dnncc.execution.Place``.

    Raises:
        UsageError: no artifact, no such place.
        ToolMissingError, ToolFailedError: a tool is missing or fails.
        MismatchError: the code does what it must not, such as writing outside its buffers.
    """
    bundle = Bundle.open(artifact)
    place = place_of(bundle, on, core, compiler, opt)
    sample = made_up(load_graph(Path(artifact)), _MEASURED)[-1]
    if place.on == INTERPRETER:
        raise UsageError(
            "the interpreter is no machine to measure on", help="choose --on host, emulator or qemu"
        )
    if place.on == "emulator":
        return _on_emulator(bundle, place, sample)
    if place.on == "qemu":
        return _on_qemu(bundle, place, sample)
    return _on_host(bundle, place, sample)


def cost(artifact: str | Path, without: str | None = None) -> int:
    """One inference where the artifact belongs, and nothing but that: estimated cycles on the emulator for a
    microcontroller's, nanoseconds for the host's.

    Args:
        without: on the emulator, leave out the nodes of this name.

    Raises:
        As ``bench``.
    """
    bundle = Bundle.open(artifact)
    place = place_of(bundle, None, None, None, "-O2")
    if place.on != "emulator":
        return round(1e6 * (bench(artifact).milliseconds or 0.0))
    from dnncc.runtime.emulator import Emulator

    sample = made_up(load_graph(Path(artifact)), _MEASURED)[-1]
    profile = without is not None
    result = Emulator(bundle, place.core, place.compiler or "zig", profile=profile, opt=place.opt).run(sample)
    return sum(n.cycles for n in result.nodes if n.name != without) if profile else result.cycles


def _on_emulator(bundle: Bundle, place: Place, sample: Sequence[Array]) -> Benchmark:
    from dnncc.runtime.emulator import Emulator

    compiler = place.compiler or "zig"
    plain = Emulator(bundle, place.core, compiler, opt=place.opt)
    total = plain.run(sample)
    # Profiling keeps the C compiler from moving code between nodes: the totals come from a run without it.
    profile = Emulator(bundle, place.core, compiler, profile=True, opt=place.opt).run(sample)
    return Benchmark(
        on=place.on,
        core=plain.core.name,
        compiler=compiler,
        opt=place.opt,
        instructions=total.instructions,
        cycles_estimated=total.cycles,
        milliseconds=None,
        flash_bytes=plain.flash_bytes,
        library_bytes=plain.library_bytes,
        ram_bytes=plain.ram_bytes,
        stack_bytes=total.stack_bytes,
        macs=_macs(bundle),
        nodes=tuple(NodeCost(n.name, n.op, n.macs, n.instructions, n.cycles) for n in profile.nodes),
    )


def _on_qemu(bundle: Bundle, place: Place, sample: Sequence[Array]) -> Benchmark:
    from dnncc.runtime.qemu import Qemu

    result = Qemu(bundle, opt=place.opt).run(sample)
    return _without_profile(bundle, place, bundle.core, "gcc-arm", result.instructions, None)


def _on_host(bundle: Bundle, place: Place, sample: Sequence[Array]) -> Benchmark:
    if bundle.library is not None:
        return _of_library(bundle, place, sample)
    from dnncc.runtime.host import HostModel

    milliseconds = HostModel(bundle, place.compiler or "auto", place.opt).milliseconds(sample)
    return _without_profile(bundle, place, "host", place.compiler, None, milliseconds)


def _of_library(bundle: Bundle, place: Place, sample: Sequence[Array]) -> Benchmark:
    from dnncc.runtime.library import LibraryModel

    model = LibraryModel(bundle)
    plain = _without_profile(bundle, place, bundle.core, None, None, model.milliseconds(sample))
    times = model.nanoseconds(sample)
    nodes = tuple(replace(n, nanoseconds=t) for n, t in zip(plain.nodes, times, strict=True))
    return replace(plain, nodes=nodes, opt="-O3")


def _without_profile(
    bundle: Bundle,
    place: Place,
    core: str,
    compiler: str | None,
    instructions: int | None,
    milliseconds: float | None,
) -> Benchmark:
    return Benchmark(
        on=place.on,
        core=core,
        compiler=compiler,
        opt=place.opt,
        instructions=instructions,
        cycles_estimated=None,
        milliseconds=milliseconds,
        flash_bytes=None,
        library_bytes=None,
        ram_bytes=sum(pool.bytes for pool in bundle.pools),
        stack_bytes=None,
        macs=_macs(bundle),
        nodes=tuple(NodeCost(n.name, n.op, n.macs) for n in bundle.nodes),
    )


def _macs(bundle: Bundle) -> int:
    return sum(node.macs for node in bundle.nodes)
