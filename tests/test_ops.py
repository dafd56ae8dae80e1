"""Each operator by itself: types, references against brute force, tensor expressions against references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.add import Add
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.base import OPS, Op, TypeMismatchError, load_all
from dnncc.ops.batch_norm import BatchNorm
from dnncc.ops.cast import Cast
from dnncc.ops.clip import Clip
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.copy import Copy
from dnncc.ops.linear import Linear
from dnncc.ops.matmul import Matmul
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.mul import Mul
from dnncc.ops.pad import Pad
from dnncc.ops.relu import Relu
from dnncc.ops.reshape import Reshape
from dnncc.ops.slice import Slice
from dnncc.ops.softmax import Softmax
from dnncc.ops.sub import Sub
from dnncc.ops.sum_pool2d import SumPool2d
from dnncc.ops.transpose import Transpose
from hypothesis import given
from hypothesis import strategies as st
from op_samples import further_samples

# Operators with a test file of their own.
ELSEWHERE = {
    "requantize",
    "fused",
    "patched",
    "softmax_int",
    "normalize_int",
    "log_softmax_int",
    "lookup",
    "quantize",
    "dequantize",
}

Case = tuple[Op, list[Array]]


def floats(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(0, 2, shape).astype(np.float32)


def integers(dtype: str, *shape: int) -> Array:
    bounds = np.iinfo(dtype) if dtype in ("int8", "uint8") else np.iinfo(np.int16)
    return np.random.default_rng(sum(shape)).integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def convolution(op: Conv2d, image: tuple[int, ...], weights: tuple[int, ...]) -> Iterator[Case]:
    yield op, [floats(*image), floats(*weights), floats(weights[0])]
    for dtype in ("int8", "uint8"):
        yield op, [integers(dtype, *image), integers("int8", *weights), integers("int32", weights[0])]


def cases() -> Iterator[Case]:
    yield from convolution(Conv2d(), (1, 4, 5, 3), (2, 1, 1, 3))
    yield from convolution(Conv2d((2, 1), (1, 0, 2, 1), (1, 2), 1), (2, 5, 7, 2), (3, 3, 2, 2))
    yield from convolution(Conv2d((1, 2), (1, 1, 1, 1), (1, 1), 4), (1, 5, 5, 4), (4, 3, 3, 1))
    yield from convolution(Conv2d((1, 1), (0, 2, 0, 0), (2, 1), 2), (1, 6, 4, 4), (6, 2, 3, 2))
    for shape in ((6,), (1, 6), (2, 3, 6)):
        yield Linear(), [floats(*shape), floats(4, 6), floats(4)]
        yield Linear(), [integers("uint8", *shape), integers("int8", 4, 6), integers("int32", 4)]
    for a, b in (((3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((3, 4), (2, 4, 1)), ((2, 1, 4), (1, 4, 1))):
        yield Matmul(), [floats(*a), floats(*b)]
        yield Matmul(), [integers("int8", *a), integers("int8", *b)]
    for a, b in (((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((), (3,)), ((1, 4, 4, 3), (3,))):
        for op in (Add(), Sub(), Mul()):
            yield op, [floats(*a), floats(*b)]
            yield op, [integers("int32", *a), integers("int32", *b)]
    for x in (floats(2, 3, 4), integers("int8", 2, 3, 4), integers("uint8", 5), integers("int32", 7)):
        yield Relu(), [x]
        yield Copy(), [x]
        yield Clip(1, 6), [x]
        yield Clip(hi=3), [x]
        yield Reshape((x.size, 1)), [x]
        yield Transpose(tuple(reversed(range(x.ndim)))), [x]
        yield Slice((1,) * x.ndim, x.shape, (2,) * x.ndim), [x]
        yield Pad(((1, 2),) * x.ndim, 3), [x]
        yield Concat(x.ndim - 1), [x, x[..., :2], x]
        yield Cast(DType.F32), [x]
        yield Cast(DType.I32), [x]
    yield Clip(-0.5, 0.25), [floats(5)]
    yield Transpose((0, 3, 1, 2)), [floats(2, 3, 4, 5)]
    yield Transpose((1, 2, 0)), [floats(2, 3, 4)]
    yield Reshape((4, 3, 2)), [floats(2, 3, 4)]
    yield Reshape(()), [floats(1, 1)]
    yield Pad(((0, 0), (0, 0)), 1.0), [floats(2, 2)]
    yield Pad(((0, 1), (2, 0)), -1.5), [floats(2, 2)]
    yield Concat(0), [floats(2, 2)]
    yield Concat(1), [floats(2, 2, 3), floats(2, 1, 3)]
    for pool in POOLS:
        for x in (floats(2, 6, 7, 3), integers("int8", 1, 6, 7, 2), integers("uint8", 1, 6, 7, 2)):
            kind: type[Any] = AveragePool2d if x.dtype == np.float32 else SumPool2d
            yield MaxPool2d(*pool), [x]
            yield kind(*pool), [x]
    yield AveragePool2d((3, 2), (2, 2), (1, 0, 1, 1), (1, 1), True), [floats(1, 5, 5, 2)]
    for axis in (0, 1, 2):
        yield Softmax(axis), [floats(3, 4, 5)]
        yield BatchNorm(1e-3, axis), [floats(3, 4, 5), *(abs(floats(3 + axis)) + i for i in range(4))]


POOLS: list[tuple[Any, ...]] = [
    ((2, 2), (2, 2)),
    ((3, 2), (1, 2), (1, 0, 2, 1)),
    ((6, 7),),
    ((2, 3), (2, 1), (2, 1, 1, 0), (3, 2)),
]
FURTHER = further_samples()
CASES = [
    *cases(),
    *((case.op, case.arrays) for found in FURTHER.values() for case in found),
]
# Generated code is tested on all samples; for each expression without a schedule a few of them will do.
EXPRESSED = [
    case
    for case in [
        *cases(),
        *((c.op, c.arrays) for found in FURTHER.values() for c in found[:: len(found) // 8 + 1]),
    ]
    if not case[0].is_loops() and case[0].name not in ELSEWHERE
]


def label(case: Case) -> str:
    op, arrays = case
    return f"{op}-{'-'.join(f'{a.dtype}{list(a.shape)}' for a in arrays)}"


def type_of(array: Array) -> TensorType:
    return TensorType(DType.of(array), array.shape)


def test_every_operator_has_cases() -> None:
    load_all()
    assert set(OPS) - {op.name for op, _ in CASES} - ELSEWHERE == set()


@pytest.mark.parametrize("case", CASES, ids=label)
def test_reference_gives_the_inferred_types(case: Case) -> None:
    op, arrays = case
    before = [a.copy() for a in arrays]
    results = op.reference(*arrays)
    assert [type_of(y) for y in results] == list(op.infer(*map(type_of, arrays)))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))


@pytest.fixture(scope="module")
def evaluate() -> Any:
    """Runs an operator's tensor expression, compiled without any schedule."""
    import tvm
    from dnncc.targets.lowering.api import te

    def run(op: Op, arrays: list[Array]) -> Array:
        operands = [te.placeholder(a.shape, a.dtype.name, f"x{i}") for i, a in enumerate(arrays)]
        result = op.te(*operands)
        function = te.create_prim_func([*operands, result])
        module = tvm.compile(tvm.IRModule({"main": function}), target="llvm")
        y = tvm.runtime.empty(tuple(int(d) for d in result.shape), str(result.dtype))
        module["main"](*(tvm.runtime.tensor(a) for a in arrays), y)
        found: Array = y.numpy()
        return found

    return run


