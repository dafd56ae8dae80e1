"""Images at positions that another tensor gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import Variable, bounded, combinations, floor_of, nest
from dnncc.ops.te_types import shape_of

TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
PADDINGS = ("zeros", "border", "reflection")
_A = -0.75
_FAR = 1e9


@dataclass(frozen=True)
class GridSample(Op):
    """[N, C, *O] of operands (x [N, C, *I], grid [N, *O, len(I)]): x at the positions in the grid, f32.

    A position names the last axis first and is -1 at one end of the image and 1 at the other.

    Attributes:
        mode: "nearest" (ties to even), "linear" or "cubic" (Keys with a = -0.75).
        padding: what lies outside: "zeros", "border" (the nearest element), "reflection".
        align_corners: the ends are the centers of the outermost elements, not their outer edges.
    """

    name: ClassVar[str] = "grid_sample"
    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        x, grid = inputs
        axes = x.rank - 2
        fits = axes >= 1 and grid.rank == x.rank and grid.shape[0] == x.shape[0] and grid.shape[-1] == axes
        if not fits or x.dtype is not DType.F32 or grid.dtype is not DType.F32:
            raise TypeMismatchError(f"{x} at the positions {grid}")
        if self.mode not in TAPS or self.padding not in PADDINGS:
            raise TypeMismatchError(f"no mode '{self.mode}' with padding '{self.padding}'")
        return [TensorType(DType.F32, (*x.shape[:2], *grid.shape[1:-1]))]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size * int(TAPS[self.mode] ** (inputs[0].rank - 2))

    def _ends(self, size: int) -> tuple[float, float]:
        """Where an axis begins and ends, in elements."""
        return (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)

    # -- reference ---------------------------------------------------------------------------------

    def reference(self, *inputs: Array) -> Sequence[Array]:
        x, grid = inputs
        axes = [self._axis(grid[..., -1 - a], size) for a, size in enumerate(x.shape[2:])]
        entry = np.arange(len(x)).reshape(-1, *(1,) * (grid.ndim - 2))
        total = np.zeros((*grid.shape[:-1], x.shape[1]), np.float32)
        for tap in combinations(*(TAPS[self.mode] for _ in axes)):
            weight = np.ones(grid.shape[:-1], np.float32)
            for (_, weights), k in zip(axes, tap, strict=True):
                weight = weight * weights[k]
            where = [positions[k] for (positions, _), k in zip(axes, tap, strict=True)]
            total += np.moveaxis(x, 1, -1)[(entry, *where)] * weight[..., None]
        return [np.ascontiguousarray(np.moveaxis(total, -1, 1))]

    def _axis(self, normal: Array, size: int) -> tuple[list[Array], list[Array]]:
        """Per tap the element along an axis, and its weight."""
        f32 = np.float32
        if self.align_corners:
            at = (normal + f32(1)) / f32(2) * f32(size - 1)
        else:
            at = ((normal + f32(1)) * f32(size) - f32(1)) / f32(2)
        at = np.where(at > -_FAR, np.where(at < _FAR, at, f32(_FAR)), f32(-_FAR)).astype(f32)
        if self.mode == "nearest":
            at = np.rint(at)
        low, high = (f32(end) for end in self._ends(size))
        outside = (at < low) | (at > high)
        if self.padding == "border" and self.mode != "cubic":  # its taps move to the border one by one
            at = np.where(outside, np.clip(at, f32(0), f32(size - 1)), at)
        elif self.padding == "reflection":
            at = self._reflected(at, low, high)
        first = np.floor(at).astype(np.int64)
        part = (at - first.astype(f32)).astype(f32)
        first -= self.mode == "cubic"
        positions, weights = [], _weights(self.mode, part)
        for k in range(TAPS[self.mode]):
            i = first + k
            if self.padding == "reflection":
                i = np.trunc(self._reflected(i.astype(f32), low, high)).astype(np.int64)
            inside = (i >= 0) & (i < size)
            if self.padding == "zeros":
                weights[k] = np.where(inside, weights[k], f32(0))
            positions.append(np.clip(i, 0, size - 1))
        return positions, weights

    @staticmethod
    def _reflected(at: Array, low: Any, high: Any) -> Array:
        if high <= low:
            return np.where((at < low) | (at > high), low, at).astype(np.float32)
        beyond = np.maximum(np.maximum(low - at, at - high), np.float32(0))
        turns = np.trunc(beyond / (high - low))
        rest = (beyond - turns * (high - low)).astype(np.float32)
        from_low = (at < low) == (turns % 2 == 0)
        return np.where(beyond > 0, np.where(from_low, low + rest, high - rest), at).astype(np.float32)

    # -- code --------------------------------------------------------------------------------------

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        (x, grid), (y,) = inputs, outputs
        entries, channels, *image = shape_of(x)
        with nest(t, entries, *shape_of(grid)[1:-1]) as (n, *where):
            axes = [
                self._axis_code(t, grid[(n, *where, len(image) - 1 - a)], size)
                for a, size in enumerate(image)
            ]
            with t.serial(0, channels) as c:
                total = Variable(t, "float32", 0.0)
                for tap in combinations(*(TAPS[self.mode] for _ in axes)):
                    place = [positions[k] for (positions, _), k in zip(axes, tap, strict=True)]
                    factors = [weights[k] for (_, weights), k in zip(axes, tap, strict=True)]
                    total.set(total.get() + x[(n, c, *place)] * math.prod(factors[1:], start=factors[0]))
                t.buffer_store(y, total.get(), (n, c, *where))

    def _axis_code(self, t: Any, normal: Any, size: int) -> tuple[list[Any], list[Any]]:
        """``_axis`` as code: variables that the channels share."""
        f32 = t.float32
        if self.align_corners:
            at = (normal + f32(1)) / f32(2) * f32(size - 1)
        else:
            at = ((normal + f32(1)) * f32(size) - f32(1)) / f32(2)
        place = Variable(t, "float32", at)
        place.set(bounded(t, place.get()))
        if self.mode == "nearest":
            place.set(self._rounded(t, place.get()))
        low, high = self._ends(size)
        if self.padding == "border" and self.mode != "cubic":
            outside = t.Or(place.get() < f32(low), place.get() > f32(high))
            with t.If(outside), t.Then():
                place.set(t.min(t.max(place.get(), f32(0)), f32(size - 1)))
        elif self.padding == "reflection":
            self._reflect_code(t, place, low, high)
        first = Variable(t, "int32", floor_of(t, place.get())).get()
        part = Variable(t, "float32", place.get() - first.astype("float32")).get()
        positions, weights = [], [Variable(t, "float32", w) for w in _weights(self.mode, part, f32)]
        for k in range(TAPS[self.mode]):
            i = first + (k - (self.mode == "cubic"))
            if self.padding == "reflection":
                reflected = Variable(t, "float32", i.astype("float32"))
                self._reflect_code(t, reflected, low, high)
                i = reflected.get().astype("int32")
            i = Variable(t, "int32", i).get()
            if self.padding == "zeros":
                with t.If(t.Or(i < 0, i >= size)), t.Then():
                    weights[k].set(0.0)
            positions.append(Variable(t, "int32", t.min(t.max(i, 0), size - 1)).get())
        return positions, [w.get() for w in weights]

    @staticmethod
    def _rounded(t: Any, at: Any) -> Any:
        """The nearest integer as a float, ties to even."""
        whole = Variable(t, "int32", floor_of(t, at)).get()
        part = at - whole.astype("float32")
        up = t.Or(part > t.float32(0.5), t.And(part == t.float32(0.5), t.floormod(whole, 2) == 1))
        return t.Select(up, whole + 1, whole).astype("float32")

    @staticmethod
    def _reflect_code(t: Any, place: Variable, low: float, high: float) -> None:
        """``_reflected`` as code, in place."""
        f32 = t.float32
        at = place.get()
        if high <= low:
            place.set(f32(low))
            return
        beyond = Variable(t, "float32", t.max(t.max(f32(low) - at, at - f32(high)), f32(0))).get()
        with t.If(beyond > f32(0)), t.Then():
            turns = Variable(t, "int32", (beyond / f32(high - low)).astype("int32")).get()
            rest = beyond - turns.astype("float32") * f32(high - low)
            even = t.truncmod(turns, 2) == 0
            from_low = t.Or(t.And(at < f32(low), even), t.And(at > f32(high), t.Not(even)))
            place.set(t.Select(from_low, f32(low) + rest, f32(high) - rest))


def _weights(mode: str, part: Any, number: Any = np.float32) -> list[Any]:
    """The weights of the taps for a position ``part`` behind an element, of numpy arrays or TVM expressions."""
    if mode == "nearest":
        return [number(1) + number(0) * part if number is np.float32 else number(1)]
    if mode == "linear":
        return [number(1) - part, part]
    a = _A

    def near(d: Any) -> Any:
        return ((number(a + 2) * d - number(a + 3)) * d) * d + number(1)

    def far(d: Any) -> Any:
        return ((number(a) * d - number(5 * a)) * d + number(8 * a)) * d - number(4 * a)

    return [far(part + number(1)), near(part), near(number(1) - part), far(number(2) - part)]


@onnx_op("GridSample")
def import_grid_sample(g: Importer, node: OnnxNode) -> Value:
    x, grid = node.value(0), node.value(1)
    older = {"bilinear": "linear", "bicubic": "cubic"}
    mode = node.string("mode", "linear" if node.opset >= 20 else "bilinear")
    mode = older.get(mode, mode)
    padding = node.string("padding_mode", "zeros")
    if mode not in TAPS or padding not in PADDINGS:
        raise node.invalid(f"mode '{mode}' with padding_mode '{padding}'")
    return g.emit(GridSample(mode, padding, bool(node.int("align_corners", 0))), [x, grid])
