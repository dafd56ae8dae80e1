"""The integer forms of recurrent layers: grids, multipliers, tables.

The arguments of the gates are 16 bits in steps of 2^-12, coarser only where the calibration samples reach beyond +-6.5;
functions are tables of 513 entries with straight lines between them; the state that is multiplied has 8 bits. The error
of a step beside that of 8-bit weights and states is below 2^-11 per gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dnncc.ir.graph import Const, Node, Value
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.activations import ACTIVATIONS
from dnncc.ops.gru_int import GruInt
from dnncc.ops.interpolate import LOW_BITS, SEGMENTS
from dnncc.ops.lstm_int import LstmInt
from dnncc.ops.recurrent_int import CELL_BITS, CELL_LIMIT, PRODUCT_LIMIT, RecurrentInt, pack
from dnncc.ops.rnn_int import FRACTION, RnnInt

if TYPE_CHECKING:
    from dnncc.ops.gru import Gru
    from dnncc.ops.lstm import Lstm
    from dnncc.ops.recurrent import Recurrent
    from dnncc.ops.rnn import Rnn
    from dnncc.passes.quantize.context import QuantizeContext

FINEST = 2.0**-12
"""The gates' grid, if the samples fit."""

CELL_INDEX = 2.0**-12
"""The grid of the operand of the cell's table."""

HEADROOM = 1.25
"""How far beyond the calibration samples a gate's argument may go before it saturates."""

Q15 = 2.0**-15
Q30 = 2.0**-30


class _Form:
    """What the three cells share: operands on their grids.

    Attributes:
        step: the scale of the gates' arguments.
        scale: the scale of the result and of the 8-bit state.
        operands: x, packed weights, multipliers.
    """

    def __init__(self, context: QuantizeContext, node: Node, op: Recurrent) -> None:
        from dnncc.passes.quantize.context import Grid
        from dnncc.passes.quantize.dyadic import dyadic

        self.context, self.node, self.op = context, node, op
        x, r = node.inputs[:2]
        if not isinstance(r, Const):
            raise context.failure(node.name, op.name, "weights of the state that are not constant")
        reach = context.largest(x)
        self.step = max(FINEST, HEADROOM * reach / DType.I16.max)
        self.scale = self._scale()
        grid = Grid(DType.I16, self.step, DType.I16.min, DType.I16.max)
        projected = context.requantize(context.integer(x), grid, context.name_of(x))
        levels = (1 << (context.options.weights - 1)) - 1
        largest = np.abs(r.data.astype(np.float64)).max(axis=1)
        steps = np.where(largest > 0.0, largest / levels, 1.0)
        rows = np.clip(np.rint(r.data / steps[:, None]), -levels - 1, levels).astype(np.int8)
        if rows.shape[1] * 128 * 128 > PRODUCT_LIMIT * 64:
            raise context.failure(node.name, op.name, f"{rows.shape[1]} units (supported: up to 65536)")
        found = dyadic(steps * self.scale / self.step)
        self.shift = found.shift
        self.operands: list[Value] = [
            projected,
            self.const("weights", pack(rows, op.gates)),
            self.const("multiplier", found.multiplier.astype(np.int32)),
        ]

    def const(self, what: str, data: Array) -> Const:
        return self.context.graph.const(f"{self.node.name}.{what}", data)

    def _scale(self) -> float:
        """Of the 8-bit state: what the samples reach where every step is seen, else what the functions can give."""
        first = self.node.inputs[2]
        start = float(np.abs(first.data).max()) if isinstance(first, Const) else self.context.largest(first)
        if self.op.last:
            return max(1.0, start) / DType.I8.max
        largest = max(self.context.observed(self.node.outputs[0]), start)
        return (largest if largest > 0.0 else 1.0) / DType.I8.max

    def state(self, index: int, dtype: DType, scale: float, limit: int) -> Value:
        """An initial state on a grid."""
        from dnncc.passes.quantize.context import Grid

        value = self.node.inputs[index]
        grid = Grid(dtype, scale, max(dtype.min, -limit), min(dtype.max, limit))
        if isinstance(value, Const):
            return self.context.constant(value, grid)
        return self.context.requantize(self.context.activation(value), grid, self.node.name)

    def function(self, which: int, clip: bool = True) -> Callable[[Array], Array]:
        """A function of float64, its argument clamped as the operator says."""
        op = self.op
        name, alpha, beta = op.functions[which], op.alphas[which], op.betas[which]

        def apply(x: Array) -> Array:
            bounded = np.clip(x, -op.clip, op.clip) if op.clip and clip else x
            return ACTIVATIONS[name].apply(bounded, alpha, beta)

        return apply

    def table(
        self, what: str, function: Callable[[Array], Array], step: float, scale: float, unit: bool = True
    ) -> Const:
        """The 513 entries of a function of a 16-bit number in steps of ``step``, in steps of ``scale``.

        Args:
            unit: the function must stay within [-1, 1].
        """
        knots = ((np.arange(SEGMENTS + 1) << LOW_BITS) - 32768) * step
        values = function(knots)
        if unit and np.abs(values).max() > 1.0 + 1e-6:
            names = ", ".join(self.op.functions)
            raise self.context.failure(
                self.node.name,
                self.op.name,
                f"functions {names} that leave [-1, 1]: --dtype float32 has them",
            )
        top = DType.I16.max if unit else DType.I8.max << FRACTION
        return self.const(what, np.clip(np.rint(values / scale), DType.I16.min, top).astype(np.int16))

    def common(self) -> dict[str, Any]:
        op = self.op
        return {"reverse": op.reverse, "lengths": op.lengths, "last": op.last, "shift": self.shift}

    def emit(self, op: RecurrentInt, operands: Sequence[Value], scales: Sequence[float]) -> list[Value]:
        """The node, with one scale for each result."""
        context = self.context
        inputs = [*self.operands, *operands]
        inferred = op.infer(*(v.type for v in inputs))
        types = [
            TensorType(t.dtype, t.shape, Quantization.per_tensor(scale))
            for t, scale in zip(inferred, scales, strict=True)
        ]
        node = context.graph.make(op, inputs, self.node.name, types)
        context.nodes.append(node)
        return node.outputs

    def not_negative(self, table: Const) -> Const:
        if table.data.min() < 0:
            reason = (
                f"a gate's function '{self.op.functions[0]}' that can be negative: --dtype float32 has it"
            )
            raise self.context.failure(self.node.name, self.op.name, reason)
        return table


