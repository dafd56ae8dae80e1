"""From a compilation, and optionally what ``dnncc bench`` measured, to the data of a report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ops.fused import Fused
from dnncc.ops.requantize import Requantize
from dnncc.plan import root
from dnncc.report.data import (
    Block,
    Machine,
    Measured,
    PassRow,
    Port,
    ReportData,
    Rescaling,
    Scale,
    StepRow,
    Sum,
    Totals,
)
from dnncc.report.text import shape

if TYPE_CHECKING:
    from dnncc.benchmark import Benchmark
    from dnncc.driver import Compilation
    from dnncc.plan import Plan
    from dnncc.targets.boards import Board
    from dnncc.targets.program import Program

_QUALITY_SAMPLES = 3
"""Each costs one run of the float and one of the integer interpreter."""


def from_compilation(compilation: Compilation, measured: Benchmark | None = None) -> ReportData:
    """The report of a compilation.

    Args:
        measured: what ``dnncc.bench`` said about its artifact, to be shown beside it.

    Raises:
        ValueError: ``measured`` is of another network.
    """
    from dnncc import __version__

    program, plan, options = compilation.program, compilation.program.plan, compilation.options
    if measured is not None and [n.name for n in measured.nodes] != [s.node.name for s in program.steps]:
        raise ValueError("what was measured is not this network: its nodes have other names")
    quality, samples = _quality(compilation)
    return ReportData(
        model=compilation.graph.name,
        name=program.name,
        version=__version__,
        model_hash=compilation.model_hash,
        machine=_machine(compilation.board, plan),
        dtype=options.dtype,
        calibrated=compilation.calibrated if options.dtype == "int8" else None,
        options=tuple(_options(asdict(options))),
        pipeline=compilation.pipeline,
        warnings=compilation.warnings,
        arena_bytes=plan.arena_bytes,
        bound_bytes=plan.bound_bytes,
        optimal=plan.status == "optimal",
        weights_bytes=program.weights_bytes,
        ports=(
            *(_port("input", v) for v in program.graph.inputs),
            *(_port("output", v) for v in program.graph.outputs),
        ),
        blocks=tuple(_blocks(program)),
        steps=tuple(_steps(program, quality, measured)),
        scales=tuple(_scales(compilation.graph)),
        rescalings=tuple(_rescalings(compilation.graph)),
        sums=tuple(Sum(a.node, a.op, a.low, a.high, a.bits) for a in compilation.accumulators),
        passes=tuple(
            PassRow(s.text, s.nodes_before, s.nodes_after, s.changed) for s in compilation.statistics
        ),
        measures=compilation.planning.measures,
        ram_limit=compilation.planning.capacity,
        sqnr_samples=samples,
        totals=None if measured is None else _totals(measured),
    )


def _machine(board: Board, plan: Plan) -> Machine:
    """The board; its RAM is the pools that the plan uses, the default one always."""
    used = [p for i, p in enumerate(plan.pools) if p.bytes or not i]
    capacities = [p.capacity for p in used if p.capacity is not None]
    return Machine(
        board.name,
        board.description,
        board.core,
        board.clock_hz,
        " + ".join(p.name for p in used),
        sum(capacities) if len(capacities) == len(used) else None,
        board.flash.bytes,
    )


def _options(options: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in options.items():
        if isinstance(value, Path):  # its folder is nobody's business
            yield name, value.name
        elif isinstance(value, Mapping):
            yield name, ", ".join(f"{key}={item}" for key, item in value.items()) or "none"
        else:
            yield name, "default" if value is None else str(value)


def _port(kind: str, value: Value) -> Port:
    kept, quantization = value.type, value.type.quantization
    scale, zero = (None, 0) if quantization is None else (kept.scale, quantization.zero_point)
    return Port(kind, value.name, kept.dtype.value, kept.shape, kept.bytes, scale, zero)


def _blocks(program: Program) -> Iterator[Block]:
    """Every storage once: a view and what it shows are one block. The pools' arenas are shown one above the other."""
    plan, producers = program.plan, program.graph.producers()
    base = list(itertools.accumulate((p.bytes for p in plan.pools), initial=0))
    for value, offset in plan.offsets.items():
        if root(value, producers) is value:
            first, end = plan.lifetimes[value]
            text = f"{value.type.dtype.value} {shape(value.type.shape)}"
            at = base[plan.pool_of[value]] + offset
            yield Block(value.name, False, text, at, value.type.bytes, first, end)
    for index, (step, start) in enumerate(zip(program.steps, plan.scratch, strict=True)):
        if start is not None:
            size = program.code[step.node].needs.scratch
            at = base[plan.scratch_pools[index]] + start
            yield Block(step.node.name, True, "", at, size, index, index + 1)


