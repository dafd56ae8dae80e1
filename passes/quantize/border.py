"""Between floats and the integers at a quantized graph's border, with the operators' own rounding."""

from __future__ import annotations

import numpy as np
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, TensorType
from dnncc.ops.quantize import Quantize
from dnncc.passes.quantize.calibrate import Samples, arguments


def to_integers(x: Array, type: TensorType) -> Array:
    """Float32 ``x`` of any shape as the integers of an input of this type; as it is for one without a grid."""
    if type.quantization is None:
        return x.astype(type.dtype.numpy, copy=False)
    (y,) = Quantize(type.dtype, type.scale, _zero_point(type)).reference(x)
    return y


def to_floats(x: Array, type: TensorType) -> Array:
    """What the integers of a value of this type stand for, float32: one rounding, that of the product. Integers that
    stand for themselves stay."""
    if type.quantization is None:
        return x
    result: Array = (x.astype(np.int32) - _zero_point(type)).astype(np.float32) * np.float32(type.scale)
    return result


def _zero_point(type: TensorType) -> int:
    return 0 if type.quantization is None else type.quantization.zero_point


def integer_arguments(graph: Graph, samples: Samples, index: int) -> list[Array]:
    """The inputs of an integer ``graph`` for one float sample."""
    floats = arguments(graph, samples, index)
    return [to_integers(x, v.type) for x, v in zip(floats, graph.inputs, strict=True)]
