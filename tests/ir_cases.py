"""The `.ir` test files: cases of a pipeline, an input graph and the expected output graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, DType, TensorType

_RUN = re.compile(r"^// RUN: *(?P<pipeline>.+)$", re.MULTILINE)
_EXPECT = re.compile(r"^// EXPECT\n", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One case: everything from a `// RUN:` line to the next one.

    Attributes:
        index: its place in the file, from 0.
        line: the number of its `// RUN:` line.
        source: comments and the input graph.
        expected: the output graph, as printed with all constants inline.
    """

    path: Path
    index: int
    line: int
    pipeline: str
    source: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path.stem}:{self.line}"


def read_cases(path: Path) -> list[Case]:
    """The cases of a file; ValueError if it has none, or one without `// EXPECT`."""
    text = path.read_text(encoding="utf-8")
    starts = list(_RUN.finditer(text))
    if not starts or text[: starts[0].start()].strip():
        raise ValueError(f"{path} does not begin with '// RUN:'")
    cases = []
    for start, end in zip(starts, [*(s.start() for s in starts[1:]), len(text)], strict=True):
        parts = _EXPECT.split(text[start.end() : end])
        if len(parts) != 2:
            raise ValueError(f"{path}: a case needs one '// EXPECT' line")
        line = text.count("\n", 0, start.start()) + 1
        source, expected = parts[0].strip("\n"), parts[1].strip()
        cases.append(Case(path, len(cases), line, start["pipeline"].strip(), source, expected))
    return cases


def write_cases(path: Path, cases: list[Case]) -> None:
    texts = [f"// RUN: {c.pipeline}\n{c.source}\n\n// EXPECT\n{c.expected}\n" for c in cases]
    path.write_text("\n".join(texts), encoding="utf-8")


def random_inputs(graph: Graph, seed: int) -> list[Array]:
    """Normal floats, 8-bit integers of any value, wider ones small enough that sums do not overflow."""
    rng = np.random.default_rng(seed)
    return [_random(v.type, rng) for v in graph.inputs]


def _random(type: TensorType, rng: np.random.Generator) -> Array:
    if type.dtype.is_float:
        return rng.standard_normal(type.shape).astype(type.dtype.numpy)
    if type.dtype is DType.BOOL:
        return rng.integers(0, 2, type.shape).astype(bool)
    bound = 1 << 20
    lo, hi = max(type.dtype.min, -bound), min(type.dtype.max, bound)
    return rng.integers(lo, hi, type.shape, type.dtype.numpy, endpoint=True)


def assert_same_meaning(before: Graph, after: Graph, seed: int = 0, tolerance: float = 1e-5) -> None:
    """Both graphs give the same outputs: integers exactly, floats within `tolerance`."""
    assert [(v.name, v.type) for v in before.inputs] == [(v.name, v.type) for v in after.inputs]
    assert [v.name for v in before.outputs] == [v.name for v in after.outputs]
    inputs = random_inputs(before, seed)
    for old, new in zip(interpret(before, inputs), interpret(after, inputs), strict=True):
        assert old.dtype == new.dtype
        assert old.shape == new.shape
        if old.dtype.kind == "f":
            np.testing.assert_allclose(
                new, old, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(old).max()))
            )
        else:
            np.testing.assert_array_equal(new, old)
