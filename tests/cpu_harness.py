"""Many small graphs as one network, compiled for a level of processors and compared with the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir import Array, Const, DType, Graph, TensorType, Value
from dnncc.ir.graph import Node
from dnncc.ops.conv2d import Conv2d
from dnncc.passes.pipeline import Pipeline
from dnncc.plan import make_plan
from dnncc.runtime.bundle import ArenaPool, Bundle, Port
from dnncc.runtime.cpus import Cpu
from dnncc.runtime.library import LibraryModel
from dnncc.targets.cpu.build import build_library
from dnncc.targets.cpu.source import write_sources
from dnncc.targets.cpu.target import CpuTarget
from dnncc.targets.program import Kernels, Program, assemble, needs_of
from kernel_harness import random_array


def union(graphs: Sequence[Graph]) -> Graph:
    """One graph of which every given one is a part of its own."""
    whole = Graph("union")
    for number, graph in enumerate(graphs):
        copies: dict[Value, Value] = {}
        for value in graph.values():
            name = f"g{number}_{value.name}"
            copies[value] = (
                Const(name, value.type, value.data) if isinstance(value, Const) else Value(name, value.type)
            )
        whole.inputs += [copies[v] for v in graph.inputs]
        whole.outputs += [copies[v] for v in graph.outputs]
        for node in graph.nodes:
            whole.nodes.append(
                Node(
                    node.op,
                    [copies[v] for v in node.inputs],
                    [copies[v] for v in node.outputs],
                    f"g{number}_{node.name}",
                )
            )
    return whole


def float_conv(
    x: tuple[int, int, int, int],
    o: int,
    kernel: tuple[int, int],
    stride: int = 1,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
) -> Graph:
    """A convolution of x [N,H,W,C] in single precision."""
    rng = np.random.default_rng(o)
    value = Value("x", TensorType(DType.F32, x))
    graph = Graph("conv", [value])
    w = graph.const("w", rng.standard_normal((o, *kernel, x[3] // groups)).astype(np.float32))
    b = graph.const("b", rng.standard_normal(o).astype(np.float32))
    graph.outputs = [graph.append(Conv2d((stride, stride), pads, (1, 1), groups), [value, w, b], "conv")]
    return graph


def program(graph: Graph, cpu: Cpu) -> Program:
    """The network's code for a level."""
    fused = graph.clone()
    Pipeline.parse("separate-outputs,fuse").run(fused)
    target = CpuTarget(cpu)
    code = Kernels(target.lower).of(fused)
    plan = make_plan(fused, needs_of(fused, code), effort=0.0, alignment=target.alignment)
    return assemble("net", fused, code, plan)


def bundle(found: Program, cpu: Cpu, folder: Path) -> Bundle:
    """Its sources and library in a folder."""
    sources = write_sources(found, folder)
    library = build_library("net", sources, cpu, folder)
    inputs, outputs = (
        tuple(Port(v.name, v.type.dtype.value, v.type.shape, 64) for v in values)
        for values in (found.graph.inputs, found.graph.outputs)
    )
    pools = tuple(ArenaPool(a.name, a.member, a.macro, a.bytes, 64) for a in found.arenas)
    return Bundle(folder, "net", cpu.name, inputs, outputs, pools, (), tuple(sources), library)


def check(graph: Graph, model: LibraryModel, seed: int = 0) -> None:
    """Against the interpreter on random inputs: integers in every bit, floats within 1e-5 of the largest."""
    rng = np.random.default_rng(seed)
    inputs = [random_array(rng, v.type) for v in graph.inputs]
    for value, ours, theirs in zip(graph.outputs, model.run(inputs), interpret(graph, inputs), strict=True):
        assert wrong(ours, theirs) == 0, value.name


def wrong(found: Array, expected: Array) -> int:
    """How many values differ."""
    if expected.dtype.kind != "f":
        return int((found != expected).sum())
    limit = 1e-5 * max(float(np.abs(expected).max(initial=0)), 1e-6)
    return int((~np.isclose(found, expected, rtol=0, atol=limit, equal_nan=True)).sum())
