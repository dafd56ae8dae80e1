"""What dnncc reaches on the digits example and on MLPerf Tiny, beside its bars and what others reach."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bars import Bar
from benchmarks.measure import Result
from benchmarks.peers import CMSIS_NN, PEERS, X_CUBE_AI, Peer
from benchmarks.tables import Table

_PEER_NETWORKS = ("kws", "ic", "vww", "ad")


def tables(results: Sequence[Result]) -> list[Table]:
    """What was measured, in the order in which it is read."""
    return [
        speed(results),
        memory(results),
        quality(results),
        cores(results),
        builds(results),
        peers(results),
    ]


def speed(results: Sequence[Result]) -> Table:
    rows = []
    for r in results:
        m4 = r.cortex_m4
        rows.append(
            (
                r.name,
                f"{r.macs:,}",
                f"{m4.instructions:,}",
                f"{m4.instructions / r.macs:.2f}",
                _ratio(m4.instructions, CMSIS_NN.instructions.get(r.name)),
                f"{m4.cycles:,}",
                f"{m4.cycles / r.macs:.2f}",
                _ratio(m4.cycles, X_CUBE_AI.cycles.get(r.name)),
                f"{r.compile_seconds:.1f}",
                f"{r.cpu_seconds:.1f}",
            )
        )
    first = ("network", "MACs", "instructions", "per MAC", "of CMSIS-NN's")
    head = (*first, "cycles, estimated", "per MAC", "of X-CUBE-AI's", "compile s", "CPU s")
    notes = (
        (
            "One inference on an emulated Cortex-M4, built with zig -O2. Instructions are exact, the most of four "
            "samples (all lowest, all highest, uniform, calibration). Our cycles are estimated from Arm's timing "
            "table with memory that answers at once; X-CUBE-AI's were measured on a board, wait states included."
        ),
        "Compile: wall and processor time of one warm `dnncc compile`, start-up included.",
    )
    return Table("Speed on a Cortex-M4", head, tuple(rows), notes)


def memory(results: Sequence[Result]) -> Table:
    rows = []
    for r in results:
        m4 = r.cortex_m4
        flash = m4.flash_bytes + m4.library_bytes
        cells = (
            m4.ram_bytes,
            r.bound_bytes,
            m4.stack_bytes,
            m4.code_bytes,
            m4.library_bytes,
            m4.constant_bytes,
        )
        rows.append((r.name, *(f"{n:,}" for n in (*cells, flash, r.parameter_bytes))))
    head = ("network", "RAM", "bound", "stack", "code", "library", "constants", "flash", "parameters")
    notes = (
        (
            "Bytes. RAM: arena with all scratch, and statics; input, output and stack are apart. Bound: no order and "
            "placement of these kernels needs less arena. Library: memcpy and the like, 64-bit arithmetic. Constants: "
            "packed weights, biases, multipliers, tables. Flash: code, library and constants. Parameters: weights at 8 "
            "and biases at 32 bits."
        ),
    )
    return Table("Memory on a Cortex-M4", head, tuple(rows), notes)


def quality(results: Sequence[Result]) -> Table:
    rows = []
    for r in results:
        q = r.quality
        found: tuple[str, ...] = ("-",) * 4
        if q is not None:
            shares = (q.float_accuracy, q.accuracy, q.agreement)
            found = (f"{q.samples:,}", *(f"{100 * share:.2f}" for share in shares))
        rows.append((r.name, r.calibrated_on, *found, f"{r.similarity:.4f}"))
    head = ("network", "calibrated on", "judged on", "float %", "int8 %", "agreement %", "least cosine")
    notes = (
        (
            "Judged on labelled samples that calibration has not seen; float: ONNX Runtime. Agreement: the same class "
            "as the float model. Cosine: of the outputs with the float model's, the least of 16 unseen samples; "
            "without labels these are made up noise, and the figure only tells that the integers follow the floats."
        ),
    )
    return Table("Accuracy", head, tuple(rows), notes)


def cores(results: Sequence[Result]) -> Table:
    names = [core.core for core in results[0].cores]
    rows = [
        (r.name, *(f"{core.instructions:,} / {core.instructions / r.macs:.2f}" for core in r.cores))
        for r in results
    ]
    notes = ("Instructions per inference / per MAC, of the same C files, built with zig -O2.",)
    return Table("Every core", ("network", *names), tuple(rows), notes)


def builds(results: Sequence[Result]) -> Table:
    rows = []
    for r in results:
        for b in (r.cortex_m4, *r.builds):
            cells = (b.instructions, b.cycles, b.stack_bytes, b.code_bytes, b.library_bytes)
            rows.append((r.name, f"{b.compiler} {b.opt}", *(f"{n:,}" for n in cells)))
    head = ("network", "built with", "instructions", "cycles, estimated", "stack", "code", "library")
    notes = ("The same C files on the emulated Cortex-M4. gcc-arm: arm-none-eabi-gcc.",)
    return Table("Every build", head, tuple(rows), notes)


def peers(results: Sequence[Result]) -> Table:
    rows = []
    ours = {r.name: r for r in results}
    for what in ("instructions", "cycles", "ram", "stack", "flash"):
        label = "RAM" if what == "ram" else what
        cells = [_of_ours(ours.get(name), what) for name in _PEER_NETWORKS]
        rows.append((label, "dnncc", *cells, "this run, emulated Cortex-M4"))
        rows += [
            (label, peer.name, *(_of_peer(peer, what, name) for name in _PEER_NETWORKS), peer.source)
            for peer in PEERS
            if getattr(peer, what)
        ]
    notes = ("TinyEngine does not support kws and computes wrong results for ic.",)
    return Table("Beside others", ("what", "whose", *_PEER_NETWORKS, "source"), tuple(rows), notes)


def passed(bars: Sequence[Bar], missing: Sequence[str]) -> Table:
    rows = tuple((b.network, b.what, b.measured, b.limit, "pass" if b.passed else "FAIL") for b in bars)
    return Table("Bars", ("network", "what", "measured", "bar", ""), rows, tuple(missing))


def _of_ours(result: Result | None, what: str) -> str:
    if result is None:
        return "-"
    m4 = result.cortex_m4
    found = {
        "instructions": f"{m4.instructions:,}",
        "cycles": f"{m4.cycles:,} (estimated)",
        "ram": f"{m4.ram_bytes:,}",
        "stack": f"{m4.stack_bytes:,}",
        "flash": f"{m4.flash_bytes + m4.library_bytes:,}",
    }
    return found[what]


def _of_peer(peer: Peer, what: str, network: str) -> str:
    value = getattr(peer, what).get(network)
    return "-" if value is None else f"{value:,}"


def _ratio(ours: int, theirs: int | None) -> str:
    return "-" if theirs is None else f"{ours / theirs:.2f}"
