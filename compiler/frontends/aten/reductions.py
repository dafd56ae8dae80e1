"""Sums, means, extremes, statistics and softmaxes along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dnncc.frontends.aten.builder import Builder, Ref, Scalar, aten

Dims = int | Sequence[int] | None


def _axes(x: Ref, dims: Dims) -> list[int]:
    if dims is None or (not isinstance(dims, int) and not dims):
        return list(range(x.rank))
    return [x.axis(d) for d in ([dims] if isinstance(dims, int) else dims)]


def _reduce(g: Builder, op_type: str, x: Ref | str, axes: Sequence[int], keep: bool) -> str:
    return g.emit(op_type, x, g.ints(*axes), keepdims=int(keep)) if axes else g.emit("Identity", x)


@aten("sum.dim_IntList", "sum.default")
def sum_(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False, **_: Any) -> str:
    return _reduce(g, "ReduceSum", g.tensor(x, g.result.dtype), _axes(x, dim), keepdim)


@aten("mean.dim", "mean.default")
def mean(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False, **_: Any) -> str:
    axes = _axes(x, dim)
    if keepdim and x.rank == 4 and axes == [2, 3]:
        return g.emit("GlobalAveragePool", x)
    return _reduce(g, "ReduceMean", x, axes, keepdim)


@aten("amax.default", "max.default")
def amax(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False) -> str:
    return _reduce(g, "ReduceMax", x, _axes(x, dim), keepdim)


@aten("amin.default", "min.default")
def amin(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False) -> str:
    return _reduce(g, "ReduceMin", x, _axes(x, dim), keepdim)


@aten("max.dim")
def max_dim(g: Builder, x: Ref, dim: int, keepdim: bool = False) -> list[str]:
    index = g.emit("ArgMax", x, axis=x.axis(dim), keepdims=int(keepdim))
    return [_reduce(g, "ReduceMax", x, [x.axis(dim)], keepdim), index]


@aten("min.dim")
def min_dim(g: Builder, x: Ref, dim: int, keepdim: bool = False) -> list[str]:
    index = g.emit("ArgMin", x, axis=x.axis(dim), keepdims=int(keepdim))
    return [_reduce(g, "ReduceMin", x, [x.axis(dim)], keepdim), index]


@aten("prod.dim_int", "prod.default")
def prod(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False, **_: Any) -> str:
    return _reduce(g, "ReduceProd", g.tensor(x, g.result.dtype), _axes(x, dim), keepdim)


@aten("argmax.default")
def argmax(g: Builder, x: Ref, dim: int | None = None, keepdim: bool = False) -> str:
    return _extreme(g, "ArgMax", x, dim, keepdim)


@aten("argmin.default")
def argmin(g: Builder, x: Ref, dim: int | None = None, keepdim: bool = False) -> str:
    return _extreme(g, "ArgMin", x, dim, keepdim)


def _extreme(g: Builder, op_type: str, x: Ref, dim: int | None, keepdim: bool) -> str:
    if dim is None:
        return g.reshape(g.emit(op_type, g.reshape(x, (-1,)), axis=0, keepdims=1), g.result.shape)
    return g.emit(op_type, x, axis=x.axis(dim), keepdims=int(keepdim))


@aten("any.dim", "any.default", "any.dims")
def any_(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False) -> str:
    return g.cast(_reduce(g, "ReduceMax", g.tensor(_bool(g, x), "int32"), _axes(x, dim), keepdim), "bool")


@aten("all.dim", "all.default", "all.dims")
def all_(g: Builder, x: Ref, dim: Dims = None, keepdim: bool = False) -> str:
    return g.cast(_reduce(g, "ReduceMin", g.tensor(_bool(g, x), "int32"), _axes(x, dim), keepdim), "bool")


def _bool(g: Builder, x: Ref) -> Ref:
    return x if x.dtype == "bool" else Ref(g.cast(x, "bool"), x.shape, "bool")


@aten("cumsum.default")
def cumsum(g: Builder, x: Ref, dim: int, **_: Any) -> str:
    return g.emit("CumSum", g.tensor(x, g.result.dtype), g.const(x.axis(dim), "int64"))


@aten("var.correction")
def var(g: Builder, x: Ref, dim: Dims = None, *, correction: Scalar | None = 1, keepdim: bool = False) -> str:
    axes = _axes(x, dim)
    centred = g.emit("Sub", x, _reduce(g, "ReduceMean", x, axes, True))
    mean = _reduce(g, "ReduceMean", g.emit("Mul", centred, centred), axes, keepdim)
    n = math.prod(x.shape[a] for a in axes)
    factor = n / (n - (1 if correction is None else correction))
    return mean if factor == 1 else g.emit("Mul", mean, g.const(factor, "float32"))


@aten("std.correction")
def std(g: Builder, x: Ref, dim: Dims = None, *, correction: Scalar | None = 1, keepdim: bool = False) -> str:
    return g.emit("Sqrt", var(g, x, dim, correction=correction, keepdim=keepdim))


@aten("linalg_vector_norm.default")
def vector_norm(
    g: Builder, x: Ref, order: Scalar = 2, dim: Dims = None, keepdim: bool = False, **_: Any
) -> str:
    axes = _axes(x, dim)
    if order in (1, 2):
        return _reduce(g, f"ReduceL{int(order)}", x, axes, keepdim)
    if math.isinf(order):
        return _reduce(g, "ReduceMax" if order > 0 else "ReduceMin", g.emit("Abs", x), axes, keepdim)
    powers = g.emit("Pow", g.emit("Abs", x), g.const(order, "float32"))
    total = _reduce(g, "ReduceSum", powers, axes, keepdim)
    return g.emit("Pow", total, g.const(1 / order, "float32"))


@aten("logsumexp.default")
def logsumexp(g: Builder, x: Ref, dim: Dims, keepdim: bool = False) -> str:
    return _reduce(g, "ReduceLogSumExp", x, _axes(x, dim), keepdim)


@aten("_softmax.default", "softmax.int", "_safe_softmax.default")
def softmax(g: Builder, x: Ref, dim: int, *_: Any) -> str:
    return g.emit("Softmax", x, axis=x.axis(dim))


@aten("_log_softmax.default", "log_softmax.int")
def log_softmax(g: Builder, x: Ref, dim: int, *_: Any) -> str:
    return g.emit("LogSoftmax", x, axis=x.axis(dim))
