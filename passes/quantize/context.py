"""What an operator's ``to_integer`` builds its integer form with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from dnncc.errors import Culprit, QuantizationError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.base import Op
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.fake_quantize import FakeQuantize
from dnncc.ops.lookup import Lookup
from dnncc.ops.moved import integers_of
from dnncc.ops.pad import Pad
from dnncc.ops.ranges import Interval
from dnncc.ops.requantize import ROUNDING, TO_EVEN, Requantize
from dnncc.passes.quantize.calibrate import Observations
from dnncc.passes.quantize.dyadic import Dyadic, dyadic
from dnncc.passes.quantize.input_grid import ZERO_SCALE, folds_zero_point, input_grid
from dnncc.passes.quantize.intervals import interval_of, node_ranges
from dnncc.passes.quantize.options import QuantizeOptions
from dnncc.passes.quantize.plan import Plan
from dnncc.passes.quantize.weights import given_linear, quantize_linear
from dnncc.passes.quantize.widths import layer_bits

FREQUENT = 4
"""Up to a division by 2^4, so many results lie in the middle that the models' rounding of these, to even, pays."""


@dataclass(frozen=True)
class Grid:
    """The integers that stand for a tensor: ``scale * ({lo, ..., hi} - zero_point)``.

    Attributes:
        zero_point: 0 but for inputs, and where the model gives the grid.
        given: by the model, which expects the nearest integer; else chosen here.
    """

    dtype: DType
    scale: float
    lo: int
    hi: int
    zero_point: int = 0
    given: bool = False

    def nearest(self, real: float) -> int:
        """The integer nearest to a real, infinite ones included."""
        return int(np.clip(np.rint(real / self.scale) + self.zero_point, self.lo, self.hi))

    @property
    def quantization(self) -> Quantization:
        return Quantization.per_tensor(self.scale, self.zero_point)


@dataclass(frozen=True)
class Correctable:
    """A layer whose weights may be rounded otherwise, and whose bias may be corrected.

    Attributes:
        node: the integer node; its second and third operands are the weights and the bias.
        source: the float value that the sum stands for.
        scale: float64 [O]: what one step of the accumulator stands for.
        weights: float64, shaped like the weights: the float network's, in steps of the integers'.
        levels: integers of weights are in [-levels - 1, levels] when they are rounded anew; None where they stay.
    """

    node: Node
    source: Value
    scale: Array
    weights: Array
    levels: int | None