@pytest.mark.parametrize("case", EXPRESSED, ids=label)
def test_tensor_expression_is_the_reference(case: Case, evaluate: Any) -> None:
    op, arrays = case
    (wanted,) = op.reference(*arrays)
    found = evaluate(op, arrays)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found, wanted)


# Brute force: one Python integer after the other, straight from the definitions.


def taps(op: Any, x: Array, kernel: tuple[int, int], i: int, j: int) -> Iterator[tuple[int, int, int, int]]:
    """(kh, kw, h, w) of each tap of window (i, j) that lies inside the image."""
    for kh, kw in itertools.product(range(kernel[0]), range(kernel[1])):
        h = i * op.strides[0] + kh * op.dilations[0] - op.pads[0]
        w = j * op.strides[1] + kw * op.dilations[1] - op.pads[1]
        if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
            yield kh, kw, h, w


small = st.integers(1, 3)
pads = st.integers(0, 2)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    groups = draw(small)
    weights = (groups * draw(small), draw(small), draw(small), draw(small))
    op = Conv2d(
        draw(st.tuples(small, small)),
        draw(st.tuples(pads, pads, pads, pads)),
        draw(st.tuples(small, small)),
        groups,
    )
    spatial = [draw(st.integers(op.window.extent(weights[1:3])[a], 7)) for a in (0, 1)]
    image = (draw(st.integers(1, 2)), *spatial, groups * weights[3])
    return op, [
        integers(draw(st.sampled_from(["int8", "uint8"])), *image),
        integers("int8", *weights),
        integers("int32", weights[0]),
    ]