def _steps(program: Program, quality: Mapping[str, float], measured: Benchmark | None) -> Iterator[StepRow]:
    graph, producers = program.graph, program.graph.producers()
    made = {v: i for i, step in enumerate(program.steps) for v in step.node.outputs}
    made |= {v: -1 - i for i, v in enumerate(graph.inputs)}
    for index, step in enumerate(program.steps):
        node, output = step.node, step.node.outputs[0]
        sources = [made[root(v, producers)] for v in node.inputs if not isinstance(v, Const)]
        cost = None if measured is None else measured.nodes[index]
        yield StepRow(
            name=node.name,
            ops=_operators(node),
            kernel=program.code[node].strategy if node in program.code else node.op.name,
            dtype=output.type.dtype.value,
            shape=output.type.shape,
            macs=node.macs,
            weights_bytes=sum(int(program.constants[c].nbytes) for c in step.constants),
            sources=tuple(dict.fromkeys(sources)),
            results=tuple(i for i, v in enumerate(graph.outputs) if root(v, producers) in node.outputs),
            sqnr=quality.get(output.name),
            measured=None if cost is None else Measured(cost.instructions, cost.cycles_estimated),
        )


def _operators(node: Node) -> tuple[str, ...]:
    nodes = node.op.graph.nodes if isinstance(node.op, Fused) else [node]
    return tuple(n.op.name for n in nodes if not n.op.is_view)


def _quality(compilation: Compilation) -> tuple[dict[str, float], int]:
    """Per value the SQNR in dB on the self-test's real samples, and how many those are; nothing for made up"
    " ones."""
    if compilation.options.dtype != "int8" or not compilation.calibrated:
        return {}, 0
    from dnncc.passes.quantize.border import to_floats
    from dnncc.passes.quantize.metrics import layer_errors

    # The last sample of the self-test is noise over the whole range, on which no accuracy is promised.
    chosen = compilation.samples[:-1][:_QUALITY_SAMPLES]
    if not chosen:
        return {}, 0
    inputs = compilation.graph.inputs
    samples = {v.name: np.stack([to_floats(s[i], v.type) for s in chosen]) for i, v in enumerate(inputs)}
    errors = layer_errors(compilation.float_graph, compilation.graph, samples)
    return {e.value: e.sqnr for e in errors if not math.isnan(e.sqnr)}, len(chosen)


def _scales(graph: Graph) -> Iterator[Scale]:
    for value in graph.values():
        kept, quantization = value.type, value.type.quantization
        if isinstance(value, Const) or quantization is None or quantization.axis is not None:
            continue
        if kept.dtype.bytes > 2:  # sums are not stored on this grid's full range
            continue
        low, high = ((x - quantization.zero_point) * kept.scale for x in (kept.dtype.min, kept.dtype.max))
        yield Scale(value.name, kept.dtype.value, kept.shape, kept.scale, low, high)


def _rescalings(graph: Graph) -> Iterator[Rescaling]:
    for node in graph.nodes:
        multiplier = node.inputs[1] if isinstance(node.op, Requantize) else None
        if isinstance(node.op, Requantize) and isinstance(multiplier, Const):
            data = multiplier.data
            yield Rescaling(
                node.name,
                int(data.min()),
                int(data.max()),
                int(data.size),
                node.op.shift,
                *node.op.range,
                node.op.rounding,
            )


def _totals(measured: Benchmark) -> Totals:
    return Totals(
        on=measured.on,
        core=measured.core,
        compiler=" ".join(part for part in (measured.compiler, measured.opt) if part),
        instructions=measured.instructions,
        cycles=measured.cycles_estimated,
        milliseconds=measured.milliseconds,
        flash_bytes=measured.flash_bytes,
        ram_bytes=measured.ram_bytes,
        stack_bytes=measured.stack_bytes,
    )
