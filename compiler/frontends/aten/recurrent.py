"""LSTM, GRU and RNN of several layers, and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from dnncc.frontends.aten.builder import Builder, Ref, aten

# Where ONNX's gates stand in PyTorch's order, of an LSTM for example: ONNX has input, output, forget and cell, PyTorch
# input, forget, cell and output.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


@aten("lstm.input")
def lstm(
    g: Builder,
    x: Ref,
    states: Sequence[Ref],
    parameters: Sequence[Ref],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[str]:
    return _stack(g, "LSTM", x, states, parameters, has_biases, layers, bidirectional, batch_first)


@aten("gru.input")
def gru(
    g: Builder,
    x: Ref,
    state: Ref,
    parameters: Sequence[Ref],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[str]:
    return _stack(
        g,
        "GRU",
        x,
        [state],
        parameters,
        has_biases,
        layers,
        bidirectional,
        batch_first,
        linear_before_reset=1,
    )


@aten("rnn_tanh.input")
def rnn_tanh(
    g: Builder,
    x: Ref,
    state: Ref,
    parameters: Sequence[Ref],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[str]:
    return _stack(g, "RNN", x, [state], parameters, has_biases, layers, bidirectional, batch_first)


@aten("rnn_relu.input")
def rnn_relu(
    g: Builder,
    x: Ref,
    state: Ref,
    parameters: Sequence[Ref],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> list[str]:
    activations = ["Relu"] * (2 if bidirectional else 1)
    return _stack(
        g,
        "RNN",
        x,
        [state],
        parameters,
        has_biases,
        layers,
        bidirectional,
        batch_first,
        activations=activations,
    )


def _stack(
    g: Builder,
    op_type: str,
    x: Ref,
    states: Sequence[Ref],
    parameters: Sequence[Ref],
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    **attributes: object,
) -> list[str]:
    """Layer by layer: sequence in, sequence and last states out (h, and c of an LSTM)."""
    directions = 2 if bidirectional else 1
    hidden = states[0].shape[-1]
    each = 4 if has_biases else 2
    y = g.emit("Transpose", x, perm=[1, 0, 2]) if batch_first else x.name
    length, batch = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
    last: list[list[str]] = [[] for _ in states]
    for layer in range(layers):
        first = layer * directions * each
        own = [parameters[first + d * each : first + (d + 1) * each] for d in range(directions)]
        w, r = (_gates(g, op_type, [p[k] for p in own], hidden) for k in (0, 1))
        b = None
        if has_biases:
            parts = [_gates(g, op_type, [p[k] for p in own], hidden) for k in (2, 3)]
            b = g.emit("Concat", *parts, axis=1)
        initial = [
            g.emit("Slice", s, g.ints(layer * directions), g.ints((layer + 1) * directions), g.ints(0))
            for s in states
        ]
        results = g.emit_all(
            op_type, y, w, r, b, None, *initial,
            outputs=1 + len(states), hidden_size=hidden,
            direction="bidirectional" if bidirectional else "forward", **attributes,
        )  # fmt: skip
        for kept, state in zip(last, results[1:], strict=True):
            kept.append(state)
        # [length, directions, batch, hidden] to [length, batch, directions * hidden].
        y = g.reshape(
            g.emit("Transpose", results[0], perm=[0, 2, 1, 3]), (length, batch, directions * hidden)
        )
    if batch_first:
        y = g.emit("Transpose", y, perm=[1, 0, 2])
    return [y, *(kept[0] if layers == 1 else g.emit("Concat", *kept, axis=0) for kept in last)]


def _gates(g: Builder, op_type: str, parameters: Sequence[Ref], hidden: int) -> str:
    """The parameters of all directions [directions, gates * hidden, ...], the gates in ONNX's order."""
    order = _GATES[op_type]
    rows = g.const(np.concatenate([np.arange(k * hidden, (k + 1) * hidden) for k in order]), "int64")
    each = [
        g.emit("Unsqueeze", p if order == (0,) else g.emit("Gather", p, rows, axis=0), g.ints(0))
        for p in parameters
    ]
    return each[0] if len(each) == 1 else g.emit("Concat", *each, axis=0)


@aten("scaled_dot_product_attention.default")
def attention(
    g: Builder,
    query: Ref,
    key: Ref,
    value: Ref,
    mask: Ref | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> str:
    """``softmax(q k^T * scale + mask) v``."""
    k, v = (_repeated(g, x, query) if enable_gqa else x.name for x in (key, value))
    axes = list(range(key.rank))
    scores = g.emit("MatMul", query, g.emit("Transpose", k, perm=[*axes[:-2], axes[-1], axes[-2]]))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = g.emit("Mul", scores, g.const(factor, "float32"))
    rows, columns = query.shape[-2], key.shape[-2]
    if is_causal:
        allowed = np.tril(np.ones((rows, columns), bool))
        scores = g.emit("Add", scores, g.const(np.where(allowed, 0, -1e9), "float32"))
    elif mask is not None and mask.dtype == "bool":
        scores = g.emit("Where", mask, scores, g.const(-1e9, "float32"))
    elif mask is not None:
        scores = g.emit("Add", scores, mask)
    return g.emit("MatMul", g.emit("Softmax", scores, axis=query.rank - 1), v)


def _repeated(g: Builder, x: Ref, query: Ref) -> str:
    """Heads that several query heads share, once for each of them."""
    times = query.shape[-3] // x.shape[-3]
    if times == 1:
        return x.name
    *batch, heads, length, width = x.shape
    y = g.emit(
        "Expand", g.reshape(x, (*batch, heads, 1, length, width)), g.ints(*batch, heads, times, length, width)
    )
    return g.reshape(y, (*batch, heads * times, length, width))
