"""What the pools over [N,H,W,C] share: attributes and shapes. ``pooling`` has how ONNX spells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dnncc.frontends.onnx_registry import Importer
from dnncc.ir.graph import Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import shape_of
from dnncc.ops.window import Pads, Pair, Window, padded, te_padded, windows


@dataclass(frozen=True)
class Pool2d(Op):
    """One operand x [N,H,W,C]; every window must have a tap inside the image.

    Attributes:
        kernel: (height, width).
        strides: (vertical, horizontal).
        pads: elements around the image that do not take part: (top, left, bottom, right).
        dilations: (vertical, horizontal) distance of two taps.
    """

    dtypes: ClassVar[frozenset[DType]] = frozenset()
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)

    @property
    def window(self) -> Window:
        return Window(self.strides, self.pads, self.dilations)

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        (x,) = inputs
        if x.rank != 4 or x.dtype not in self.dtypes:
            raise TypeMismatchError(f"{self.name} does not take {x} as x[N,H,W,C]")
        n, h, w, c = x.shape
        oh, ow = self.window.output((h, w), self.kernel)
        if not self.window.meets_image((h, w), self.kernel):
            raise TypeMismatchError(f"{self.name}: a window of {self.kernel} lies in the padding {self.pads}")
        return [self.result(x).with_shape((n, oh, ow, c))]

    def result(self, x: TensorType) -> TensorType:
        """The output's element type and scale, of any shape."""
        return x

    def taps(self, x: Array, value: float) -> Array:
        """[N,OH,OW,KH,KW,C], with ``value`` in the padding."""
        return windows(padded(x, self.pads, value), self.kernel, self.strides, self.dilations)

    def te_taps(self, x: Any, value: float) -> tuple[tuple[int, ...], list[Any], Any]:
        """Output shape, reduction axes, and a function from (n, i, j, c) to the tap under these axes."""
        from dnncc.targets.lowering.api import te

        n, h, w, c = shape_of(x)
        source = te_padded(x, self.pads, value)
        (sh, sw), (dh, dw) = self.strides, self.dilations
        axes = [te.reduce_axis((0, k), name) for k, name in zip(self.kernel, ("kh", "kw"), strict=True)]

        def tap(n: Any, i: Any, j: Any, c: Any) -> Any:
            return source[n, i * sh + axes[0] * dh, j * sw + axes[1] * dw, c]

        return (n, *self.window.output((h, w), self.kernel), c), axes, tap


def emit_pool(g: Importer, op: Op, x: Value) -> Value:
    """A pool of an NCHW value, as NCHW."""
    return g.transpose(g.emit(op, [g.transpose(x, (0, 2, 3, 1))]), (0, 3, 1, 2))