def integer_rnn(context: QuantizeContext, node: Node, op: Rnn) -> Sequence[Value]:
    form = _Form(context, node, op)
    table = form.table("table", form.function(0), form.step, form.scale / (1 << FRACTION), unit=False)
    h = form.state(2, DType.I8, form.scale, DType.I8.max)
    return form.emit(RnnInt(**form.common()), [h, table], [form.scale])


def integer_gru(context: QuantizeContext, node: Node, op: Gru) -> Sequence[Value]:
    from dnncc.passes.quantize.dyadic import dyadic

    form = _Form(context, node, op)
    opening = form.not_negative(form.table("gates", form.function(0), form.step, Q15))
    squashing = form.table("candidate", form.function(1), form.step, Q15)
    units = node.inputs[1].type.shape[1]
    bias = np.zeros(units, np.int32)
    if op.linear_before_reset:
        given = node.inputs[3]
        if not isinstance(given, Const):
            raise context.failure(node.name, op.name, "a bias that is not constant")
        limited = np.clip(np.rint(given.data / form.step), -PRODUCT_LIMIT, PRODUCT_LIMIT)
        bias = limited.astype(np.int32)
    found = dyadic(np.asarray(Q15 / form.scale))
    integer = GruInt(
        **form.common(),
        h_multiplier=int(found.multiplier),
        h_shift=found.shift,
        linear_before_reset=op.linear_before_reset,
    )
    s = form.state(2, DType.I16, Q15, DType.I16.max)
    return form.emit(integer, [s, form.const("bias", bias), opening, squashing], [form.scale])


def integer_lstm(context: QuantizeContext, node: Node, op: Lstm) -> Sequence[Value]:
    from dnncc.passes.quantize.dyadic import dyadic

    form = _Form(context, node, op)
    opening = form.table("gates", form.function(0), form.step, Q15)
    if op.coupled:
        form.not_negative(opening)
    squashing = form.table("candidate", form.function(1), form.step, Q15)
    cell = form.table("cell", form.function(2, clip=False), CELL_INDEX, Q15)
    units = node.inputs[1].type.shape[1]
    seen, p_shift = np.zeros(3 * units, np.int32), 0
    if op.peepholes:
        given = node.inputs[4]
        if not isinstance(given, Const):
            raise context.failure(node.name, op.name, "peepholes that are not constant")
        weights = dyadic(given.data.astype(np.float64) * 2.0**-CELL_BITS / form.step)
        seen, p_shift = weights.multiplier.astype(np.int32), weights.shift
    found = dyadic(np.asarray(Q30 / form.scale))
    integer = LstmInt(
        **form.common(),
        h_multiplier=int(found.multiplier),
        h_shift=found.shift,
        p_shift=p_shift,
        peepholes=op.peepholes,
        coupled=op.coupled,
        cell_result=op.cell_result,
    )
    h = form.state(2, DType.I8, form.scale, DType.I8.max)
    c = form.state(3, DType.I32, 2.0**-CELL_BITS, CELL_LIMIT)
    scales = [form.scale, 2.0**-CELL_BITS][: 1 + op.cell_result]
    return form.emit(integer, [h, c, form.const("peepholes", seen), opening, squashing, cell], scales)
