"""An FPGA's artifact against the reference interpreter, by C simulation: every stream, every output, every warning.

Two simulations of the same sources. The first has AMD's streams, which never fill, stage after stage; what went through
each is compared with what the interpreter computes there. The second has FIFOs of the depths that the artifact states,
and all stages take turns: it shows that they do not get stuck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.artifact import load_graph, load_manifest
from dnncc.errors import UnreadableModelError
from dnncc.execution import Arguments
from dnncc.fpga import FAMILY
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph, Node
from dnncc.ir.types import Array, DType
from dnncc.runtime.hls import BOUNDED, RECORD, compile_simulation, simulate


@dataclass(frozen=True)
class StreamCheck:
    """One stream against the interpreter.

    Attributes:
        stream: its C++ name.
        value: the graph's value that it carries.
        values: how many elements were compared.
        mismatches: how many of them differ.
    """

    stream: str
    value: str
    values: int
    mismatches: int


@dataclass(frozen=True)
class Simulation:
    """What the two simulations showed beside the outputs.

    Attributes:
        streams: every stream between stages that carries a value of the graph.
        warnings: reads from empty streams and words left over in the first simulation.
        bounded_mismatches: output values that differ with bounded FIFOs.
        bounded_warnings: deadlocks and words left over with bounded FIFOs.
        deadlock: it got stuck.
    """

    streams: tuple[StreamCheck, ...]
    warnings: tuple[str, ...]
    bounded_mismatches: int
    bounded_warnings: tuple[str, ...]
    deadlock: bool

    @property
    def clean(self) -> bool:
        wrong = sum(s.mismatches for s in self.streams) + self.bounded_mismatches
        return not (wrong or self.warnings or self.bounded_warnings or self.deadlock)


def is_fpga(artifact: Path) -> bool:
    """Whether a folder holds an FPGA's artifact; what is no artifact at all is none of an FPGA's."""
    try:
        return bool(load_manifest(artifact).get("family") == FAMILY)
    except UnreadableModelError:
        return False


def simulate_artifact(folder: Path, samples: Sequence[Arguments]) -> tuple[list[list[Array]], Simulation]:
    """Run samples through both simulations.

    Returns:
        Per sample one array per output, of the first simulation; and what else was found.

    Raises:
        ToolMissingError, ToolFailedError: headers or a compiler are missing, or fail.
    """
    graph, manifest = load_graph(folder), load_manifest(folder)
    ports = manifest["ports"]
    inputs = [
        np.stack([_in_order(sample[i], port) for sample in samples]) for i, port in enumerate(ports["inputs"])
    ]
    dtypes = [DType(port["dtype"]).numpy for port in ports["outputs"]]
    carried = {s["name"]: s["value"] for s in manifest["streams"] if s["value"] is not None}
    free, bounded = (
        simulate(compile_simulation(folder, manifest["name"], mode), inputs, dtypes, list(carried))
        for mode in (RECORD, BOUNDED)
    )
    results = [
        [_as_tensor(free.outputs[i], port, len(samples))[n] for i, port in enumerate(ports["outputs"])]
        for n in range(len(samples))
    ]
    wanted, expected = _expected(graph, samples)
    checks = tuple(
        _check(name, value, free.records.get(name), wanted[value]) for name, value in carried.items()
    )
    wrong = sum(
        _differing(bounded.outputs[i], np.concatenate([_in_order(e[i], port) for e in expected]))
        for i, port in enumerate(ports["outputs"])
    )
    return results, Simulation(checks, free.warnings, wrong, bounded.warnings, bounded.deadlock)


def _in_order(array: Array, port: dict[str, Any]) -> Array:
    """A tensor as its AXI stream carries it."""
    return np.ascontiguousarray(array.transpose(port["order"])).reshape(-1)


def _as_tensor(stream: Array, port: dict[str, Any], frames: int) -> Array:
    """The elements of a stream as tensors, zeros where there are too few."""
    shape, order = port["shape"], port["order"]
    size = int(np.prod(shape, dtype=np.int64))
    whole = np.zeros(frames * size, stream.dtype)
    whole[: min(len(stream), len(whole))] = stream[: len(whole)]
    back = [order.index(axis) for axis in range(len(order))]
    tensors = whole.reshape(frames, *(shape[axis] for axis in order))
    return tensors.transpose(0, *(1 + axis for axis in back))


def _expected(graph: Graph, samples: Sequence[Arguments]) -> tuple[dict[str, list[Array]], list[list[Array]]]:
    """What the interpreter computes: every value by name over all samples, and the outputs of each sample."""
    values: dict[str, list[Array]] = {}

    def observe(node: Node, results: Sequence[Array]) -> None:
        for value, array in zip(node.outputs, results, strict=True):
            values.setdefault(value.name, []).append(array.reshape(-1))

    outputs = []
    for sample in samples:
        for value, array in zip(graph.inputs, sample, strict=True):
            values.setdefault(value.name, []).append(array.reshape(-1))
        outputs.append(interpret(graph, sample, observe))
    return values, outputs


def _check(name: str, value: str, found: Array | None, wanted: Sequence[Array]) -> StreamCheck:
    whole = np.concatenate(wanted).astype(np.int64)
    return StreamCheck(name, value, len(whole), _differing(np.zeros(0) if found is None else found, whole))


def _differing(found: Array, wanted: Array) -> int:
    """Elements that differ, are missing or too many."""
    common = min(len(found), len(wanted))
    return int((found[:common] != wanted[:common]).sum()) + abs(len(found) - len(wanted))
