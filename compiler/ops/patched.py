"""A stage of the network, computed in parts of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from dnncc.ir.types import Array, TensorType
from dnncc.ops.base import TypeMismatchError
from dnncc.ops.fused import Fused

if TYPE_CHECKING:
    from dnncc.passes.planning.patch.problem import StagePlan
    from dnncc.rows import RowGraph, RowStage


@dataclass(frozen=True)
class Patched(Fused):
    """The operators of ``body``, a row of pixels at a time, so that no activation inside it is ever whole.

    Operands: the body's inputs, images [1, H, W, C] after at most transpositions. Result: an image.

    Attributes:
        form: "rows" keeps the last rows of every activation in a rolling buffer; "patches" computes each patch from
            the input, the overlap with its neighbours again.
        grid: rows and columns of parts of the output; with "rows" one row of parts.
    """

    name: ClassVar[str] = "patched"
    form: Literal["rows", "patches"] = "rows"
    grid: tuple[int, int] = (1, 1)

    @classmethod
    def has_code(cls) -> bool:
        return True

    @cached_property
    def rows(self) -> RowStage:
        """The body as a stage; TypeMismatchError if it is none."""
        from dnncc.rows import NotInRowsError, row_stage

        try:
            return row_stage(self.graph)
        except NotInRowsError as error:
            raise TypeMismatchError(f"patched: {error}") from error

    @cached_property
    def plan(self) -> StagePlan:
        """What is computed when; the kernels' own workspaces are not in it."""
        from dnncc.passes.planning.patch.schedule import lay_out

        return lay_out(self.rows.stage, self.form, self.grid)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if min(self.grid) < 1 or (self.form == "rows" and self.grid[0] != 1):
            raise TypeMismatchError(f"patched: a grid of {self.grid} in the form '{self.form}'")
        found = super().infer(*inputs)
        _ = self.rows
        return found

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return self.plan.macs

    def reference(self, *inputs: Array) -> Sequence[Array]:
        """The plan, executed row by row: what generated code does."""
        from dnncc.rows import row_graph

        output = self.graph.outputs[0].type
        result = np.zeros(output.shape, output.dtype.numpy)
        for columns in self.plan.columns:
            graphs = [row_graph(self.rows, i, columns) for i in range(len(self.rows.layers))]
            low, high = columns[-1]
            self._strip(graphs, inputs, result[:, :, low:high])
        return [result]

    def _strip(self, graphs: Sequence[RowGraph], inputs: Sequence[Array], result: Array) -> None:
        from dnncc.interpreter import interpret
        from dnncc.ir.graph import Const
        from dnncc.passes.planning.patch.problem import START
        from dnncc.rows import constant_row

        stage, layers, plan = self.rows.stage, self.rows.layers, self.plan
        sources = dict(zip(self.graph.inputs, inputs, strict=True))
        held: list[dict[int, Array]] = []
        upcoming: list[int] = []
        band = 0

        def operand(i: int, index: int, row: int) -> Array:
            item = graphs[i].inputs[index]
            one, shape = item.operand, graphs[i].graph.inputs[index].type.shape
            if isinstance(one.value, Const):
                return constant_row(one.value.data, row, shape[2], item)
            if one.image is None or one.read is None:
                # The kernel reads from where the row begins, and may not read beyond it.
                source = sources[one.value]
                flat = np.concatenate([source.reshape(-1)[row * item.pitch :], source.reshape(-1)])
                return flat[: source.size].reshape(source.shape)
            first = row * one.read.rows.stride - one.read.rows.before
            rows = [held[one.image][r] for r in range(first, first + one.read.rows.extent)]
            return np.concatenate(rows, axis=1)[:, :, item.skip : item.skip + shape[2]]

        for i in plan.program:
            if i == START:
                held = [{} for _ in stage.images]
                upcoming = list(plan.starts[band])
                band += 1
                continue
            row = upcoming[i]
            upcoming[i] += 1
            one = graphs[i].graph
            shape = one.outputs[0].type.shape
            if 0 <= row < stage.images[i].height:
                (value,) = interpret(one, [operand(i, k, row) for k in range(len(one.inputs))])
            else:
                value = np.full(shape, self.rows.fills[i], layers[i].output.type.dtype.numpy)
            if i == len(layers) - 1:
                result[:, row : row + 1] = value
                continue
            held[i][row] = value
            if len(held[i]) > plan.rows[i]:
                del held[i][min(held[i])]
