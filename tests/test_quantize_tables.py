"""Functions as tables: exact for bytes, within the stated bound for 16 bits, fused into the kernels before them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array, DType
from dnncc.ops.activation_functions import Shrink, ThresholdedRelu
from dnncc.ops.elementwise import Unary
from dnncc.ops.functions import Ceil, Floor, Round
from dnncc.ops.interpolate import Interpolate
from dnncc.ops.lookup import Lookup
from dnncc.ops.sign import Sign
from dnncc.passes.quantize.context import Grid
from dnncc.passes.quantize.tables import FRACTION, byte_table, interpolated
from kernel_harness import Kernel, conv, linear
from op_samples.tables import entries
from quantize_graphs import Net, named, ops

I8, U8 = Grid(DType.I8, 1 / 127, -128, 127), Grid(DType.U8, 1 / 255, 0, 255)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize(("dtype", "zero_point"), [(DType.I8, 0), (DType.I8, -7), (DType.U8, 0)])
def test_byte_tables_hold_the_nearest_integers(dtype: DType, zero_point: int) -> None:
    scale = 0.043
    table = byte_table(np.tanh, dtype, scale, zero_point, I8)
    for x in range(dtype.min, dtype.max + 1):
        (y,) = Lookup().reference(np.array([x], dtype.numpy), table)
        assert abs(int(y[0]) - np.tanh((x - zero_point) * scale) * 127) <= 0.5


@pytest.mark.parametrize("grid", [I8, U8], ids=str)
def test_interpolation_keeps_its_bound(grid: Grid) -> None:
    scale = 12 / 32767
    table = interpolated(sigmoid, scale, grid)
    # The chord is off by h^2/8 max |f''|, the entries by half of theirs, the result by half a step.
    curvature = (128 * scale) ** 2 / 8 * 0.0963 / grid.scale
    assert table.error <= 0.5 + 0.5 / (1 << FRACTION) + curvature
    assert table.error < 0.51
    x = np.arange(-32768, 32768).astype(np.int16)
    (y,) = Interpolate(grid.dtype, FRACTION).reference(x, table.entries)
    assert np.abs(y - sigmoid(x * scale) / grid.scale).max() == pytest.approx(table.error)


def test_what_is_not_a_number_takes_its_neighbours_value() -> None:
    table = byte_table(np.log, DType.I8, 0.1, 0, Grid(DType.I8, 0.05, -128, 127))
    of = {x: int(table[x & 255]) for x in range(-128, 128)}
    assert of[10] == 0 and of[1] == round(np.log(0.1) / 0.05)
    assert {of[x] for x in range(-128, 1)} == {-128}
    whole = byte_table(lambda x: np.full(x.shape, np.nan), DType.I8, 1.0, 0, I8)
    assert not whole.any()


@pytest.mark.parametrize(
    "graph", [conv((6, 7, 5), 6, 3), conv((5, 5, 4), 4, 3, groups=4), conv((4, 4, 3), 7, 1), linear(1, 9, 6)]
)
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_tables_fuse_with_the_product_before_them(graph: Graph, dtype: DType, tmp_path: Path) -> None:
    extended = graph.clone()
    (out,) = extended.outputs
    byte = extended.const("table", np.random.default_rng(0).permutation(256).astype(np.uint8))
    extended.outputs = [extended.append(Lookup(), [out, byte], "lookup")]
    Kernel(extended, tmp_path).check()
    wide = graph.clone()
    requantize = next(n for n in wide.nodes if n.op.name == "requantize")
    sums = requantize.inputs
    wide.nodes.remove(requantize)
    x = wide.append(type(requantize.op)(DType.I16, 28), sums, "sixteen")
    fraction, limit = (8, 32512) if dtype is DType.I8 else (7, 32640)
    knots = wide.const("knots", entries(dtype, limit))
    wide.outputs = [wide.append(Interpolate(dtype, fraction), [x, knots], "smooth")]
    kernel = Kernel(wide, tmp_path)
    kernel.check()


@pytest.mark.parametrize(
    "op", [Sign(), Floor(), Ceil(), Round(), ThresholdedRelu(1.5), Shrink(0.0, 1.5)], ids=str
)
def test_functions_with_jumps_are_not_interpolated(op: Unary) -> None:
    """What lies between the two sides of a jump is no result: every result is that of some real operand."""
    net = Net((1, 5, 6, 4))
    q = net.quantized(net.emit(op, net.conv(net.inputs[0], 6), name="y"))
    assert ops(q) == ["conv2d", "requantize", "lookup"]
    scale, operand = named(q, "y").type.scale, named(q, "conv").type.scale
    (reals,) = op.reference((np.arange(-128, 128) * operand).astype(np.float32))
    possible = set(np.clip(np.rint(reals / scale), -128, 127).astype(int).tolist())
    for index in range(4):
        assert set(net.all_values(q, index)["y"].reshape(-1).tolist()) <= possible