@given(convolutions())
def test_integer_convolution_is_exact(case: Case) -> None:
    op, (x, w, b) = case
    assert isinstance(op, Conv2d)
    (y,) = op.reference(x, w, b)
    per_group = w.shape[0] // op.groups
    for n, i, j, o in np.ndindex(y.shape):
        total = int(b[o])
        for kh, kw, h, ww in taps(op, x, w.shape[1:3], i, j):
            for c in range(w.shape[3]):
                total += int(x[n, h, ww, o // per_group * w.shape[3] + c]) * int(w[o, kh, kw, c])
        assert total == y[n, i, j, o]
    bottom, right = (y.shape[1] - 1) * op.strides[0], (y.shape[2] - 1) * op.strides[1]
    extent = op.window.extent(w.shape[1:3])
    # One more window would leave the padded image.
    assert bottom + extent[0] <= x.shape[1] + op.pads[0] + op.pads[2] < bottom + extent[0] + op.strides[0]
    assert right + extent[1] <= x.shape[2] + op.pads[1] + op.pads[3] < right + extent[1] + op.strides[1]


@st.composite
def pools(draw: st.DrawFn) -> tuple[tuple[Any, ...], Array]:
    arguments = (
        draw(st.tuples(small, small)),
        draw(st.tuples(small, small)),
        draw(st.tuples(pads, pads, pads, pads)),
        draw(st.tuples(small, small)),
    )
    dtype = draw(st.sampled_from(["int8", "uint8"]))
    return arguments, integers(dtype, 1, draw(st.integers(1, 7)), draw(st.integers(1, 7)), 2)


@given(pools())
def test_integer_pools_are_exact(case: tuple[tuple[Any, ...], Array]) -> None:
    arguments, x = case
    largest, total = MaxPool2d(*arguments), SumPool2d(*arguments)
    try:
        (shape,) = {t.shape for op in (largest, total) for t in op.infer(type_of(x))}
    except TypeMismatchError:
        # Rightly refused if the kernel does not fit, or a window lies or taps may step outside the image.
        extent, (_, h, w, _) = total.window.extent(total.kernel), x.shape
        outer = (h + total.pads[0] + total.pads[2], w + total.pads[1] + total.pads[3])
        if extent[0] > outer[0] or extent[1] > outer[1]:
            return
        counts = total.window.counts((h, w), total.kernel)
        assert counts.min() == 0 or total.dilations[0] > h or total.dilations[1] > w
        return
    (y,), (z,) = largest.reference(x), total.reference(x)
    (m,) = AveragePool2d(*arguments).reference(x.astype(np.float32))
    for n, i, j, c in np.ndindex(shape):
        values = [int(x[n, h, w, c]) for _, _, h, w in taps(total, x, total.kernel, i, j)]
        assert (max(values), sum(values)) == (y[n, i, j, c], z[n, i, j, c])
        assert m[n, i, j, c] == pytest.approx(sum(values) / len(values), rel=1e-6)


@given(small, small, st.integers(1, 40))
def test_integer_products_are_exact(m: int, n: int, k: int) -> None:
    a, w, b = integers("uint8", 2, m, k), integers("int8", n, k), integers("int32", n)
    (y,) = Linear().reference(a, w, b)
    (z,) = Matmul().reference(a, w.T)
    for i, j, o in np.ndindex(y.shape):
        total = sum(int(p) * int(q) for p, q in zip(a[i, j], w[o], strict=True))
        assert (total + int(b[o]), total) == (y[i, j, o], z[i, j, o])


def i32(*values: int) -> Array:
    return np.array(values, np.int32)


OVERFLOWS: list[Case] = [
    (Add(), [i32(2**31 - 1), i32(1)]),
    (Sub(), [i32(-(2**31)), i32(1)]),
    (Mul(), [i32(2**16), i32(2**15)]),
    (Mul(), [np.array([2**62]), np.array([2])]),
    (Add(), [np.array([2**63 - 1]), np.array([1])]),
    (Linear(), [i32(2**30, 2**30), i32(1, 1)[None], i32(0)]),
    (Linear(), [i32(2**31 - 1, 2**31 - 1), i32(2**31 - 1, 2**31 - 1)[None], i32(0)]),
    (Linear(), [np.array([1], np.uint8), np.array([[1]], np.int8), i32(2**31 - 1)]),
    (Conv2d(), [i32(2**30).reshape(1, 1, 1, 1), i32(2).reshape(1, 1, 1, 1), i32(0)]),
    (SumPool2d((1, 2)), [i32(2**30, 2**30).reshape(1, 1, 2, 1)]),
    (Cast(DType.I8), [i32(128)]),
    (Cast(DType.U8), [np.array([-1.0], np.float32)]),
    (Cast(DType.I64), [np.array([np.nan], np.float32)]),
    (Cast(DType.I64), [np.array([2.0**63], np.float32)]),
]


@pytest.mark.parametrize("case", OVERFLOWS, ids=label)
def test_nothing_wraps(case: Case) -> None:
    op, arrays = case
    with pytest.raises(OverflowError):
        op.reference(*arrays)


def test_results_at_the_limit_of_their_type_are_kept() -> None:
    assert Add().reference(i32(2**31 - 2), i32(1))[0].tolist() == [2**31 - 1]
    assert Mul().reference(np.array([2**62]), np.array([-2]))[0].tolist() == [-(2**63)]
    big = Linear().reference(i32(2**31 - 1, -(2**31) + 1), i32(2**31 - 1, 2**31 - 1)[None], i32(5))[0]
    assert big.tolist() == [5]
    assert Cast(DType.I8).reference(np.array([-128.9, 1.9], np.float32))[0].tolist() == [-128, 1]


F32, I8, I32, U8 = DType.F32, DType.I8, DType.I32, DType.U8
X = TensorType(F32, (1, 4, 4, 2))


def t(dtype: DType, *shape: int) -> TensorType:
    return TensorType(dtype, shape)


REFUSED: list[tuple[Op, list[TensorType]]] = [
    (Conv2d(), [X, t(F32, 3, 1, 1, 1), t(F32, 3)]),
    (Conv2d(), [X, t(F32, 3, 1, 1, 2), t(F32, 2)]),
    (Conv2d(), [X, t(F32, 3, 1, 1, 2), t(I32, 3)]),
    (Conv2d(), [X, t(I8, 3, 1, 1, 2), t(F32, 3)]),
    (Conv2d(), [t(F32, 4, 4, 2), t(F32, 3, 1, 1, 2), t(F32, 3)]),
    (Conv2d(), [X, t(F32, 3, 5, 1, 2), t(F32, 3)]),
    (Conv2d(groups=0), [X, t(F32, 3, 1, 1, 2), t(F32, 3)]),
    (Conv2d(groups=2), [X, t(F32, 3, 1, 1, 1), t(F32, 3)]),
    (Conv2d(strides=(0, 1)), [X, t(F32, 3, 1, 1, 2), t(F32, 3)]),
    (Conv2d(dilations=(1, -1)), [X, t(F32, 3, 1, 1, 2), t(F32, 3)]),
    (Conv2d(pads=(0, 0, -1, 0)), [X, t(F32, 3, 1, 1, 2), t(F32, 3)]),
    (Linear(), [t(F32, 2, 3), t(F32, 4, 2), t(F32, 4)]),
    (Linear(), [t(F32), t(F32, 4, 2), t(F32, 4)]),
    (Matmul(), [t(F32, 2, 3), t(F32, 4, 2)]),
    (Matmul(), [t(F32, 3), t(F32, 3, 2)]),
    (Matmul(), [t(F32, 2, 3), t(I8, 3, 2)]),
    (Add(), [t(F32, 2), t(I32, 2)]),
    (Add(), [t(F32, 2), t(F32, 3)]),
    (Mul(), [t(I8, 2), t(I8, 2)]),
    (Relu(), [t(DType.BOOL, 2)]),
    (Clip(0, 256), [t(U8, 2)]),
    (Clip(0, 2.5), [t(I8, 2)]),
    (Clip(float("nan")), [t(F32, 2)]),
    (MaxPool2d((5, 1)), [X]),
    (MaxPool2d((1, 1), (1, 1), (1, 0, 0, 0)), [X]),
    (MaxPool2d((2, 2)), [t(F32, 4, 4, 2)]),
    (AveragePool2d((2, 2)), [t(I8, 1, 4, 4, 2)]),
    (SumPool2d((2, 2)), [X]),
    (BatchNorm(axis=4), [X, *[t(F32, 2)] * 4]),
    (BatchNorm(), [X, *[t(F32, 2)] * 3]),
    (BatchNorm(), [X, *[t(F32, 3)] * 4]),
    (Concat(4), [X, X]),
    (Concat(), []),
    (Concat(1), [X, t(F32, 1, 4, 5, 2)]),
    (Concat(1), [X, t(I8, 1, 4, 4, 2)]),
    (Concat(0), [t(F32, 2), t(F32, 2, 1)]),
    (Pad(((0, 0),)), [X]),
    (Pad(((0, -1),)), [t(F32, 2)]),
    (Pad(((0, 1),), 0.5), [t(I8, 2)]),
    (Reshape((3,)), [t(F32, 2)]),
    (Reshape((-1, -2)), [t(F32, 2)]),
    (Transpose((0, 0)), [t(F32, 2, 2)]),
    (Transpose((0,)), [t(F32, 2, 2)]),
    (Softmax(2), [t(F32, 2, 2)]),
    (Softmax(0), [t(I8, 2)]),
    (Slice((0,), (3,), (1,)), [t(F32, 2)]),
    (Slice((0,), (2,), (-1,)), [t(F32, 2)]),
    (Slice((0,), (2,), (1,)), [t(F32, 2, 2)]),
]


@pytest.mark.parametrize(("op", "types"), REFUSED, ids=str)
def test_wrong_operands_are_refused(op: Op, types: list[TensorType]) -> None:
    with pytest.raises(TypeMismatchError):
        op.infer(*types)


@pytest.mark.parametrize(
    ("op", "types", "macs"),
    [
        (Conv2d(), [t(F32, 1, 5, 5, 4), t(F32, 8, 3, 3, 4), t(F32, 8)], 9 * 8 * 36),
        (Conv2d(groups=4), [t(F32, 1, 5, 5, 4), t(F32, 4, 3, 3, 1), t(F32, 4)], 9 * 4 * 9),
        (Linear(), [t(F32, 2, 6), t(F32, 4, 6), t(F32, 4)], 48),
        (Matmul(), [t(F32, 2, 1, 3, 4), t(F32, 3, 4, 5)], 2 * 3 * 3 * 5 * 4),
        (AveragePool2d((2, 2)), [X], 0),
        (Add(), [X, X], 0),
    ],
    ids=str,
)
def test_multiply_accumulates(op: Op, types: list[TensorType], macs: int) -> None:
    assert op.macs(types, op.infer(*types)) == macs


def test_what_moves_elements_keeps_their_scale() -> None:
    x = TensorType(I8, (1, 4, 4, 2), Quantization.per_tensor(0.5))
    moving = (
        Relu(),
        Clip(0, 6),
        MaxPool2d((2, 2)),
        Pad(((0, 0),) * 4),
        Reshape((32,)),
        Transpose((0, 3, 1, 2)),
        Slice((0,) * 4, (1, 2, 2, 2), (1,) * 4),
    )
    for op in moving:
        assert op.infer(x)[0].quantization == x.quantization
    assert Concat(3).infer(x, x)[0].quantization == x.quantization
    assert SumPool2d((2, 2)).infer(x)[0].quantization is None
    per_channel = TensorType(I8, (2, 3), Quantization((0.5, 1.0), 0))
    assert Transpose((1, 0)).infer(per_channel)[0].quantization == Quantization((0.5, 1.0), 1)
    assert Reshape((6,)).infer(per_channel)[0].quantization is None


def test_extreme_floats_stay_what_they_are() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    assert np.isnan(Relu().reference(x)[0][0]) and Relu().reference(x)[0][2] == 0
    assert np.isnan(Clip(-1, 1).reference(x)[0][0])
    huge = np.array([3e38, -3e38], np.float32)
    assert np.isinf(Mul().reference(huge, huge)[0]).all()
    assert np.isfinite(Softmax(0).reference(huge)[0]).all()
