"""The activation functions of recurrent networks, in numpy and as expressions of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dnncc.ir.types import Array


@dataclass(frozen=True)
class Activation:
    """A function of one number with two parameters.

    Attributes:
        alpha, beta: the parameters' defaults.
        apply: (x, alpha, beta) on a float64 array.
        expr: the same on an expression of f32; the third argument makes a constant of a number.
        low, high: the range for the default parameters; infinite where there is no bound.
    """

    alpha: float
    beta: float
    apply: Callable[[Array, float, float], Array]
    expr: Callable[[Any, float, float], Any]
    low: float = -np.inf
    high: float = np.inf


def _c(value: float) -> Any:
    from dnncc.targets.lowering.api import const

    return const(value, "float32")


def _te() -> Any:
    from dnncc.targets.lowering.api import te

    return te


def _exp(x: Array) -> Array:
    with np.errstate(over="ignore"):
        y: Array = np.exp(x)
    return y


def _where(condition: Any, yes: Any, no: Any) -> Any:
    from dnncc.targets.lowering.api import tirx

    return tirx.Select(condition, yes, no)


def _tanh_expr(x: Any) -> Any:
    # From exp, in the form that neither overflows nor cancels for large arguments.
    return _c(1.0) - _c(2.0) / (_te().exp(x + x) + _c(1.0))


def _softplus_expr(x: Any) -> Any:
    te = _te()
    return te.max(x, _c(0.0)) + te.log(_c(1.0) + te.exp(_c(0.0) - te.max(x, _c(0.0) - x)))


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(0, 0, lambda x, a, b: np.maximum(x, 0), lambda x, a, b: _te().max(x, _c(0.0)), 0.0),
    "tanh": Activation(0, 0, lambda x, a, b: np.tanh(x), lambda x, a, b: _tanh_expr(x), -1.0, 1.0),
    "sigmoid": Activation(
        0,
        0,
        lambda x, a, b: 1 / (1 + _exp(-x)),
        lambda x, a, b: _c(1.0) / (_c(1.0) + _te().exp(_c(0.0) - x)),
        0.0,
        1.0,
    ),
    "affine": Activation(1, 0, lambda x, a, b: a * x + b, lambda x, a, b: x * _c(a) + _c(b)),
    "leakyrelu": Activation(
        0.01,
        0,
        lambda x, a, b: np.where(x < 0, a * x, x),
        lambda x, a, b: _where(x < _c(0.0), x * _c(a), x),
    ),
    "thresholdedrelu": Activation(
        1.0,
        0,
        lambda x, a, b: np.where(x > a, x, 0.0),
        lambda x, a, b: _where(x > _c(a), x, _c(0.0)),
        0.0,
    ),
    "scaledtanh": Activation(
        1.0,
        1.0,
        lambda x, a, b: a * np.tanh(b * x),
        lambda x, a, b: _tanh_expr(x * _c(b)) * _c(a),
        -1.0,
        1.0,
    ),
    "hardsigmoid": Activation(
        0.2,
        0.5,
        lambda x, a, b: np.clip(a * x + b, 0, 1),
        lambda x, a, b: _te().min(_te().max(x * _c(a) + _c(b), _c(0.0)), _c(1.0)),
        0.0,
        1.0,
    ),
    "elu": Activation(
        1.0,
        0,
        lambda x, a, b: np.where(x < 0, a * (_exp(np.minimum(x, 0)) - 1), x),
        lambda x, a, b: _where(x < _c(0.0), (_te().exp(_te().min(x, _c(0.0))) - _c(1.0)) * _c(a), x),
        -1.0,
    ),
    "softsign": Activation(
        0,
        0,
        lambda x, a, b: x / (1 + np.abs(x)),
        lambda x, a, b: x / (_c(1.0) + _te().max(x, _c(0.0) - x)),
        -1.0,
        1.0,
    ),
    "softplus": Activation(0, 0, lambda x, a, b: np.logaddexp(x, 0), lambda x, a, b: _softplus_expr(x), 0.0),
}
"""By ONNX's name in small letters."""
