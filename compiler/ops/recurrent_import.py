"""ONNX's RNN, GRU and LSTM: a projection of the input and one operator for each direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode
from dnncc.ops.activations import ACTIVATIONS
from dnncc.ops.add import Add
from dnncc.ops.concat import Concat
from dnncc.ops.linear import Linear
from dnncc.ops.slice import Slice

if TYPE_CHECKING:
    from dnncc.ir.graph import Value
    from dnncc.ops.recurrent import Recurrent

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def import_recurrent(
    g: Importer, node: OnnxNode, kind: type[Recurrent], defaults: Sequence[str]
) -> Sequence[Value]:
    """Y, Y_h and, of an LSTM, Y_c: what is not used may be left out."""
    direction = node.string("direction", "forward")
    if direction not in _DIRECTIONS:
        raise node.invalid(f"direction '{direction}'")
    directions = _DIRECTIONS[direction]
    batch_first = bool(node.int("layout", 0))
    x, w, r = node.value(0), node.value(1), node.value(2)
    if x.type.rank != 3 or w.type.rank != 3 or r.type.rank != 3:
        raise node.invalid(f"{node.op_type} of {x.type} with weights {w.type} and {r.type}")
    if batch_first:
        x = g.transpose(x, (1, 0, 2))
    units = r.type.shape[2]
    steps, batch, features = x.type.shape
    count, rows = len(directions), kind.gates * units
    if w.type.shape != (count, rows, features) or r.type.shape != (count, rows, units):
        raise node.invalid(f"{node.op_type}, {direction}, of {x.type} with weights {w.type} and {r.type}")
    if node.has("hidden_size") and node.int("hidden_size") != units:
        raise node.invalid(f"hidden_size {node.int('hidden_size')} but the weights have {units} units")
    lengths = _lengths(node, steps, batch)
    states = [_states(g, node, 5 + i, batch_first, (count, batch, units)) for i in range(kind.states)]
    bias = node.optional(3)
    if bias is not None and bias.type.shape != (count, 2 * rows):
        raise node.invalid(f"a bias {bias.type} for {count} directions of {rows} gates")
    options = _options(node, kind)
    peepholes = node.optional(7) if kind.states == 2 else None
    if peepholes is not None and peepholes.type.shape != (count, 3 * units):
        raise node.invalid(f"peepholes {peepholes.type} for {count} directions of {units} units")
    sequence, ends, cells = node.is_used(0), node.is_used(1), kind.states == 2 and node.is_used(2)
    results = []
    for d, reverse in enumerate(directions):
        functions = _functions(node, defaults, d, count)
        own = dict(options, **functions, reverse=reverse, lengths=lengths)
        part_bias = None if bias is None else _part(g, bias, d)
        projected, extra = _projected(
            g, x, _part(g, w, d), part_bias, units, bool(options.get("linear_before_reset"))
        )
        extras = [] if extra is None else [extra]
        if peepholes is not None:
            own["peepholes"] = True
            extras.append(_part(g, peepholes, d))
        if cells:
            own["cell_result"] = True
        operands = [projected, _part(g, r, d), *(_part(g, s, d) for s in states), *extras]
        results.append(_Direction(kind(**own), g.emit_all(kind(**own), operands)))
    return _outputs(g, results, batch_first, (steps, batch, units), (sequence, ends, cells))


class _Direction:
    """The results of one direction."""

    def __init__(self, op: Recurrent, values: Sequence[Value]) -> None:
        self.op = op
        self.y = values[0]
        self.cell = values[-1]

    def end(self, g: Importer, steps: int, batch: int, units: int) -> Value:
        """y after the last step, [B,H]."""
        if not self.op.lengths or self.op.reverse:
            at = 0 if self.op.reverse else steps - 1
            y = g.emit(Slice((at, 0, 0), (at + 1, batch, units), (1, 1, 1)), [self.y])
            return g.reshape(y, (batch, units))
        rows = [
            g.emit(Slice((n - 1, b, 0), (n, b + 1, units), (1, 1, 1)), [self.y])
            for b, n in enumerate(self.op.lengths)
        ]
        return g.reshape(rows[0] if batch == 1 else g.emit(Concat(1), rows), (batch, units))


def _outputs(
    g: Importer,
    results: Sequence[_Direction],
    batch_first: bool,
    sizes: tuple[int, int, int],
    used: tuple[bool, bool, bool],
) -> list[Value]:
    steps, batch, units = sizes

    def joined(parts: Sequence[Value], axis: int) -> Value:
        return parts[0] if len(parts) == 1 else g.emit(Concat(axis), parts)

    def final(parts: Sequence[Value]) -> Value:
        y = joined([g.reshape(p, (1, batch, units)) for p in parts], 0)
        return g.transpose(y, (1, 0, 2)) if batch_first else y

    sequence, ends, cells = used
    nothing = g.const("unused", np.zeros((1, 1, 1), np.float32))
    y = nothing
    if sequence:
        y = joined([g.reshape(d.y, (steps, 1, batch, units)) for d in results], 1)
        y = g.transpose(y, (2, 0, 1, 3)) if batch_first else y
    found = [y, final([d.end(g, steps, batch, units) for d in results]) if ends else nothing]
    if cells:
        found.append(final([d.cell for d in results]))
    return found


def _part(g: Importer, value: Value, direction: int) -> Value:
    """One direction's share [...] of [directions, ...]."""
    count, *rest = value.type.shape
    if count > 1:
        zeros, ones = (0,) * len(rest), (1,) * (1 + len(rest))
        value = g.emit(Slice((direction, *zeros), (direction + 1, *rest), ones), [value])
    return g.reshape(value, rest)


