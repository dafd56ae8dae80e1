"""Between the floats that people have and the integers at a quantized graph's border, with the operators' own rounding."""

from __future__ import annotations

from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, TensorType
from dnncc.ops.dequantize import Dequantize
from dnncc.ops.quantize import Quantize
from dnncc.passes.quantize.calibrate import Samples, arguments


def to_integers(x: Array, type: TensorType) -> Array:
    """Float32 ``x`` of any shape as the integers of an input of this type; floats stay as they are for an f32 input."""
    if type.dtype.is_float:
        return x.astype(type.dtype.numpy, copy=False)
    (y,) = Quantize(type.dtype, type.scale).reference(x)
    return y


def to_floats(x: Array, type: TensorType) -> Array:
    """What the integers of a value of this type stand for, float32."""
    if type.dtype.is_float:
        return x
    (y,) = Dequantize(type.scale).reference(x)
    return y


def integer_arguments(graph: Graph, samples: Samples, index: int) -> list[Array]:
    """The inputs of an integer ``graph`` for one float sample."""
    floats = arguments(graph, samples, index)
    return [to_integers(x, v.type) for x, v in zip(floats, graph.inputs, strict=True)]


