"""Runs one lowered kernel on the host and compares it with the interpreter, bit by bit."""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir import Array, Const, DType, Graph, TensorType, Value
from dnncc.ops.add import Add
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.linear import Linear
from dnncc.ops.requantize import Requantize
from dnncc.passes.pipeline import Pipeline
from dnncc.runtime.toolchain import compile_library
from dnncc.targets.c_source import C_TYPES
from dnncc.targets.program import GroupCode, lower_group

_INCLUDE = Path(__file__).parents[1] / "runtime" / "include"
HEADERS = ("dnncc.h", "dnncc_math.h")


def conv(
    x: tuple[int, int, int],
    o: int,
    kernel: int | tuple[int, int],
    strides: int = 1,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: int = 1,
    groups: int = 1,
    dtype: DType = DType.U8,
    out: DType = DType.U8,
    narrow: bool = False,
) -> Graph:
    """Convolution and requantization of x [H, W, C] with random weights."""
    rng = np.random.default_rng(o)
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    value = Value("x", TensorType(dtype, (1, *x)))
    graph = Graph("conv", [value])
    w = graph.const("w", rng.integers(-128, 128, (o, kh, kw, x[2] // groups)).astype(np.int8))
    b = graph.const("b", rng.integers(-10000, 10000, o).astype(np.int32))
    op = Conv2d((strides, strides), pads, (dilation, dilation), groups)
    graph.outputs = [_requantized(graph, graph.append(op, [value, w, b], "conv"), out, narrow)]
    return graph


def linear(m: int, k: int, n: int, dtype: DType = DType.I8) -> Graph:
    """A product of x [M, K] with random weights [N, K], and requantization."""
    rng = np.random.default_rng(k)
    value = Value("x", TensorType(dtype, (m, k)))
    graph = Graph("linear", [value])
    w = graph.const("w", rng.integers(-128, 128, (n, k)).astype(np.int8))
    b = graph.const("b", rng.integers(-10000, 10000, n).astype(np.int32))
    graph.outputs = [_requantized(graph, graph.append(Linear(), [value, w, b], "linear"), DType.U8, False)]
    return graph


def residual(
    x: tuple[int, int, int], o: int, kernel: int, pads: tuple[int, int, int, int], same: bool = False
) -> Graph:
    """A convolution, requantized to a wide grid, plus a second input (or its own input) on that grid."""
    graph = conv(x, o, kernel, 1, pads)
    (sums,) = graph.nodes[0].outputs
    graph.nodes = graph.nodes[:1]
    rng = np.random.default_rng(3)
    multiplier = graph.const("wide", rng.integers(1 << 18, 1 << 23, o).astype(np.int32))
    wide = graph.append(Requantize(DType.I32, 32, lo=-100_000), [sums, multiplier], "wide")
    other = graph.inputs[0] if same else Value("r", TensorType(DType.I8, sums.type.shape))
    if not same:
        graph.inputs.append(other)
    scaled = graph.append(
        Requantize(DType.I32, 10), [other, graph.const("m", np.array(77_777, np.int32))], "scaled"
    )
    total = graph.append(Add(), [wide, scaled], "add")
    one = graph.const("one", np.array(1, np.int32))
    graph.outputs = [graph.append(Requantize(DType.I8, 7), [total, one], "out")]
    return graph


def with_bits(graph: Graph, bits: int) -> Graph:
    """The same graph; the weights of its first node take all values of so many bits, the ends included."""
    result = graph.clone()
    node = result.nodes[0]
    (_, w, _) = node.inputs
    half = 1 << (bits - 1)
    data = np.random.default_rng(bits).integers(-half, half, w.type.shape).astype(np.int8)
    data.flat[0] = -half
    node.inputs[1] = Const.of(w.name, data)
    return result


def _requantized(graph: Graph, sums: Value, out: DType, narrow: bool) -> Value:
    rng = np.random.default_rng(1)
    values = rng.integers(1 << 10, 1 << 15, sums.type.shape[-1]) << 8 if narrow else None
    if values is None:
        values = rng.integers(1 << 18, 1 << 23, sums.type.shape[-1])
    multiplier = graph.const("multiplier", values.astype(np.int32))
    return graph.append(Requantize(out, 32), [sums, multiplier], "requantize")


class Kernel:
    """A graph that fuses into one group, lowered and compiled for the host under the artifact's warnings."""

    function: Callable[[Any], Any]

    def __init__(self, graph: Graph, folder: Path | None = None, compact: bool = False) -> None:
        """Without a folder nothing is compiled yet: ``compile_kernels`` does that for many at once."""
        self.graph = graph
        fused = graph.clone()
        Pipeline.parse("fuse").run(fused)
        (node,) = (n for n in fused.nodes if not n.op.is_view)
        self.code: GroupCode = lower_group(node, compact)
        # The group's operands: graph inputs in the fused node's order.
        names = [v.name for v in graph.inputs]
        self.order = [names.index(v.name) for v in node.inputs if not isinstance(v, Const)]
        if folder is not None:
            compile_kernels([self], folder)

    def run(self, inputs: list[Array], distances: dict[int, int] | None = None) -> list[Array]:
        """The outputs, every buffer surrounded by poison.

        Args:
            distances: input index -> how many bytes below it the first output starts, in one shared piece of memory.
        """
        operands = [np.ascontiguousarray(inputs[i]) for i in self.order]
        outputs = [v.type for v in self.graph.outputs]
        room = max(1 << 15, *(a.nbytes for a in operands), *(t.bytes for t in outputs)) // 8 * 8 + 64
        memory = np.full((2 + len(outputs)) * room, 0xA5, np.uint8)
        base = -memory.ctypes.data % 8
        results = [base + (k + 1) * room for k in range(len(outputs))]
        addresses = [a.ctypes.data for a in operands]
        for i, distance in (distances or {}).items():
            start = results[0] + distance
            data = operands[i].view(np.uint8).reshape(-1)
            memory[start : start + data.size] = data
            addresses[i] = memory.ctypes.data + start
        constants = [np.ascontiguousarray(c) for c in self.code.constants]
        scratch = np.full(self.code.needs.scratch // 8 + 2, 0x5A5A5A5A5A5A5A5A, np.uint64)
        addresses += [c.ctypes.data for c in constants]
        addresses += [memory.ctypes.data + result for result in results]
        addresses.append(scratch.ctypes.data)
        before = [a.copy() for a in (memory, *operands, *constants)]
        self.function((ctypes.c_void_p * len(addresses))(*addresses))
        found = []
        for result, t in zip(results, outputs, strict=True):
            written = slice(result, result + t.bytes)
            found.append(memory[written].copy().view(t.dtype.numpy).reshape(t.shape))
            before[0][written] = memory[written]
        for now, then in zip((memory, *operands, *constants), before, strict=True):
            assert now.tobytes() == then.tobytes(), "the kernel wrote outside its output"
        unused = scratch.view(np.uint8)[self.code.needs.scratch :]
        assert (unused == 0x5A).all(), "the kernel wrote beyond its scratch"
        return found

    def check(self, seed: int = 0) -> None:
        """Against the interpreter on random inputs over the whole range, apart and at every allowed overlap."""
        rng = np.random.default_rng(seed)
        self.check_on([random_array(rng, v.type) for v in self.graph.inputs])

    def check_on(self, inputs: list[Array]) -> None:
        """Against the interpreter on these inputs, apart and at every allowed overlap.

        Integers agree in every bit; floats within 1e-5, and where terms cancel within 1e-6 of the largest result.
        """
        expected = interpret(self.graph, inputs)
        self._compare(self.run(inputs), expected)
        for (_, i), distance in self.code.needs.overlaps.items():
            for extra in (0, 8, 40):
                self._compare(self.run(inputs, {i: distance + extra}), expected)

    def _compare(self, found: list[Array], expected: list[Array]) -> None:
        for ours, theirs in zip(found, expected, strict=True):
            self._compare_one(ours, theirs)

    def _compare_one(self, found: Array, expected: Array) -> None:
        if expected.dtype.kind == "f":
            largest = np.abs(expected, where=np.isfinite(expected), out=np.zeros_like(expected)).max(
                initial=0
            )
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * largest)
        else:
            np.testing.assert_array_equal(found, expected)


def random_array(rng: np.random.Generator, type_: TensorType) -> Array:
    """Integers over the whole range of their type, floats normal."""
    if type_.dtype.is_float:
        return rng.standard_normal(type_.shape).astype(type_.dtype.numpy)
    return rng.integers(type_.dtype.min, type_.dtype.max + 1, type_.shape).astype(type_.dtype.numpy)


def _functions(code: GroupCode, i: int) -> str:
    """A kernel's C: its parts first, which share what the harness has of the constants."""
    if not code.parts:
        return code.function.render(f"kernel_{i}")
    names = {f"$F{k}": f"kernel_{i}_{k}" for k in range(len(code.parts))}
    names |= {f"$C{k}": f"kernel_{i}_c{k}" for k in range(len(code.constants))}
    text = "".join(
        f"static const {C_TYPES[DType.of(c)]} *kernel_{i}_c{k};\n" for k, c in enumerate(code.constants)
    )
    text += "".join(function.render(names[f"$F{k}"]) for k, (_, function) in enumerate(code.parts))
    body = re.sub(r"\$[FC]\d+", lambda found: names[found[0]], code.function.body)
    return text + replace(code.function, body=body).render(f"kernel_{i}")


def compile_kernels(kernels: Sequence[Kernel], folder: Path) -> None:
    """Compile kernels as one C file, in one call of the compiler."""
    text = "".join(f'#include "{header}"\n' for header in HEADERS) + "\n"
    for i, kernel in enumerate(kernels):
        constants = len(kernel.code.constants) if kernel.code.parts else 0
        text += _functions(kernel.code, i)
        taken = [
            *range(len(kernel.order)),
            *range(len(kernel.order) + constants, len(kernel.code.function.parameters) + constants),
        ]
        given = "".join(f"    kernel_{i}_c{k} = a[{len(kernel.order) + k}];\n" for k in range(constants))
        call = f"    kernel_{i}({', '.join(f'a[{j}]' for j in taken)});\n"
        text += f"void run_{i}(void **a);\nvoid run_{i}(void **a) {{\n{given}{call}}}\n"
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    source = folder / f"k{name}.c"
    source.write_text(text)
    for header in HEADERS:
        (folder / header).write_text((_INCLUDE / header).read_text())
    library = ctypes.CDLL(str(compile_library([source], f"k{name}")))
    for i, kernel in enumerate(kernels):
        kernel.function = getattr(library, f"run_{i}")
