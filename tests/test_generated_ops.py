"""Every operator's generated C against its reference: integers in every bit, floats within rounding.

The operators are found in the registry; one without a sample below fails. All samples of an operator are one C file,
compiled under the artifact's warnings and run between guards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.ir import Array, DType, Graph, TensorType, Value
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import OPS, Op, TypeMismatchError, load_all
from dnncc.ops.cast import Cast
from dnncc.ops.clip import Clip
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.copy import Copy
from dnncc.ops.dequantize import Dequantize
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.quantize import Quantize
from dnncc.ops.relu import Relu
from dnncc.ops.requantize import Requantize
from dnncc.ops.softmax import Softmax
from dnncc.ops.softmax_int import SoftmaxInt, exponential_table
from dnncc.ops.sub import Sub
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.transfer import Transfer
from dnncc.ops.transpose import Transpose
from kernel_harness import Kernel, compile_kernels
from kernel_samples import SAMPLES, Case, Fixed, floats, integers

load_all()

# A copy between memories becomes a macro, not a kernel: tests/test_external_memory.py.
LOWERED = sorted(
    name for name, op in OPS.items() if op.has_code() and not op.is_view and not issubclass(op, Transfer)
)


@pytest.mark.parametrize("name", LOWERED)
def test_generated_code_gives_the_references_values(name: str, tmp_path: Path) -> None:
    assert name in SAMPLES, f"operator '{name}' needs samples here"
    assert all(case.op.name == name for case in SAMPLES[name])
    check(tmp_path, {f"{i}: {case}": case.graph() for i, case in enumerate(SAMPLES[name])})


def test_random_windows(tmp_path: Path) -> None:
    """Strides, dilations and pads, also such that whole rows of taps lie in the padding."""
    rng = np.random.default_rng(0)
    cases: list[Case] = []
    while len(cases) < 80:
        h, w, c = (int(n) for n in rng.integers(1, 9, 3))
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        strides, dilations = ((int(a), int(b)) for a, b in rng.integers(1, 4, (2, 2)))
        top, left, bottom, right = (int(n) for n in rng.integers(0, 4, 4))
        pads, x = (top, left, bottom, right), integers("int8", 1, h, w, c)
        kind = [MaxPool2d, SumPool2d, Conv2d][rng.integers(3)]
        if kind is Conv2d:
            weights = integers("int8", c, *kernel, 1)
            case = Case(
                Conv2d(strides, pads, dilations, c), [x, Fixed(weights), Fixed(integers("int32", c, bits=20))]
            )
        else:
            case = Case(kind(kernel, strides, pads, dilations), [x])
        try:
            case.graph()
        except TypeMismatchError:
            continue  # the kernel does not fit, or a pool's window lies in the padding
        cases.append(case)
    check(tmp_path, {f"{i}: {case}": case.graph() for i, case in enumerate(cases)})


# -- groups of several operators ---------------------------------------------------------------------------------------


class Body:
    """A graph under construction, with the arrays that its inputs are given."""

    def __init__(self) -> None:
        self.graph = Graph("group")
        self.given: list[Array] = []

    def input(self, array: Array) -> Value:
        value = Value(f"x{len(self.given)}", TensorType(DType.of(array), array.shape))
        self.graph.inputs.append(value)
        self.given.append(array)
        return value

    def __call__(self, op: Op, *operands: Value | Array) -> Value:
        values = [self.graph.const("c", v) if isinstance(v, np.ndarray) else v for v in operands]
        return self.graph.append(op, values, op.name)

    def requantize(self, x: Value, factor: float, dtype: DType = DType.I8, shift: int = 24) -> Value:
        return self(Requantize(dtype, shift), x, np.array(round(factor * 2**shift), np.int32))


def average(b: Body) -> Value:
    return b.requantize(
        b(SumPool2d((3, 2), (2, 1), (1, 0, 1, 1)), b.input(integers("uint8", 1, 7, 6, 5))), 1 / 6
    )


def global_average(b: Body) -> Value:
    return b.requantize(
        b(SumPool2d((64, 64)), b.input(np.full((1, 64, 64, 2), 255, np.uint8))), 1 / 4096, DType.U8
    )


def activated_pool(b: Body) -> Value:
    return b(
        Clip(-3, 5),
        b(Relu(), b(MaxPool2d((2, 2), (1, 1), (0, 1, 1, 0)), b.input(integers("int8", 1, 5, 4, 6)))),
    )


def padded_pool(b: Body) -> Value:
    x = b(Pad(((0, 0), (1, 0), (2, 1), (0, 0)), 77), b.input(integers("int8", 1, 5, 4, 6)))
    return b(MaxPool2d((3, 3), (2, 1), (1, 1, 1, 1)), x)


def pool_of_nchw(b: Body) -> Value:
    return b(SumPool2d((2, 2), (2, 2)), b(Transpose((0, 2, 3, 1)), b.input(integers("int8", 1, 3, 6, 4))))


def grouped_residual(b: Body) -> Value:
    x, skip = b.input(integers("uint8", 1, 5, 6, 6)), b.input(integers("int8", 1, 5, 6, 4))
    sums = b(
        Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 2),
        x,
        integers("int8", 4, 3, 3, 3),
        integers("int32", 4, bits=16),
    )
    wide = b(Requantize(DType.I32, 32), sums, np.array([1 << 26, 1 << 24, 12345678, 1], np.int32))
    return b.requantize(b(Add(), wide, b.requantize(skip, 7.3, DType.I32, 10)), 0.1, DType.U8, 32)


def dilated_depthwise(b: Body) -> Value:
    x = b.input(integers("int8", 1, 9, 8, 6))
    op = Conv2d((1, 2), (4, 0, 0, 3), (2, 3), 6)
    return b.requantize(b(op, x, integers("int8", 6, 3, 2, 1), integers("int32", 6, bits=16)), 0.003)


def sum_of_bytes(b: Body) -> Value:
    x, y = b.input(integers("uint8", 1, 4, 5, 3)), b.input(integers("int8", 1, 4, 5, 3))
    return b.requantize(
        b(Sub(), b.requantize(x, 3.7, DType.I32), b.requantize(y, 5.1, DType.I32)), 0.2, DType.U8
    )


def sum_with_itself(b: Body) -> Value:
    x = b.requantize(b.input(integers("uint8", 1, 4, 5, 3)), 3.7, DType.I32)
    return b.requantize(b(Add(), x, x), 0.1, DType.U8)


def gate(b: Body) -> Value:
    x, y = b.input(integers("uint8", 1, 4, 5, 3)), b.input(integers("int32", 1, 1, 1, 3, bits=8))
    return b.requantize(b(Mul(), b(Cast(DType.I32), x), y), 0.01)


def outer_product(b: Body) -> Value:
    x, y = b.input(integers("int32", 1, 4, 1, 3, bits=12)), b.input(integers("int32", 5, 1, bits=12))
    return b.requantize(b(Mul(), x, y), 1e-5)


def long_sum(b: Body) -> Value:
    w, c = np.full((2, 4096), -128, np.int8), np.array([2**30, -(2**30)], np.int32)
    return b.requantize(b(Linear(), b.input(np.full((2, 4096), -128, np.int8)), w, c), 2**-16)


def attention(b: Body) -> Value:
    q, k = b.input(integers("int8", 2, 5, 6)), b.input(integers("int8", 2, 6, 5))
    bias = b.input(integers("int32", 5, bits=12))
    return b.requantize(b(Add(), b(Matmul(), q, k), bias), 0.02, DType.I16)


def border(b: Body) -> Value:
    return b.requantize(b(Cast(DType.I32), b(Quantize(DType.I8, 0.05), b.input(floats(3, 4, 5)))), 0.5)


def float_block(b: Body) -> Value:
    x, y = b.input(floats(1, 6, 5, 3)), b.input(floats(1, 3, 3, 7))
    sums = b(Conv2d((2, 2), (1, 1, 1, 1)), x, floats(7, 3, 3, 3), floats(7))
    return b(Clip(0.0, 6.0), b(Add(), b(Mul(), sums, floats(7)), y))


def normalized_average(b: Body) -> Value:
    return b(Relu(), b(AveragePool2d((3, 3), (2, 2), (1, 1, 1, 1)), b.input(floats(2, 5, 5, 4))))


GROUPS = [
    average,
    global_average,
    activated_pool,
    padded_pool,
    pool_of_nchw,
    grouped_residual,
    dilated_depthwise,
]
GROUPS += [sum_of_bytes, sum_with_itself, gate, outer_product, long_sum, attention, border, float_block]
GROUPS += [normalized_average]


def test_generated_groups_give_the_interpreters_values(tmp_path: Path) -> None:
    graphs = {}
    for make in GROUPS:
        body = Body()
        body.graph.outputs = [make(body)]
        graphs[make.__name__] = (body.graph, body.given)
    check(tmp_path, graphs)


IN_PLACE: dict[str, tuple[Case, dict[tuple[int, int], int]]] = {
    "two operands": (Case(Add(), [floats(2, 3), floats(2, 3)]), {(0, 0): 0, (0, 1): 0}),
    "a broadcast operand stays apart": (Case(Add(), [floats(2, 3), floats(3)]), {(0, 0): 0}),
    "a result that nobody has the room for": (Case(Add(), [floats(2, 1), floats(1, 3)]), {}),
    "bytes from words": (Case(Cast(DType.I8), [integers("int32", 9, bits=8)]), {(0, 0): 0}),
    "bytes from floats": (Case(Quantize(DType.I8, 0.1), [floats(9)]), {(0, 0): 0}),
    "floats from bytes do not fit": (Case(Dequantize(0.1), [integers("int8", 9)]), {}),
    "C may reorder words and floats": (Case(Cast(DType.F32), [integers("int32", 9)]), {}),
    "copy": (Case(Copy(), [integers("int8", 9)]), {(0, 0): 0}),
    # A window's results are written 3 bytes after the place of its first element at most.
    "2x2 windows": (Case(MaxPool2d((2, 2), (2, 2)), [integers("int8", 1, 6, 8, 3)]), {(0, 0): 0}),
    "windows over a border": (
        Case(MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1)), [integers("int8", 1, 4, 4, 1)]),
        {(0, 0): 5},
    ),
    "several images": (Case(MaxPool2d((2, 2), (2, 2)), [integers("int8", 2, 6, 8, 3)]), {}),
    "rows are needed again": (Case(Softmax(1), [floats(2, 5)]), {}),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_what_may_run_in_place(name: str) -> None:
    case, expected = IN_PLACE[name]
    graph, _ = case.graph()
    assert Kernel(graph).code.needs.overlaps == expected


def code_of(case: Case) -> str:
    return Kernel(case.graph()[0]).code.function.body


def test_what_can_be_computed_once_is() -> None:
    table = Fixed(exponential_table(0.1, 256, 12))
    softmax = code_of(Case(SoftmaxInt(1), [integers("int8", 4, 12), table]))
    assert softmax.count("dnncc_mulhi_round(") == 6  # a first guess, two Newton steps, the factor
    assert code_of(Case(Softmax(1), [floats(4, 12)])).count("dnncc_expf(") == 1
    padded = AveragePool2d((3, 3), (1, 1), (1, 1, 1, 1))
    inner = code_of(Case(padded, [floats(1, 6, 6, 8)])).partition("for (int32_t c")[2]
    assert "1.0f" not in inner  # the taps are counted once for all channels


def test_borders_cost_no_test_per_element() -> None:
    for kind in (MaxPool2d, SumPool2d):
        body = code_of(Case(kind((3, 3), (2, 2), (1, 1, 1, 1)), [integers("uint8", 1, 9, 9, 8)]))
        assert "?" not in body and "if (" not in body and "dnncc_max(0, 1 - " in body


def test_moved_bytes_are_copied_in_one_piece() -> None:
    parts = [integers("int8", 1, 4, 5, c) for c in (8, 3)]
    assert code_of(Case(Concat(3), parts)).count("memcpy") == 2
    rows = [integers("int8", 1, h, 5, 8) for h in (4, 3)]
    assert code_of(Case(Concat(1), rows)).splitlines() == [
        "    memcpy(y0, x0, 160u);",
        "    memcpy(&y0[160], x1, 120u);",
    ]
    border = code_of(Case(Pad(((0, 0), (1, 1), (1, 1), (0, 0))), [integers("int8", 1, 4, 5, 8)]))
    assert border.count("memcpy") == 1 and border.count("memset") == 3


def test_elementwise_axes_are_merged_unless_an_operand_broadcasts() -> None:
    x = floats(2, 4, 5, 3)
    for other, loops in (
        ((2, 4, 5, 3), 1),
        ((3,), 2),
        ((4, 5, 1), 3),
        ((), 1),
        ((2, 4, 1, 1), 2),
        ((4, 1, 3), 4),
    ):
        assert code_of(Case(Add(), [x, floats(*other)])).count("for (") == loops


def check(folder: Path, graphs: dict[str, tuple[Graph, list[Array]]]) -> None:
    """Every graph is one group; its code, all in one file, must give the interpreter's values."""
    kernels = [Kernel(graph) for graph, _ in graphs.values()]
    compile_kernels(kernels, folder)
    failures = []
    for kernel, (label, (_, inputs)) in zip(kernels, graphs.items(), strict=True):
        try:
            kernel.check_on(inputs)
        except AssertionError as error:
            failures.append(f"{label}: {error}")
    assert not failures, f"{len(failures)} of {len(graphs)} differ\n" + "\n".join(failures[:5])
