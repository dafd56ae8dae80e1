"""What a random network can do next: each form takes the network and a value, and emits ONNX nodes behind it.

A form need not be legal for every shape: what ONNX Runtime refuses is not taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fuzz.forms_control import CONTROL
from fuzz.forms_integers import INTEGERS
from fuzz.forms_rare import RARE, trained

if TYPE_CHECKING:
    from fuzz.network import Network

Form = Callable[["Network", str], str]

UNARY = (
    "Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Erf", "Softsign", "Softplus", "HardSwish", "Mish", "Ceil", "Floor",
    "Round", "Sign", "Sin", "Cos", "Atan", "Sinh", "Asinh", "Exp", "Identity",
)  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Min", "Max", "PRelu", "Mean", "Sum")
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp",
)  # fmt: skip


def unary(n: Network, x: str) -> str:
    return n.emit(n.one_of(*UNARY), [x])


def parametric(n: Network, x: str) -> str:
    op, attributes = n.one_of(
        ("LeakyRelu", {"alpha": n.real(0.01, 0.5)}),
        ("Elu", {"alpha": n.real(0.2, 2)}),
        ("Celu", {"alpha": n.real(0.2, 2)}),
        ("Selu", {}),
        ("ThresholdedRelu", {"alpha": n.real(0, 1)}),
        ("HardSigmoid", {"alpha": n.real(0.1, 0.4), "beta": n.real(0.2, 0.6)}),
        ("Gelu", {"approximate": n.one_of("none", "tanh")}),
        ("Shrink", {"lambd": n.real(0, 1), "bias": n.real(0, 0.5)}),
    )
    return n.emit(op, [x], **attributes)


def safe_roots(n: Network, x: str) -> str:
    """Functions whose operand must be positive."""
    y = n.emit("Add", [n.emit("Abs", [x]), n.const(np.float32(n.real(0.2, 2)))])
    op = n.one_of("Sqrt", "Log", "Reciprocal", "Pow")
    return n.emit(op, [y, n.const(np.float32(n.one_of(0.5, 2, 3, -1)))] if op == "Pow" else [y])


def clip(n: Network, x: str) -> str:
    lo, hi = sorted((n.real(-2, 2), n.real(-2, 2)))
    return n.emit("Clip", [x, n.const(np.float32(lo)), n.const(np.float32(hi))])


def binary(n: Network, x: str) -> str:
    op = n.one_of(*BINARY)
    shape = n.shape(x)
    kind = n.one_of("same", "other", "channel", "scalar", "full")
    if kind == "same":
        other = n.like(x)
    elif kind == "other":
        other = n.pick()
    elif kind == "channel" and shape:
        other = n.weights(*(d if n.one_of(0, 1) else 1 for d in shape))
    elif kind == "full":
        other = n.weights(*shape)
    else:
        other = n.const(np.float32(n.real(-1, 1)))
    operands = [x, other] if op == "PRelu" or n.one_of(0, 1) else [other, x]
    return n.emit(op, operands)


def divide(n: Network, x: str) -> str:
    shape = tuple(d if n.one_of(0, 1) else 1 for d in n.shape(x))
    divisor = np.sign(n.rng.normal(0, 1, shape)) * n.rng.uniform(0.5, 2, shape)
    return n.emit("Div", [x, n.const(divisor.astype(np.float32))])


def select(n: Network, x: str) -> str:
    """A comparison decides element by element."""
    op = n.one_of("Less", "Greater", "LessOrEqual", "GreaterOrEqual")
    condition = n.emit(op, [x, n.one_of(n.like(x), n.const(np.float32(n.real(-1, 1))))])
    if n.one_of(0, 1):
        condition = n.emit("Not", [condition])
    if n.one_of(0, 0, 1):
        other = n.emit("Greater", [x, n.const(np.float32(n.real(-1, 1)))])
        condition = n.emit(n.one_of("And", "Or", "Xor"), [condition, other])
    return n.emit("Where", [condition, x, n.one_of(n.like(x), n.const(np.float32(n.real(-1, 1))))])


def softmax(n: Network, x: str) -> str:
    return n.emit(n.one_of("Softmax", "Softmax", "LogSoftmax"), [x], axis=n.axis(x))


def reduce(n: Network, x: str) -> str:
    rank = len(n.shape(x))
    axes = n.some(range(rank)) or [n.axis(x)]
    return n.emit(n.one_of(*REDUCTIONS), [x, n.ints(*axes)], keepdims=n.one_of(0, 1))


def extreme_index(n: Network, x: str) -> str:
    y = n.emit(n.one_of("ArgMax", "ArgMin"), [x], axis=n.axis(x), keepdims=n.one_of(0, 1))
    return n.emit("Cast", [y], to=1)


def cumulate(n: Network, x: str) -> str:
    return n.emit(
        "CumSum", [x, n.const(np.int64(n.axis(x)))], exclusive=n.one_of(0, 1), reverse=n.one_of(0, 1)
    )


def normalize(n: Network, x: str) -> str:
    shape = n.shape(x)
    kind = n.one_of("batch", "layer", "instance", "lp", "lrn")
    if kind == "layer" and shape:
        axis = n.axis(x)
        parameters = [n.weights(*shape[axis:]), n.weights(*shape[axis:])][: n.one_of(1, 2)]
        return n.emit("LayerNormalization", [x, *parameters], axis=axis)
    if len(shape) < 2:
        return unary(n, x)
    c = shape[1]
    if kind == "batch":
        variance = n.const(n.rng.uniform(0.2, 2, c).astype(np.float32))
        return n.emit("BatchNormalization", [x, n.weights(c), n.weights(c), n.weights(c), variance])
    if kind == "instance" and len(shape) > 2:
        return n.emit("InstanceNormalization", [x, n.weights(c), n.weights(c)])
    if kind == "lrn" and len(shape) == 4:
        return n.emit("LRN", [x], size=n.one_of(1, 3, 5))
    axis = n.axis(x)
    if shape[axis] == 1:
        return unary(n, x)  # signs, up to a rounding: equal or not by chance
    return n.emit("LpNormalization", [x], axis=axis, p=n.one_of(1, 2))


def convolve(n: Network, x: str) -> str:
    shape = n.shape(x)
    if len(shape) not in (3, 4, 5):
        return reshape(n, x)
    c, spatial = shape[1], shape[2:]
    groups = n.one_of(1, 1, *(g for g in range(2, c + 1) if c % g == 0))
    kernel = [min(n.size(1, 3), d) for d in spatial]
    window = {
        "strides": [n.one_of(1, 1, 2) for _ in spatial],
        "dilations": [n.one_of(1, 1, 2) for _ in spatial],
        "group": groups,
    }
    if n.one_of(0, 0, 1):
        window["auto_pad"] = n.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
        window["dilations"] = [1] * len(spatial)
    else:
        window["pads"] = [n.size(0, k // 2) for k in kernel * 2]
    o = groups * n.size(1, 4)
    if n.one_of(0, 0, 0, 1):
        w = n.weights(c, o // groups, *kernel, fan_in=c)
        return n.emit("ConvTranspose", [x, w, n.weights(o)][: n.one_of(2, 3)], **window)
    w = n.weights(o, c // groups, *kernel, fan_in=c // groups * math.prod(kernel))
    return n.emit("Conv", [x, w, n.weights(o)][: n.one_of(2, 3)], **window)


def pool(n: Network, x: str) -> str:
    shape = n.shape(x)
    if len(shape) not in (3, 4, 5):
        return reduce(n, x)
    spatial = shape[2:]
    op = n.one_of("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool")
    if op.startswith("Global"):
        return n.emit(op, [x])
    kernel = [min(n.size(1, 3), d) for d in spatial]
    attributes = {
        "kernel_shape": kernel,
        "strides": [n.one_of(1, 2) for _ in spatial],
        "pads": [n.size(0, (k - 1) // 2) for k in kernel * 2],
    }
    if op != "LpPool":
        attributes["ceil_mode"] = n.one_of(0, 0, 1)
    if op == "AveragePool":
        attributes["count_include_pad"] = n.one_of(0, 1)
    return n.emit(op, [x], **attributes)


def product(n: Network, x: str) -> str:
    shape = n.shape(x)
    if len(shape) < 2:
        return (
            n.emit("MatMul", [x, n.weights(shape[0], n.size(1, 6), fan_in=shape[0])])
            if shape
            else unary(n, x)
        )
    if len(shape) == 2 and n.one_of(0, 1):
        out = n.size(1, 6)
        w = n.weights(out, shape[1], fan_in=shape[1])
        operands = [x, w, n.weights(out)][: n.one_of(2, 3)]
        return n.emit("Gemm", operands, transB=1, alpha=n.one_of(1.0, 0.5), beta=n.one_of(1.0, 2.0))
    if n.one_of(0, 0, 1):  # two activations
        rank = len(shape)
        turned = n.emit("Transpose", [x], perm=[*range(rank - 2), rank - 1, rank - 2])
        y = n.emit("MatMul", [x, turned])
        return n.emit("Mul", [y, n.const(np.float32(1 / math.sqrt(shape[-1])))])
    return n.emit("MatMul", [x, n.weights(shape[-1], n.size(1, 6), fan_in=shape[-1])])


def einsum(n: Network, x: str) -> str:
    letters = "abcde"[: len(n.shape(x))]
    if not letters:
        return unary(n, x)
    w = n.weights(n.shape(x)[-1], 3, fan_in=n.shape(x)[-1])
    return n.emit("Einsum", [x, w], equation=f"{letters},{letters[-1]}z->{letters[:-1]}z")


def reshape(n: Network, x: str) -> str:
    size = math.prod(n.shape(x))
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        factor = n.one_of(*[d for d in range(1, size + 1) if size % d == 0][:8])
        shape.append(factor)
        size //= factor
    shape.append(size)
    kind = n.one_of("Reshape", "Reshape", "Flatten", "Unsqueeze")
    if kind == "Flatten":
        return n.emit("Flatten", [x], axis=n.size(0, len(n.shape(x))))
    if kind == "Unsqueeze" and len(n.shape(x)) < 4:
        return n.emit("Unsqueeze", [x, n.ints(n.size(0, len(n.shape(x))))])
    return n.emit("Reshape", [x, n.ints(*n.shuffled(shape))])


def transpose(n: Network, x: str) -> str:
    return n.emit("Transpose", [x], perm=n.shuffled(range(len(n.shape(x))))) if n.shape(x) else unary(n, x)


def slice_(n: Network, x: str) -> str:
    shape = n.shape(x)
    axes = n.some(range(len(shape))) or [n.axis(x)]
    starts, ends, steps = [], [], []
    for axis in axes:
        step = n.one_of(1, 1, 2, -1)
        a, b = sorted((n.size(0, shape[axis] - 1), n.size(0, shape[axis] - 1)))
        starts.append(b if step < 0 else a)
        ends.append(a - 1 - shape[axis] if step < 0 else b + 1)
        steps.append(step)
    return n.emit("Slice", [x, n.ints(*starts), n.ints(*ends), n.ints(*axes), n.ints(*steps)])


def split(n: Network, x: str) -> str:
    axis = n.axis(x)
    length = n.shape(x)[axis]
    if length < 2:
        return transpose(n, x)
    at = n.size(1, length - 1)
    parts = n.emit_all("Split", [x, n.ints(at, length - at)], 2, axis=axis)
    return n.emit("Concat", [parts[1], parts[0]], axis=axis) if n.one_of(0, 1) else parts[n.one_of(0, 1)]


def concat(n: Network, x: str) -> str:
    axis = n.axis(x)
    parts = [x, *(n.like(x) for _ in range(n.size(1, 2)))]
    return n.emit("Concat", parts, axis=axis)


def pad(n: Network, x: str) -> str:
    shape = n.shape(x)
    mode = n.one_of("constant", "reflect", "edge", "wrap")
    room = [2 if mode in ("constant", "edge") else min(d - 1, 2) for d in shape]
    pads = [n.size(0, max(r, 0)) for r in room * 2]
    operands = [x, n.ints(*pads)]
    if mode == "constant" and n.one_of(0, 1):
        operands.append(n.const(np.float32(n.real(-1, 1))))
    return n.emit("Pad", operands, mode=mode)


def gather(n: Network, x: str) -> str:
    axis = n.axis(x)
    length = n.shape(x)[axis]
    kind = n.one_of("Gather", "GatherElements", "ReverseSequence", "TopK")
    if kind == "Gather":
        indices = n.rng.integers(-length, length, n.one_of((), (2,), (2, 2)))
        return n.emit("Gather", [x, n.const(indices.astype(np.int64))], axis=axis)
    if kind == "GatherElements":
        indices = n.rng.integers(-length, length, n.shape(x))
        return n.emit("GatherElements", [x, n.const(indices.astype(np.int64))], axis=axis)
    if kind == "TopK":
        k = n.ints(n.size(1, length))
        return n.emit_all("TopK", [x, k], 2, axis=axis, largest=n.one_of(0, 1))[0]
    if len(n.shape(x)) < 2:
        return unary(n, x)
    lengths = n.rng.integers(1, n.shape(x)[0] + 1, n.shape(x)[1])
    return n.emit("ReverseSequence", [x, n.const(lengths.astype(np.int64))], time_axis=0, batch_axis=1)


def scatter(n: Network, x: str) -> str:
    axis = n.axis(x)
    shape = n.shape(x)
    rows = n.size(1, shape[axis])
    updates = (*shape[:axis], rows, *shape[axis + 1 :])
    order = np.stack([n.rng.permutation(shape[axis])[:rows] for _ in range(math.prod(updates) // rows)])
    indices = np.moveaxis(order.reshape(*shape[:axis], *shape[axis + 1 :], rows), -1, axis)
    return n.emit("ScatterElements", [x, n.const(indices.astype(np.int64)), n.weights(*updates)], axis=axis)


def repeat(n: Network, x: str) -> str:
    shape = n.shape(x)
    if n.one_of(0, 1):
        return n.emit("Tile", [x, n.ints(*(n.one_of(1, 1, 2) for _ in shape))])
    return n.emit("Expand", [x, n.ints(n.size(1, 2), *shape)]) if len(shape) < 4 else unary(n, x)


def resample(n: Network, x: str) -> str:
    shape = n.shape(x)
    if len(shape) != 4:
        return reshape(n, x)
    kind = n.one_of("nearest", "linear", "cubic", "depth", "space")
    if kind == "depth" and shape[1] % 4 == 0:
        return n.emit("DepthToSpace", [x], blocksize=2, mode=n.one_of("DCR", "CRD"))
    if kind == "space" and shape[2] % 2 == 0 and shape[3] % 2 == 0:
        return n.emit("SpaceToDepth", [x], blocksize=2)
    mode = kind if kind in ("nearest", "linear", "cubic") else "nearest"
    sizes = n.ints(*shape[:2], *(max(1, n.one_of(d, 2 * d, (d + 1) // 2, d + 1)) for d in shape[2:]))
    attributes = {
        "coordinate_transformation_mode": n.one_of(
            "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"
        )
    }
    if mode == "nearest":
        attributes["nearest_mode"] = n.one_of("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    return n.emit("Resize", [x, "", "", sizes], mode=mode, **attributes)


def recur(n: Network, x: str) -> str:
    """A recurrent layer over the first axis."""
    shape = n.shape(x)
    if len(shape) != 3 or math.prod(shape) > 200:
        return product(n, x)
    width = shape[2]
    op, gates = n.one_of(("LSTM", 4), ("GRU", 3), ("RNN", 1))
    hidden = n.size(1, 4)
    direction = n.one_of("forward", "reverse", "bidirectional")
    d = 2 if direction == "bidirectional" else 1
    operands = [
        x,
        n.weights(d, gates * hidden, width, fan_in=width),
        n.weights(d, gates * hidden, hidden, fan_in=hidden),
        n.weights(d, 2 * gates * hidden),
    ][: n.one_of(3, 4)]
    attributes = {"linear_before_reset": n.one_of(0, 1)} if op == "GRU" else {}
    y = n.emit_all(op, operands, 2, hidden_size=hidden, direction=direction, **attributes)
    return y[n.one_of(0, 1)]


FORMS: tuple[Form, ...] = (
    unary, unary, parametric, parametric, safe_roots, clip, binary, binary, binary, divide, select, softmax, reduce,
    extreme_index, cumulate, normalize, normalize, convolve, convolve, convolve, pool, pool, product, product, einsum,
    reshape, reshape, transpose, slice_, split, concat, pad, gather, scatter, repeat, resample, recur,
    *CONTROL, *INTEGERS, *RARE, *RARE,
)  # fmt: skip

LAYERS: tuple[Form, ...] = (
    convolve, convolve, convolve, pool, product, clip, parametric, unary, binary, concat, softmax, reshape, transpose,
    reduce, resample, pad, split, slice_, trained,
)  # fmt: skip
"""What networks that are quantized elsewhere have."""
