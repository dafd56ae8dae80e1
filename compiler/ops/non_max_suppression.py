"""Greedy choice of the best boxes that do not overlap much, in a table of fixed size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.loop_nest import Variable, nest
from dnncc.ops.te_types import shape_of

if TYPE_CHECKING:
    from dnncc.ir.graph import Node
    from dnncc.passes.quantize.context import QuantizeContext

_FRACTION = 16


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """Rows (batch, class, box) i64 of the chosen boxes, best first within a class; rows of -1 behind the last one.

    Operands (boxes [B, N, 4], scores [B, C, N]). Of each class the box with the best score is taken (of equal ones the
    first), those that overlap it by more than ``iou`` are dropped, and so on. Integer boxes are compared without a
    division: ``overlap * 2^16 > round(iou * 2^16) * union``.

    Attributes:
        limit: at most so many boxes of each class of each batch entry.
        rows: of the result; what does not fit is dropped.
        iou: overlap by union, in [0, 1].
        score: only boxes with a better score are taken, in the scores' own integers where these are such.
        center: boxes are (x, y, width, height) around their centers, not (y, x, y, x) of two opposite corners.
    """

    name: ClassVar[str] = "non_max_suppression"
    limit: int = 1
    rows: int = 1
    iou: float = 0.0
    score: int | float | None = None
    center: bool = False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        boxes, scores = inputs
        kinds = {DType.F32, DType.I8, DType.U8, DType.I16}
        fits = boxes.rank == scores.rank == 3 and boxes.shape == (scores.shape[0], scores.shape[2], 4)
        alike = boxes.dtype.is_float == scores.dtype.is_float
        if not fits or not alike or not {boxes.dtype, scores.dtype} <= kinds:
            raise TypeMismatchError(f"boxes {boxes} with scores {scores}")
        if min(self.limit, self.rows) < 1 or not 0.0 <= self.iou <= 1.0:
            raise TypeMismatchError(f"{self.limit} boxes, {self.rows} rows, overlap {self.iou}")
        if scores.dtype.is_integer and isinstance(self.score, float):
            raise TypeMismatchError(f"score {self.score} of {scores}")
        return [TensorType(DType.I64, (self.rows, 3))]

    def reference(self, *inputs: Array) -> Sequence[Array]:
        found = [*self.chosen(*inputs)][: self.rows]
        return [np.array(found + [(-1, -1, -1)] * (self.rows - len(found)), np.int64)]

    def chosen(self, boxes: Array, scores: Array) -> list[tuple[int, int, int]]:
        """All chosen boxes, however many."""
        found = []
        for b, c in np.ndindex(*scores.shape[:2]):
            s, box = scores[b, c], boxes[b]
            left = np.ones(s.shape, bool) if self.score is None else s > self.score
            for _ in range(self.limit):
                if not left.any():
                    break
                best = int(np.flatnonzero(left)[np.argmax(s[left])])
                found.append((b, c, best))
                left[best] = False
                for i in np.flatnonzero(left):
                    left[i] = not self._overlap(np, box[best], box[i])
        return found

    def _overlap(self, m: Any, a: Any, b: Any) -> Any:
        """Whether two boxes overlap too much; ``m`` has ``minimum``, ``maximum`` and the integer types."""
        is_float = a.dtype.kind == "f"
        a, b = (v if is_float else v.astype(np.int64) for v in (a, b))
        sides = [(*self._side(a, k), *self._side(b, k)) for k in (0, 1)]
        across = [np.maximum(np.minimum(a1, b1) - np.maximum(a0, b0), 0) for a0, a1, b0, b1 in sides]
        inter = across[0] * across[1]
        area_a, area_b = (
            (s[0][k + 1] - s[0][k]) * (s[1][k + 1] - s[1][k]) for s, k in ((sides, 0), (sides, 2))
        )
        union = area_a + area_b - inter
        if area_a <= 0 or area_b <= 0 or union <= 0:
            return False
        if is_float:
            return inter / union > np.float32(self.iou)
        return int(inter) << _FRACTION > self._threshold * int(union)

    @property
    def _threshold(self) -> int:
        return round(self.iou * (1 << _FRACTION))

    def _side(self, box: Array, k: int) -> tuple[Any, Any]:
        """The ends of a box along one direction; twice as large for integers around a center."""
        if not self.center:
            return min(box[k], box[k + 2]), max(box[k], box[k + 2])
        if box.dtype.kind == "f":
            half = box[k + 2] / np.float32(2)
            return box[k] - half, box[k] + half
        return 2 * box[k] - box[k + 2], 2 * box[k] + box[k + 2]

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        (boxes, scores), (y,) = inputs, outputs
        batches, classes, n = shape_of(scores)
        left = t.alloc_buffer((n,), "uint8")
        row = Variable(t, "int32", 0)
        with nest(t, self.rows, 3) as i:
            t.buffer_store(y, t.int64(-1), i)
        with nest(t, batches, classes) as (b, c):
            with t.serial(0, n) as i:
                keeps = t.uint8(1)
                if self.score is not None:
                    threshold = t.float32(self.score) if str(scores.dtype) == "float32" else int(self.score)
                    keeps = t.if_then_else(scores[b, c, i] > threshold, t.uint8(1), t.uint8(0))
                t.buffer_store(left, keeps, [i])
            count, best = Variable(t, "int32", 0), Variable(t, "int32", 0)
            with t.While(count.get() < self.limit):
                count.set(count.get() + 1)
                best.set(-1)
                with t.serial(0, n) as i, t.If(left[i] != 0), t.Then():
                    better = scores[b, c, i] > scores[b, c, t.max(best.get(), 0)]
                    with t.If(t.Or(best.get() < 0, better)), t.Then():
                        best.set(i)
                with t.If(best.get() < 0):
                    with t.Then():
                        count.set(self.limit)
                    with t.Else():
                        with t.If(row.get() < self.rows), t.Then():
                            for k, part in enumerate((b, c, best.get())):
                                t.buffer_store(y, part.astype("int64"), [row.get(), k])
                            row.set(row.get() + 1)
                        t.buffer_store(left, t.uint8(0), [best.get()])
                        with t.serial(0, n) as i, t.If(left[i] != 0), t.Then():
                            self._drop(t, boxes, b, best.get(), i, left)

    def _drop(self, t: Any, boxes: Any, b: Any, best: Any, i: Any, left: Any) -> None:
        """Strike box i off if it overlaps the best one too much: ``_overlap`` as code."""
        is_float = str(boxes.dtype) == "float32"
        number = "float32" if is_float else "int64"

        def least(a: Any, b: Any) -> Any:
            return t.Select(a < b, a, b)

        def most(a: Any, b: Any) -> Any:
            return t.Select(a > b, a, b)

        def ends(box: Any, k: int) -> tuple[Any, Any]:
            first, second = (boxes[b, box, j].astype(number) for j in (k, k + 2))
            if not self.center:
                low, high = least(first, second), most(first, second)
            elif is_float:
                low, high = first - second / t.float32(2), first + second / t.float32(2)
            else:
                low, high = first * t.int64(2) - second, first * t.int64(2) + second
            return Variable(t, number, low).get(), Variable(t, number, high).get()

        corners = [(*ends(best, k), *ends(i, k)) for k in (0, 1)]
        zero = t.float32(0) if is_float else t.int64(0)
        across = [
            Variable(t, number, most(least(a1, b1) - most(a0, b0), zero)).get() for a0, a1, b0, b1 in corners
        ]
        inter = Variable(t, number, across[0] * across[1]).get()
        area_a, area_b = (
            Variable(
                t, number, (corners[0][k + 1] - corners[0][k]) * (corners[1][k + 1] - corners[1][k])
            ).get()
            for k in (0, 2)
        )
        union = Variable(t, number, area_a + area_b - inter).get()
        with t.If(t.And(t.And(area_a > zero, area_b > zero), union > zero)), t.Then():
            if is_float:
                too_much = inter / union > t.float32(self.iou)
            else:
                too_much = inter * t.int64(1 << _FRACTION) > union * t.int64(self._threshold)
            with t.If(too_much), t.Then():
                t.buffer_store(left, t.uint8(0), [i])

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | None:
        boxes, scores = (context.activation(v) for v in node.inputs)
        score = self.score
        if score is not None:
            # s * scale > score, for integers s.
            score = int(np.clip(math.floor(score / scores.type.scale), -(1 << 15), 1 << 15))
        return context.emit(replace(self, score=score), [boxes, scores], node.name)


@onnx_op("NonMaxSuppression")
def import_non_max_suppression(g: Importer, node: OnnxNode) -> Value:
    """As many rows as the model declares for the output, else as many boxes as can be chosen at most; rows that are
    not needed are -1."""
    boxes, scores = node.value(0), node.value(1)
    given = [node.optional_array(i) for i in (2, 3, 4)]
    if any(a is not None and a.size != 1 for a in given):
        raise node.invalid("a limit or threshold that is no scalar")
    most, iou, score = (None if a is None else a.reshape(()).item() for a in given)
    center = bool(node.int("center_point_box", 0))
    if boxes.type.rank != 3 or scores.type.rank != 3:
        raise node.invalid(f"boxes {boxes.type} with scores {scores.type}")
    limit = min(int(most or 0), boxes.type.shape[1])
    if limit < 1:
        raise node.unsupported("no boxes to choose, a result without elements")
    if not 0.0 <= (iou or 0.0) <= 1.0:
        raise node.invalid(f"iou_threshold {iou}")
    rows = limit * scores.type.shape[0] * scores.type.shape[1]
    op = NonMaxSuppression(limit, rows, float(iou or 0.0), score, center)
    op.infer(boxes.type, scores.type)
    if isinstance(boxes, Const) and isinstance(scores, Const):
        return g.const("chosen", np.array(op.chosen(boxes.data, scores.data), np.int64).reshape(-1, 3))
    declared = node.declared_shape(0)
    if declared is not None and len(declared) == 2 and declared[0] > 0:
        op = replace(op, rows=declared[0])
    return g.emit(op, [boxes, scores])