def _projected(
    g: Importer, x: Value, w: Value, bias: Value | None, units: int, separate: bool
) -> tuple[Value, Value | None]:
    """``x @ w.T`` with the biases [2*G*H]; what the state adds to the last gate by itself if ``separate``."""
    rows = w.type.shape[0]
    zeros = g.const("bias", np.zeros(rows, np.float32))
    if bias is None:
        apart = g.const("state_bias", np.zeros(units, np.float32)) if separate else None
        return g.emit(Linear(), [x, w, zeros]), apart
    own, state = (g.emit(Slice((i * rows,), ((i + 1) * rows,), (1,)), [bias]) for i in range(2))
    apart = None
    if separate:
        apart = g.emit(Slice((rows - units,), (rows,), (1,)), [state])
        kept = g.emit(Slice((0,), (rows - units,), (1,)), [state])
        state = g.emit(Concat(0), [kept, g.const("no_bias", np.zeros(units, np.float32))])
    return g.emit(Linear(), [x, w, g.emit(Add(), [own, state])]), apart


def _states(g: Importer, node: OnnxNode, index: int, batch_first: bool, shape: tuple[int, int, int]) -> Value:
    """An initial state [directions, B, H], zeros if there is none."""
    given = node.optional(index)
    if given is None:
        return g.const("state", np.zeros(shape, np.float32))
    if batch_first and given.type.rank == 3:
        given = g.transpose(given, (1, 0, 2))
    if given.type.shape != shape:
        raise node.invalid(f"an initial state {given.type}, not {shape}")
    return given


def _lengths(node: OnnxNode, steps: int, batch: int) -> tuple[int, ...]:
    given = node.optional_array(4)
    if given is None:
        return ()
    lengths = tuple(int(n) for n in given.reshape(-1))
    if len(lengths) != batch or any(n > steps or n < 0 for n in lengths):
        raise node.invalid(f"sequence_lens {lengths} of {steps} steps, batch {batch}")
    if min(lengths) < 1:
        raise node.unsupported(f"sequence_lens {lengths}: a sequence without steps")
    return () if set(lengths) == {steps} else lengths


def _options(node: OnnxNode, kind: type[Recurrent]) -> dict[str, Any]:
    options: dict[str, Any] = {"clip": node.float("clip", 0.0)}
    if kind.name == "gru":
        options["linear_before_reset"] = bool(node.int("linear_before_reset", 0))
    if kind.name == "lstm":
        options["coupled"] = bool(node.int("input_forget", 0))
    node.ignore("output_sequence")  # of opsets before 7
    return options


def _functions(node: OnnxNode, defaults: Sequence[str], direction: int, count: int) -> dict[str, Any]:
    """The functions of one direction with their parameters, which ONNX lists only for functions that have any."""
    names = [f.lower() for f in node.strings("activations", tuple(defaults) * count)]
    if len(names) != len(defaults) * count or any(f not in ACTIVATIONS for f in names):
        raise node.unsupported(f"activations {names} (supported: {', '.join(sorted(ACTIVATIONS))})")
    given = {name: list(node.floats(f"activation_{name}", ())) for name in ("alpha", "beta")}
    parameters: dict[str, list[float]] = {"alpha": [], "beta": []}
    for f in names:
        for name, values in parameters.items():
            default = getattr(ACTIVATIONS[f], name)
            takes = f in _PARAMETERS[name]
            values.append(given[name].pop(0) if takes and given[name] else default)
    chosen = slice(direction * len(defaults), (direction + 1) * len(defaults))
    return {
        "functions": tuple(names[chosen]),
        "alphas": tuple(parameters["alpha"][chosen]),
        "betas": tuple(parameters["beta"][chosen]),
    }


_PARAMETERS = {
    "alpha": ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"),
    "beta": ("affine", "scaledtanh", "hardsigmoid"),
}