class QuantizeContext:
    """Builds the integer graph node by node.

    For each value of the float graph there is an integer value. It is either an *activation* (8 bits, one
    scale) or, if a single operator reads it, possibly a *raw* sum (i32 with a scale per tensor, channel or
    position), which its reader requantizes as it needs.

    Attributes:
        graph: where the integer values' names come from.
        nodes: the integer nodes so far, in order.
        plan: the structure of the float graph.
        integers: what stands for each float value, in the order of the float graph.
        correctable: sums that bias correction may look at, in order.
    """

    def __init__(self, graph: Graph, statistics: Observations, options: QuantizeOptions) -> None:
        self.graph = graph
        self.options = options
        self.plan = Plan(graph)
        self._bits = layer_bits(graph, options)
        self.nodes: list[Node] = []
        self.correctable: list[Correctable] = []
        self._statistics = statistics
        self._observer = options.observe
        self.integers: dict[Value, Value] = {}
        self._scales: dict[Value, Array] = {}
        self._intervals: dict[Value, Interval] = {}
        self._grids: dict[Value, Grid] = {}

    # -- grids ---------------------------------------------------------------------------------------

    def grid_of(self, value: Value) -> Grid:
        """The 8-bit grid on which the float ``value`` is stored when it comes from a sum."""
        if value not in self._grids:
            self._grids[value] = self._decide(value)
        return self._grids[value]

    def sum_grid(self, value: Value, terms: int) -> Grid:
        """An i32 grid, 16 times finer than ``grid_of(value)``, on which so many terms add up without an overflow."""
        limit = min(DType.I32.max // terms, 1 << 20)
        return Grid(DType.I32, self.scale_of(value) / 16, -limit, limit)

    def scale_of(self, value: Value) -> float:
        """The scale of ``grid_of(value)``."""
        return self.grid_of(value).scale

    def largest(self, value: Value) -> float:
        """The largest magnitude of the end of ``value``'s chain on the calibration samples."""
        return self._statistics.histogram(self.plan.chain(value).end).largest

    def observed(self, value: Value) -> float:
        """The largest magnitude of ``value`` itself, the first result of an operator that is ``observed``."""
        return self._statistics.histogram(value).largest

    def _decide(self, value: Value) -> Grid:
        given = self._given(value)
        if given is not None:
            return given
        if value in self.graph.inputs:
            affine = self.options.zero_point and folds_zero_point(self.plan, value)
            step = self._statistics.step(value)
            found = input_grid(self._statistics.histogram(value), step, self._observer, affine)
            return Grid(DType.I8, found[0], DType.I8.min, DType.I8.max, found[1])
        chain = self.plan.chain(value)
        end = chain.end
        border = end in self.plan.outputs and not self.plan.uses.get(end)
        unsigned = (chain.low >= 0.0 or self.plan.non_negative(end)) and not border
        dtype = DType.U8 if unsigned else DType.I8
        bits = 8 if border else self.options.activations
        lo, hi = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        seen = self._statistics.histogram(end)
        scale = self._observer(seen, lo, hi) if seen.largest > 0.0 else ZERO_SCALE
        # int() after clipping: a bound may be infinite.
        low, high = (int(np.clip(np.rint(bound / scale), lo, hi)) for bound in (chain.low, chain.high))
        return Grid(dtype, scale, max(lo, low), min(hi, high))

    def _given(self, value: Value) -> Grid | None:
        """The grid on which the model wants ``value``, or what its chain ends in."""
        chain = self.plan.chain(value)
        node = self.plan.grid_node(value)
        is_float = node is not None and node.op.name == "fake_quantize"
        if node is None or (not is_float and given_by(node) is None):
            return None
        end = self.plan.chain(node.output).end
        is_input = value in self.graph.inputs
        border = end in self.plan.outputs and not self.plan.uses.get(end)
        grid = grid_of_node(node, is_input or (is_float and border))
        if is_input:
            return replace(grid, lo=grid.dtype.min, hi=grid.dtype.max)
        return replace(grid, lo=grid.nearest(chain.low), hi=grid.nearest(chain.high))

    # -- what stands for a float value ---------------------------------------------------------------

    def bind(self, value: Value, integer: Value) -> None:
        """Let ``integer`` stand for the float ``value``; a sum that several read is requantized at once."""
        self.integers[value] = integer
        if value.type.dtype.is_float and self.is_raw(integer) and not self.plan.may_wait(value):
            self.activation(value)

    def integer(self, value: Value) -> Value:
        """What stands for ``value`` now: an activation, or a raw sum with a single reader; for what is no float,
        itself."""
        if value not in self.integers and isinstance(value, Const):
            is_float = value.type.dtype.is_float
            self.integers[value] = self.constant(value, self._constant_grid(value)) if is_float else value
        return self.integers[value]

    def activation(self, value: Value, affine: bool = False) -> Value:
        """The 8-bit tensor that stands for ``value``; requantizes a raw sum to ``grid_of(value)``.

        Args:
            affine: the caller takes a zero point into account. Otherwise a tensor that has one is moved to where it
                has none, exactly; in 16 bits if it does not fit 8.
        """
        integer = self.integer(value)
        if self.is_raw(integer):
            integer = self.requantize(integer, self.grid_of(value), self.name_of(value))
            self.integers[value] = integer
        zero = zero_point_of(integer)
        if affine or not zero:
            return integer
        interval = self.interval(integer)
        fitting = (DType.I8, DType.U8, DType.I16)
        dtype = next(d for d in fitting if d.min <= interval.min - zero and interval.max - zero <= d.max)
        grid = Grid(dtype, integer.type.scale, dtype.min, dtype.max)
        return self.requantize(integer, grid, self.name_of(value))

    def signed(self, value: Value) -> Value:
        """``activation``, as an i8 (an i16 stays)."""
        integer = self.activation(value, affine=True)
        if integer.type.dtype in (DType.I8, DType.I16):
            return integer
        if self.plan.has_given:
            zero = zero_point_of(integer) + DType.I8.min
            grid = Grid(DType.I8, integer.type.scale, DType.I8.min, DType.I8.max, zero)
            return self.requantize(integer, grid, self.name_of(value))
        high = self.interval(integer).max
        scale = integer.type.scale * max(high, 1) / DType.I8.max
        grid = Grid(DType.I8, scale, DType.I8.min, DType.I8.max)
        return self.requantize(integer, grid, self.name_of(value))

    def on_grid(self, value: Value, grid: Grid) -> Value:
        """``value`` on the grid of a common scale: as it is, or requantized once."""
        if isinstance(value, Const):
            return self.constant(value, grid)
        integer = self.integer(value)
        alike = integer.type.dtype is grid.dtype and zero_point_of(integer) == grid.zero_point
        if not self.is_raw(integer) and alike and integer.type.scale == grid.scale:
            return integer
        return self.requantize(integer, grid, self.name_of(value))

    def name_of(self, value: Value) -> str:
        """The name of the node that makes a float value, else the value's own."""
        node = self.plan.producers.get(value)
        return value.name if node is None else node.name

    def is_raw(self, integer: Value) -> bool:
        return integer.type.dtype is DType.I32

    def steps(self, integer: Value) -> Array:
        """What one step of an integer value stands for: float64, broadcast against its shape."""
        found = self._scales.get(integer)
        return np.asarray(integer.type.scale, np.float64) if found is None else found

    def interval(self, integer: Value) -> Interval:
        """Which integers the value can be."""
        return interval_of(integer, self._intervals)

    def _constant_grid(self, value: Const) -> Grid:
        lo, hi = DType.I8.min, DType.I8.max
        largest = float(np.abs(value.data).max()) if value.data.size else 0.0
        return Grid(DType.I8, largest / hi if largest > 0.0 else 1.0, lo, hi)

    # -- building ------------------------------------------------------------------------------------

    def restated(self, integer: Value, steps: Array) -> Value:
        """A raw sum that nothing has read, which from here on stands for other reals: ``steps`` for each integer."""
        self._scales[integer] = steps
        integer.type = replace(integer.type, quantization=None)
        return integer

    def constant(self, value: Const, grid: Grid) -> Const:
        """A float constant rounded to ``grid``."""
        steps = np.rint(value.data.astype(np.float64) / grid.scale) + grid.zero_point
        data = np.clip(steps, grid.lo, grid.hi)
        return self.graph.const(value.name, data.astype(grid.dtype.numpy), grid.quantization)

    def emit(
        self,
        op: Op,
        inputs: Sequence[Value],
        name: str,
        scale: Array | float | None = None,
        after: Value | None = None,
        zero_point: int = 0,
    ) -> Value:
        """Add a node.

        Args:
            name: the float node's name; what is reported is found under it.
            scale: what one step of the output stands for; one number per tensor, or an array for a raw sum.
            after: place the node right after the one that makes this value, not at the end.
            zero_point: of the output, where it is what an input was moved to.

        Returns:
            The output, with its interval known.
        """
        (output,) = self.emit_all(op, inputs, name, [scale], after, zero_point)
        return output

    def emit_all(
        self,
        op: Op,
        inputs: Sequence[Value],
        name: str,
        scales: Sequence[Array | float | None],
        after: Value | None = None,
        zero_point: int = 0,
    ) -> list[Value]:
        """``emit`` for an operator of several outputs, each with its scale; None for what is no quantized real."""
        types, steps = [], []
        for inferred, scale in zip(op.infer(*(v.type for v in inputs)), scales, strict=True):
            step = None if scale is None else np.asarray(scale, np.float64)
            per_tensor = None
            if step is not None and step.size == 1:
                per_tensor, step = Quantization.per_tensor(step.item(), zero_point), None
            types.append(TensorType(inferred.dtype, inferred.shape, per_tensor))
            steps.append(step)
        node = self.graph.make(op, inputs, name, types)
        self.nodes.insert(len(self.nodes) if after is None else self.position(after) + 1, node)
        ranges = node_ranges(node, self._intervals)
        self._intervals[node.outputs[0]] = ranges.output
        self._scales.update(
            {v: step for v, step in zip(node.outputs, steps, strict=True) if step is not None}
        )
        whole = ranges.whole
        if node.outputs[0].type.dtype is DType.I32 and not whole.fits(DType.I32):
            reason = f"a sum could reach [{whole.min}, {whole.max}], beyond 32 bits"
            raise self.failure(name, op.name, reason)
        return node.outputs

    def requantize(self, integer: Value, grid: Grid, name: str) -> Value:
        """``integer`` on another grid."""
        return self.rescale(integer, self.steps(integer) / grid.scale, grid, name)

    def rescale(self, integer: Value, ratio: Array, grid: Grid, name: str) -> Value:
        """``integer * ratio`` on ``grid``: one dyadic multiplication; ``ratio`` broadcasts against the value.

        It is placed right after a raw sum, so that 32 bits need not be stored, and at the end otherwise.
        """
        if not np.isfinite(ratio).all():
            raise self.failure(name, "requantize", "its constants are not finite")
        # A ratio beyond the grid's range saturates for every integer but 0, whatever it is exactly.
        limit = float(min(max(-grid.lo, grid.hi) + 1, DType.I32.max))
        ratio = np.clip(_squeezed(ratio), -limit, limit)
        zero, byte = zero_point_of(integer), integer.type.dtype in (DType.I8, DType.U8)
        unchanged = ratio.ndim == 0 and ratio == 1.0
        if byte and ratio.ndim == 0 and not unchanged and grid.dtype.bytes == 1 and (grid.given or zero):
            return self._looked_up(integer, float(ratio), grid, name)
        if zero and not unchanged and (ratio.ndim or grid.dtype is not DType.I32):
            # The difference first, so that there is but one rounding.
            wide = Grid(DType.I32, integer.type.scale, DType.I32.min, DType.I32.max)
            integer, zero, byte = self.rescale(integer, np.asarray(1.0), wide, name), 0, False
        found = dyadic(ratio, narrow=byte)
        rounding = ROUNDING
        halving = next((k for k in range(1, FREQUENT + 1) if grid.given and np.all(ratio == 2.0**-k)), 0)
        if halving:
            found, rounding = Dyadic(np.ones((), np.int32), halving), TO_EVEN
        offset = grid.zero_point
        if zero:
            # On the fine grid of a sum, or exact: one product of the zero point, rounded as the others are.
            offset -= (zero * int(found.multiplier) + ((1 << found.shift) >> 1)) >> found.shift
        whole = (grid.dtype.min, grid.dtype.max) == (grid.lo, grid.hi)
        lo, hi = (None, None) if whole else (grid.lo, grid.hi)
        op = Requantize(grid.dtype, found.shift, rounding, lo, hi, offset)
        multiplier = self.graph.const(f"{name}.multiplier", found.multiplier)
        after = integer if self.is_raw(integer) else None
        return self.emit(op, [integer, multiplier], name, grid.scale, after, grid.zero_point)

    def _looked_up(self, integer: Value, ratio: float, grid: Grid, name: str) -> Value:
        """A byte on the grid of another byte: the nearest integer for each, from a table."""
        dtype, zero = integer.type.dtype, zero_point_of(integer)
        x = np.arange(dtype.min, dtype.max + 1)
        entries = np.zeros(256, grid.dtype.numpy)
        entries[x & 255] = np.clip(np.rint((x - zero) * ratio) + grid.zero_point, grid.lo, grid.hi)
        table = self.graph.const(f"{name}.table", entries)
        return self.emit(Lookup(), [integer, table], name, grid.scale, zero_point=grid.zero_point)

    def failure(self, name: str, op: str, reason: str) -> QuantizationError:
        """The error for a node that cannot become integer."""
        return QuantizationError(f"'{self.graph.name}' cannot be quantized", [Culprit(name, op, reason)])

    def weight_bits(self, node: Node) -> int:
        """The width of a float node's weights."""
        return self._bits.get(node, self.options.weights)

    # -- forms that several operators share ----------------------------------------------------------

    def linear(self, node: Node, channel_axis: int) -> Value | None:
        """A sum of products with constant weights [O, ...] and bias [O]: raw, one scale per output channel.

        Args:
            channel_axis: the weights' output channel axis; 0.
        """
        x, w, b = node.inputs
        if channel_axis != 0 or not isinstance(b, Const):
            return None
        if not isinstance(w, Const):
            return self._product(node, b)
        source, op = self.activation(x, affine=True), node.op
        scale, zero_point = source.type.scale, zero_point_of(source)
        known = integers_of(w)
        given = None if known is None else given_linear(known, w, b.data, scale, zero_point)
        bits = self.weight_bits(node)
        found = given or quantize_linear(
            w.data,
            b.data,
            bits,
            scale,
            self.scale_of(node.output),
            self.interval(source),
            zero_point,
        )
        if zero_point and isinstance(op, Conv2d) and any(op.pads):
            top, left, bottom, right = op.pads
            around = Pad(((0, 0), (top, bottom), (left, right), (0, 0)), zero_point)
            source = self.emit(around, [source], node.name, scale, zero_point=zero_point)
            op = replace(op, pads=(0, 0, 0, 0))
        weights = self.graph.const(w.name, found.weights, Quantization(tuple(found.scale.tolist()), 0))
        bias = self.graph.const(b.name, found.bias)
        y = self.emit(op, [source, weights, bias], node.name, found.scale * scale)
        if given is None and (self.options.bias_correction or self.options.compensates):
            self._statistics.gather()  # while the graph is what it was
            steps = w.data / found.scale.reshape(-1, *[1] * (w.type.rank - 1))
            levels = (1 << (bits - 1)) - 1 if self.options.rounds(bits) else None
            self.correctable.append(
                Correctable(self.nodes[self.position(y)], node.output, found.scale * scale, steps, levels)
            )
        return y

    def _product(self, node: Node, b: Const) -> Value:
        """The same with weights that are calculated: two activations, one scale."""
        x, w = (self.activation(v) for v in node.inputs[:2])
        scale = x.type.scale * w.type.scale
        limit = DType.I32.max >> 1
        bias = self.graph.const(b.name, np.clip(np.rint(b.data / scale), -limit, limit).astype(np.int32))
        return self.emit(node.op, [x, w, bias], node.name, scale)

    def keep(self, node: Node) -> list[Value]:
        """A node that has no float operand or result, as it is."""
        copy = self.graph.make(node.op, [self.integer(v) for v in node.inputs], node.name)
        self.nodes.append(copy)
        return copy.outputs

    def same_scale(self, node: Node) -> Value:
        """An operator that moves or selects elements of its first operand: that one's grid stays."""
        x = self.activation(node.inputs[0], affine=True)
        where = [self.integer(v) for v in node.inputs[1:]]
        return self.emit(node.op, [x, *where], node.name, x.type.scale, zero_point=zero_point_of(x))

    def position(self, integer: Value) -> int:
        """Where in ``nodes`` a value is made; -1 for an input or a constant."""
        return next((i for i in range(len(self.nodes) - 1, -1, -1) if integer in self.nodes[i].outputs), -1)


def given_by(node: Node) -> Grid | None:
    """The grid of ``quantize_linear`` or ``dequantize_linear``: constant, and one for the whole tensor; else None."""
    scale, zero = node.inputs[1:]
    if (
        not isinstance(scale, Const)
        or not isinstance(zero, Const)
        or scale.type.size != 1
        or zero.type.size != 1
    ):
        return None
    step, dtype = float(scale.data.item()), zero.type.dtype
    if not 0.0 < step < np.inf:
        return None
    return Grid(dtype, step, dtype.min, dtype.max, int(zero.data.item()), given=True)


def grid_of_node(node: Node, border: bool) -> Grid:
    """The grid that a node names; at the network's border, and for 16 bits, in a signed type."""
    op = node.op
    if not isinstance(op, FakeQuantize):
        grid = given_by(node)
        assert grid is not None
        return grid
    dtype, lo, hi, zero = op.dtype, op.lo, op.hi, op.zero_point
    if dtype is DType.U16 or (border and dtype is DType.U8):
        shift = 1 << (8 * dtype.bytes - 1)
        dtype = DType.I16 if dtype is DType.U16 else DType.I8
        lo, hi, zero = lo - shift, hi - shift, zero - shift
    return Grid(dtype, op.scale, lo, hi, zero, given=True)


def zero_point_of(integer: Value) -> int:
    """The integer that stands for 0."""
    return 0 if integer.type.quantization is None else integer.type.quantization.zero_point


def _squeezed(ratio: Array) -> Array:
    """One number for a ratio that is the same everywhere."""
    ratio = np.asarray(ratio, np.float64)
    return ratio.reshape(-1)[0].reshape(()) if ratio.size and np.all(ratio == ratio.flat[0]) else ratio
