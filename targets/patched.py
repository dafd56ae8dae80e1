"""C code of a stage in parts: one function that goes through the plan's program and calls a kernel for every row.

The plan's tables are constants in flash; what is computed how often is not decided at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from dnncc.ir.graph import Const, Node
from dnncc.ir.types import Array, DType
from dnncc.ops.fused import Fused
from dnncc.ops.patched import Patched
from dnncc.passes.planning.patch.problem import START, StagePlan
from dnncc.passes.planning.patch.schedule import lay_out
from dnncc.plan import KernelNeeds
from dnncc.rows import RowGraph, RowInput, fill_byte, row_graph
from dnncc.targets.program import GroupCode, Lower

if TYPE_CHECKING:
    from dnncc.targets.lowering.emit_c import CFunction


@dataclass
class _Parts:
    """Kernels and constants that the text refers to by number: ``$F0``, ``$C0``."""

    functions: list[tuple[str, CFunction]] = field(default_factory=list)
    constants: list[Array] = field(default_factory=list)

    def function(self, strategy: str, function: CFunction) -> str:
        known = [f for _, f in self.functions]
        if function not in known:
            self.functions.append((strategy, function))
            known.append(function)
        return f"$F{known.index(function)}"

    def constant(self, data: Array) -> str:
        for i, known in enumerate(self.constants):
            if known is data or (known.dtype == data.dtype and np.array_equal(known, data)):
                return f"$C{i}"
        self.constants.append(data)
        return f"$C{len(self.constants) - 1}"


@dataclass(frozen=True)
class _Row:
    """One row of a layer in one strip, lowered."""

    graph: RowGraph
    code: GroupCode


def lower_patched(node: Node, compact: bool, lower: Lower) -> GroupCode:
    """Lower the rows of every layer, lay the stage out with the workspaces that they need, and print it.

    Args:
        lower: of the target, for one row.
    """
    from dnncc.targets.lowering.emit_c import CFunction

    op = node.op
    assert isinstance(op, Patched)
    count = len(op.rows.layers)
    rows = [
        [_lowered(row_graph(op.rows, i, columns), compact, lower) for i in range(count)]
        for columns in op.plan.columns
    ]
    layers = tuple(
        replace(layer, workspace=max(strip[i].code.needs.scratch for strip in rows))
        for i, layer in enumerate(op.rows.stage.layers)
    )
    plan = lay_out(replace(op.rows.stage, layers=layers), op.form, op.grid)
    parts = _Parts()
    inputs, outputs = op.graph.inputs, op.graph.outputs
    parameters = [f"const {_c(v.type.dtype)} *x{i}" for i, v in enumerate(inputs)]
    parameters += [f"{_c(outputs[0].type.dtype)} *y0", "uint8_t *restrict scratch"]
    body = _Printer(op, plan, rows, parts).body()
    function = CFunction(tuple(parameters), body, plan.workspace, frozenset(("memmove", "memset")))
    return GroupCode(
        f"patched-{op.form}",
        function,
        tuple(parts.constants),
        KernelNeeds(plan.workspace, {}),
        tuple(parts.functions),
    )


def _lowered(row: RowGraph, compact: bool, lower: Lower) -> _Row:
    graph = row.graph
    return _Row(row, lower(Node(Fused(graph), list(graph.inputs), list(graph.outputs), graph.name), compact))


def _c(dtype: DType) -> str:
    from dnncc.targets.c_source import C_TYPES

    return C_TYPES[dtype]


class _Printer:
    def __init__(self, op: Patched, plan: StagePlan, rows: Sequence[Sequence[_Row]], parts: _Parts) -> None:
        self.op, self.plan, self.rows, self.parts = op, plan, rows, parts
        self.count = len(op.rows.layers)
        self.strips = len(plan.columns)
        self.bytes = [
            [(strip[i][1] - strip[i][0]) * op.rows.stage.images[i].bytes for i in range(self.count)]
            for strip in plan.columns
        ]

    def body(self) -> str:
        n, strips = self.count, self.strips
        wide = n >= 255
        start = 65535 if wide else 255
        entry = "uint16_t" if wide else "uint8_t"
        program = [start if i == START else i for i in self.plan.program]
        images = self.op.rows.stage.images
        layers = self.op.rows.layers
        # The output has a place of its own, from which nothing is pushed out.
        kept = [r if r else 1 << 30 for r in self.plan.rows]
        fills = [fill_byte(f, k.output.type.dtype) for f, k in zip(self.op.rows.fills, layers, strict=True)]
        table = [(kept[i], images[i].height, self.plan.offsets[i], fills[i]) for i in range(n)]
        lines = [
            f"    static const {entry} program[{len(program)}] = {{",
            *_wrapped(program),
            "    };",
            f"    static const int32_t first[{len(self.plan.starts)}][{n}] = {{{_rows(self.plan.starts)}}};",
            "    /* rows kept, height, offset, padding */",
            f"    static const int32_t image[{n}][4] = {{{_rows(table)}}};",
            f"    static const int32_t bytes[{strips}][{n}] = {{{_rows(self.bytes)}}};",
            f"    int32_t next[{n}] = {{0}};",
            f"    int32_t base[{n}] = {{0}};",
            f"    for (int32_t strip = 0; strip < {strips}; strip++) {{",
            "        int32_t part = 0;",
            f"        for (int32_t now = 0; now < {len(program)}; now++) {{",
            "            const int32_t i = program[now];",
            f"            if (i == {start}) {{",
            f"                for (int32_t k = 0; k < {n}; k++) {{",
            "                    next[k] = first[part][k];",
            "                    base[k] = first[part][k];",
            "                }",
            "                part++;",
            "                continue;",
            "            }",
            "            const int32_t row = next[i]++;",
            "            const int32_t size = bytes[strip][i];",
            "            if (row - base[i] == image[i][0]) {",
            "                uint8_t *const oldest = scratch + image[i][2];",
            "                memmove(oldest, oldest + size, (size_t)((image[i][0] - 1) * size));",
            "                base[i]++;",
            "            }",
            "            const int32_t here = image[i][2] + (row - base[i]) * size;",
            "            if (row < 0 || row >= image[i][1]) {",
            "                memset(scratch + here, (int)image[i][3], (size_t)size);",
            "                continue;",
            "            }",
            f"            switch ({f'strip * {n} + i' if strips > 1 else 'i'}) {{",
        ]
        for s in range(strips):
            for i in range(n):
                last = s == strips - 1 and i == n - 1
                lines.append("            default:" if last else f"            case {s * n + i}:")
                lines += [f"                {self._call(s, i)};", "                break;"]
        lines += ["            }", "        }", "    }"]
        return "\n".join(lines) + "\n"

    def _call(self, strip: int, i: int) -> str:
        row = self.rows[strip][i]
        dtype = self.op.rows.layers[i].output.type.dtype
        arguments = [self._operand(strip, item) for item in row.graph.inputs]
        arguments += [self.parts.constant(data) for data in row.code.constants]
        if i == self.count - 1:
            _, _, width, channels = self.op.graph.outputs[0].type.shape
            low = self.plan.columns[strip][i][0] * channels
            arguments.append(f"y0 + row * {width * channels}" + (f" + {low}" if low else ""))
        else:
            arguments.append(_cast(dtype, "scratch + here", ""))
        if row.code.needs.scratch:
            arguments.append(f"scratch + {self.plan.scratch[i]}")
        return f"{self.parts.function(row.code.strategy, row.code.function)}({', '.join(arguments)})"

    def _operand(self, strip: int, item: RowInput) -> str:
        operand = item.operand
        if isinstance(operand.value, Const):
            name = self.parts.constant(np.ascontiguousarray(operand.value.data).reshape(-1))
            return f"{name} + row * {item.pitch}" + (f" + {item.skip}" if item.skip else "")
        if operand.image is None or operand.read is None:
            return f"x{self.op.graph.inputs.index(operand.value)} + row * {item.pitch}"
        j, window = operand.image, operand.read.rows
        size = self.bytes[strip][j]
        first = f"row * {window.stride}" if window.stride > 1 else "row"
        first += f" - {window.before}" if window.before else ""
        offset = self.plan.offsets[j] + item.skip * self.op.rows.stage.images[j].bytes
        where = f"scratch + {offset} + ({first} - base[{j}]) * {size}"
        return _cast(operand.value.type.dtype, where, "const ")


def _cast(dtype: DType, where: str, const: str) -> str:
    """A pointer into the workspace, whose rows suit the alignment of their elements."""
    wide = f"({const}void *)" if dtype.bytes > 1 else ""
    return f"({const}{_c(dtype)} *){wide}({where})"


def _rows(table: Sequence[Sequence[int]]) -> str:
    return ", ".join("{" + ", ".join(map(str, row)) + "}" for row in table)


def _wrapped(values: Sequence[int]) -> list[str]:
    return [f"        {', '.join(map(str, values[k : k + 24]))}," for k in range(0, len(values), 24)]
