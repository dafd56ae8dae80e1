"""Convolutions, matrix products, pooling, normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from dnncc.errors import UnsupportedError
from dnncc.frontends.aten.builder import Builder, Ref, aten
from dnncc.ir.types import Array


@aten("convolution.default")
def convolution(
    g: Builder,
    x: Ref,
    weight: Ref,
    bias: Ref | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> str:
    rank = weight.rank - 2
    window: dict[str, Any] = {
        "strides": spread(stride, rank),
        "pads": spread(padding, rank) * 2,
        "dilations": spread(dilation, rank),
        "group": groups,
    }
    source = x if x.rank == weight.rank else g.reshape(x, (1, *x.shape))
    if transposed:
        extra = spread(output_padding, rank)
        y = g.emit("ConvTranspose", source, weight, bias, **window, output_padding=extra)
    else:
        y = g.emit("Conv", source, weight, bias, **window)
    return y if source is x else g.reshape(y, g.result.shape)


def spread(values: int | Sequence[int], rank: int) -> list[int]:
    """One number per spatial axis: PyTorch writes one for all."""
    given = [values] if isinstance(values, int) else list(values)
    return given * rank if len(given) == 1 else given


@aten("linear.default")
def linear(g: Builder, x: Ref, weight: Ref, bias: Ref | None = None) -> str:
    if x.rank == 2 and weight.rank == 2:
        return g.emit("Gemm", x, weight, bias, transB=1)
    right = g.emit("Transpose", weight, perm=[1, 0]) if weight.rank == 2 else weight.name
    y = g.emit("MatMul", x, right)
    return y if bias is None else g.emit("Add", y, bias)


@aten("addmm.default")
def addmm(g: Builder, bias: Ref, a: Ref, b: Ref, beta: float = 1, alpha: float = 1) -> str:
    return g.emit("Gemm", a, b, bias, alpha=float(alpha), beta=float(beta))


@aten("baddbmm.default")
def baddbmm(g: Builder, bias: Ref, a: Ref, b: Ref, beta: float = 1, alpha: float = 1) -> str:
    product = _times(g, g.emit("MatMul", a, b), alpha)
    return g.emit("Add", product, _times(g, bias.name, beta))


def _times(g: Builder, x: str, factor: float) -> str:
    return x if factor == 1 else g.emit("Mul", x, g.const(factor, "float32"))


@aten("mm.default", "bmm.default", "matmul.default", "mv.default", "dot.default")
def matmul(g: Builder, a: Ref, b: Ref) -> str:
    return g.emit("MatMul", a, b)


@aten("einsum.default")
def einsum(g: Builder, equation: str, operands: Sequence[Ref], path: object = None) -> str:
    return g.emit("Einsum", *operands, equation=equation.replace(" ", ""))


# -- pooling -----------------------------------------------------------------------------------------------------------


def _pooled(g: Builder, op_type: str, x: Ref, kernel: Sequence[int], rank: int, **attributes: Any) -> str:
    source = x if x.rank == rank + 2 else g.reshape(x, (1, *x.shape))
    y = g.emit(op_type, source, kernel_shape=list(kernel), **attributes)
    return y if source is x else g.reshape(y, g.result.shape)


def _pools(rank: int) -> None:
    """Register the pools over ``rank`` axes."""

    @aten(f"max_pool{rank}d.default")
    def max_pool(
        g: Builder,
        x: Ref,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> str:
        size = spread(kernel, rank)
        return _pooled(
            g, "MaxPool", x, size, rank,
            strides=spread(stride, rank) if stride else size, pads=spread(padding, rank) * 2,
            dilations=spread(dilation, rank), ceil_mode=int(ceil_mode),
        )  # fmt: skip

    @aten(f"avg_pool{rank}d.default")
    def avg_pool(
        g: Builder,
        x: Ref,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> str:
        size = spread(kernel, rank)
        if divisor_override is not None:
            raise UnsupportedError("an average pool with a divisor of its own")
        return _pooled(
            g, "AveragePool", x, size, rank,
            strides=spread(stride, rank) if stride else size, pads=spread(padding, rank) * 2,
            ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad),
        )  # fmt: skip


for _rank in (1, 2, 3):
    _pools(_rank)


@aten("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "adaptive_avg_pool3d.default",
      "_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default")  # fmt: skip
def adaptive_avg_pool(g: Builder, x: Ref, size: Sequence[int]) -> str:
    rank, image = len(size), x.shape[x.rank - len(size) :]
    out = [n if o is None else o for o, n in zip(size, image, strict=True)]
    if all(o == 1 for o in out) and x.rank == rank + 2:
        return g.emit("GlobalAveragePool", x)
    if all(n % o == 0 for o, n in zip(out, image, strict=True)):
        kernel = [n // o for o, n in zip(out, image, strict=True)]
        return _pooled(g, "AveragePool", x, kernel, rank, strides=kernel)
    # Bins of different widths: a matrix of averages along each axis.
    y, axes = x.name, list(range(x.rank))
    for axis, (o, n) in enumerate(zip(out, image, strict=True), x.rank - rank):
        if o == n:
            continue
        perm = [*(a for a in axes if a != axis), axis]
        back = [perm.index(a) for a in axes]
        y = g.emit("MatMul", g.emit("Transpose", y, perm=perm), g.const(_bins(n, o).T))
        y = g.emit("Transpose", y, perm=back)
    return y


def _bins(n: int, out: int) -> Array:
    matrix = np.zeros((out, n), np.float32)
    for i in range(out):
        first, last = i * n // out, -(-(i + 1) * n // out)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


@aten("adaptive_max_pool1d.default", "adaptive_max_pool2d.default", "adaptive_max_pool3d.default")
def adaptive_max_pool(g: Builder, x: Ref, size: Sequence[int]) -> list[str]:
    out = [n if o is None else o for o, n in zip(size, x.shape[x.rank - len(size) :], strict=True)]
    image = x.shape[x.rank - len(size) :]
    if any(n % o for o, n in zip(out, image, strict=True)):
        raise UnsupportedError(
            f"an adaptive maximum over {list(image)} in {list(out)} bins of different widths"
        )
    kernel = [n // o for o, n in zip(out, image, strict=True)]
    return [_pooled(g, "MaxPool", x, kernel, len(out), strides=kernel)]


# -- normalization -----------------------------------------------------------------------------------------------------


@aten("_native_batch_norm_legit_no_training.default", "cudnn_batch_norm.default")
def batch_norm(
    g: Builder,
    x: Ref,
    weight: Ref | None,
    bias: Ref | None,
    mean: Ref,
    variance: Ref,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> list[str]:
    channels = x.shape[1]
    scale, shift = _affine(g, weight, bias, (channels,))
    return [g.emit("BatchNormalization", x, scale, shift, mean, variance, epsilon=float(eps))]


def _affine(g: Builder, weight: Ref | None, bias: Ref | None, shape: Sequence[int]) -> tuple[str, str]:
    scale = g.const(np.ones(shape, np.float32)) if weight is None else weight.name
    return scale, g.const(np.zeros(shape, np.float32)) if bias is None else bias.name


@aten("layer_norm.default")
def layer_norm(
    g: Builder,
    x: Ref,
    shape: Sequence[int],
    weight: Ref | None = None,
    bias: Ref | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> str:
    scale, shift = _affine(g, weight, bias, shape)
    return g.emit("LayerNormalization", x, scale, shift, axis=-len(shape), epsilon=float(eps))


@aten("native_layer_norm.default")
def native_layer_norm(
    g: Builder, x: Ref, shape: Sequence[int], weight: Ref | None, bias: Ref | None, eps: float
) -> list[str]:
    return [layer_norm(g, x, shape, weight, bias, eps)]


@aten("instance_norm.default")
def instance_norm(
    g: Builder,
    x: Ref,
    weight: Ref | None,
    bias: Ref | None,
    mean: Ref | None,
    variance: Ref | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn: bool = True,
) -> str:
    scale, shift = _affine(g, weight, bias, (x.shape[1],))
    if not use_input_stats:
        return g.emit("BatchNormalization", x, scale, shift, mean, variance, epsilon=float(eps))
    return g.emit("InstanceNormalization", x, scale, shift, epsilon=float(eps))


@aten("group_norm.default")
def group_norm(
    g: Builder,
    x: Ref,
    groups: int,
    weight: Ref | None = None,
    bias: Ref | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> str:
    # ONNX scales per channel only since opset 21: each group is normalized as an instance of one channel.
    ones, zeros = _affine(g, None, None, (groups,))
    inner = g.reshape(x, (x.shape[0], groups, math.prod(x.shape[1:]) // groups))
    y = g.reshape(g.emit("InstanceNormalization", inner, ones, zeros, epsilon=float(eps)), x.shape)
    channels = (x.shape[1], *[1] * (x.rank - 2))
    if weight is not None:
        y = g.emit("Mul", y, g.reshape(weight, channels))
    return y if bias is None else g.emit("Add", y, g.reshape(bias, channels))


@aten("native_group_norm.default")
def native_group_norm(
    g: Builder,
    x: Ref,
    weight: Ref | None,
    bias: Ref | None,
    n: int,
    c: int,
    hxw: int,
    groups: int,
    eps: float,
) -> list[str]:
    return [group_norm(g, x, groups, weight, bias, eps)]


@aten("rms_norm.default")
def rms_norm(
    g: Builder, x: Ref, shape: Sequence[int], weight: Ref | None = None, eps: float | None = None
) -> str:
    axes = g.ints(*range(-len(shape), 0))
    mean = g.emit("ReduceMean", g.emit("Mul", x, x), axes, keepdims=1)
    epsilon = float(np.finfo(np.float32).eps) if eps is None else float(eps)
    root = g.emit("Sqrt", g.emit("Add", mean, g.const(epsilon, "float32")))
    y = g.emit("Mul", x, g.emit("Reciprocal", root))
    return y if weight is None else g.emit("Mul", y, weight)
