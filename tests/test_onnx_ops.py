"""Every importer and operator reference against ONNX Runtime, over the forms that ONNX allows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from dnncc.errors import UnsupportedError
from dnncc.frontends.onnx import load_onnx, supported_op_types
from dnncc.ir.types import Array
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check_against_onnxruntime, floats, model, one_node

small = st.integers(1, 3)
OPSETS = [7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 20, 21, 22]


def names(proto: Any) -> list[str]:
    """The operators that a model becomes."""
    return [node.op.name for node in load_onnx(proto).nodes]


# -- windows ------------------------------------------------------------------------------------


@st.composite
def windows(draw: st.DrawFn, kernel: list[int], pooling: bool) -> tuple[list[int], dict[str, Any]]:
    """Height and width of an image that the kernel fits, and attributes that say how it moves."""
    attributes: dict[str, Any] = {}
    strides, dilations = draw(st.lists(small, min_size=2, max_size=2)), [1, 1]
    attributes["strides"] = strides
    if draw(st.booleans()):
        dilations = draw(st.lists(small, min_size=2, max_size=2))
        attributes["dilations"] = dilations
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = [draw(st.integers(e, e + 6)) for e in extent]
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        # Pools may not be padded by as much as the kernel.
        limit = [k - 1 if pooling else 3 for k in kernel]
        attributes["pads"] = [draw(st.integers(0, limit[i % 2])) for i in range(4)]
    elif mode == "VALID" or (
        dilations == [1, 1] and all(s <= k for s, k in zip(strides, kernel, strict=True))
    ):
        # ONNX Runtime refuses SAME with dilations, and with strides beyond the kernel.
        attributes["auto_pad"] = mode
    return image, attributes


@st.composite
def convolutions(draw: st.DrawFn) -> Any:
    group = draw(small)
    weights = [group * draw(small), draw(small), draw(small), draw(small)]
    image, attributes = draw(windows(weights[2:], False))
    constants = {"w": floats(*weights)}
    if draw(st.booleans()):
        constants["b"] = floats(weights[0])
    if draw(st.booleans()):
        attributes["kernel_shape"] = weights[2:]
    batch = draw(st.integers(1, 2))
    opset = draw(st.sampled_from([7, 11, 13, 22]))
    return one_node(
        "Conv", {"x": [batch, group * weights[1], *image]}, constants, None, opset, group=group, **attributes
    )


@given(convolutions())
def test_convolution(proto: Any) -> None:
    graph = check_against_onnxruntime(proto)
    assert [node.op.name for node in graph.nodes] == ["transpose", "conv2d", "transpose"]


@st.composite
def pools(draw: st.DrawFn) -> Any:
    op_type = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = draw(st.lists(small, min_size=2, max_size=2))
    image, attributes = draw(windows(kernel, True))
    opset = draw(st.sampled_from([10, 11, 12, 22] if op_type == "MaxPool" else [10, 11, 19, 22]))
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
        if opset < 19:
            attributes.pop("dilations", None)
    if "auto_pad" not in attributes:
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    return one_node(
        op_type,
        {"x": [draw(small), draw(small), *image]},
        None,
        None,
        opset,
        kernel_shape=kernel,
        **attributes,
    )


@given(pools())
def test_pool(proto: Any) -> None:
    check_against_onnxruntime(proto)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(op_type: str) -> None:
    graph = check_against_onnxruntime(one_node(op_type, {"x": [2, 3, 5, 4]}))
    assert len(graph.find("max_pool2d", "average_pool2d")) == 1


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [2], [3], [1], [0, 1], [1, 3], None])
def test_mean(axes: list[int] | None, opset: int, keepdims: int) -> None:
    shape = {"x": [2, 3, 4, 5]}
    if axes is None:
        proto = one_node("ReduceMean", shape, None, None, opset, keepdims=keepdims)
    elif opset >= 18:
        proto = one_node("ReduceMean", shape, {"axes": np.array(axes)}, None, opset, keepdims=keepdims)
    else:
        proto = one_node("ReduceMean", shape, None, None, opset, keepdims=keepdims, axes=axes)
    check_against_onnxruntime(proto)


@pytest.mark.parametrize("shape", [[7], [3, 4], [2, 3, 4], [1, 2, 3, 4, 5]])
def test_mean_of_other_ranks(shape: list[int]) -> None:
    for axis in range(len(shape)):
        check_against_onnxruntime(one_node("ReduceMean", {"x": shape}, axes=[axis], keepdims=0))


def test_mean_over_no_axes_is_the_identity_if_it_says_so() -> None:
    constants = {"axes": np.array([], np.int64)}
    proto = one_node("ReduceMean", {"x": [2, 3]}, constants, None, 18, noop_with_empty_axes=1)
    check_against_onnxruntime(proto)


# -- matrices -----------------------------------------------------------------------------------


@st.composite
def gemms(draw: st.DrawFn) -> Any:
    m, k, n = draw(small), draw(small), draw(small)
    trans_a, trans_b = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    a, b = ([k, m] if trans_a else [m, k]), ([n, k] if trans_b else [k, n])
    inputs: dict[str, list[int]] = {"a": a}
    constants: dict[str, Array] = {}
    if draw(st.booleans()):
        inputs["b"] = b
    else:
        constants["b"] = floats(*b)
    operands = ["a", "b"]
    c = draw(st.sampled_from([None, [n], [1, n], [m, n], [m, 1], [1], [1, 1], []]))
    opset = draw(st.sampled_from([11, 13]) if c is None else st.sampled_from([7, 9, 11, 13]))
    if c is not None:
        operands.append("c")
        if c and draw(st.booleans()):
            inputs["c"] = c
        else:
            constants["c"] = floats(*c)
    scales = {
        "alpha": draw(st.sampled_from([1.0, -2.0])),
        "beta": draw(st.sampled_from([1.0, 0.0, 3.0])),
    }
    return one_node("Gemm", inputs, constants, operands, opset, transA=trans_a, transB=trans_b, **scales)


@given(gemms())
def test_gemm(proto: Any) -> None:
    check_against_onnxruntime(proto)


SHAPES = [
    ([3, 4], [4, 5]),
    ([2, 3, 4], [4, 5]),
    ([1, 2, 3, 4], [4, 5]),
    ([4], [4, 5]),
    ([3, 4], [4]),
    ([4], [4]),
    ([2, 3, 4], [2, 4, 5]),
    ([2, 1, 3, 4], [3, 4, 5]),
    ([4], [2, 4, 5]),
    ([2, 3, 4], [4]),
]


@pytest.mark.parametrize("constant", ["neither", "left", "right"])
@pytest.mark.parametrize(("a", "b"), SHAPES, ids=str)
def test_matrix_product(a: list[int], b: list[int], constant: str) -> None:
    inputs = {"a": a, "b": b}
    constants = {}
    if constant != "neither":
        name = "a" if constant == "left" else "b"
        constants[name] = floats(*inputs.pop(name))
    graph = check_against_onnxruntime(one_node("MatMul", inputs, constants, ["a", "b"]))
    kinds = {node.op.name for node in graph.nodes} - {"reshape"}
    assert kinds == ({"linear"} if constant == "right" and len(b) <= 2 else {"matmul"})


BROADCAST = [([2, 3], [3]), ([1, 2, 1], [4, 1, 3]), ([2], []), ([], [2]), ([3], [3])]

# -- elementwise --------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(
    ("a", "b"), [([2, 3], [3]), ([1, 2, 1], [4, 1, 3]), ([2], []), ([], [2]), ([3], [3])]
)
def test_arithmetic(op_type: str, a: list[int], b: list[int], constant: bool) -> None:
    if constant:
        divisor = abs(floats(*b)) + 0.1
        check_against_onnxruntime(one_node(op_type, {"a": a}, {"b": divisor}))
    else:
        check_against_onnxruntime(one_node(op_type, {"a": a, "b": b}))
        check_against_onnxruntime(one_node(op_type, {"b": b}, {"a": floats(*a)}, ["a", "b"]))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_sum(count: int) -> None:
    shapes = [[2, 3], [3], [2, 1], [1]]
    check_against_onnxruntime(one_node("Sum", {f"x{i}": shapes[i] for i in range(count)}))


@pytest.mark.parametrize("opset", OPSETS)
def test_relu(opset: int) -> None:
    assert names(one_node("Relu", {"x": [2, 3]}, opset=opset)) == ["relu"]
    check_against_onnxruntime(one_node("Relu", {"x": [2, 3]}, opset=opset))


@pytest.mark.parametrize(
    ("lo", "hi"),
    [(0.0, 6.0), (None, 1.0), (-1.0, None), (0.0, None), (None, None), (2.0, 1.0), (1.0, 3.4e38)],
)
def test_clip(lo: float | None, hi: float | None) -> None:
    bounds = {name: value for name, value in (("min", lo), ("max", hi)) if value is not None}
    if (lo, hi) != (2.0, 1.0):  # which only newer opsets define
        check_against_onnxruntime(one_node("Clip", {"x": [4, 5]}, opset=7, **bounds))
    constants = {name: np.float32(value) for name, value in bounds.items()}
    operands = ["x", *("" if v is None else name for name, v in (("min", lo), ("max", hi)))]
    for opset in (11, 12, 13):
        check_against_onnxruntime(one_node("Clip", {"x": [4, 5]}, constants, operands, opset))


def test_clip_at_zero_is_relu_and_without_bounds_nothing() -> None:
    assert names(one_node("Clip", {"x": [2]}, opset=7, min=0.0)) == ["relu"]
    proto = one_node("Clip", {"x": [2]}, opset=7)
    assert names(proto) == ["copy"]  # an output that is an input needs something to define it


@pytest.mark.parametrize("shape", [[2, 3], [2, 3, 4], [1, 3, 4, 2], [1, 3, 2, 2, 2]])
@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization(shape: list[int], opset: int) -> None:
    constants = {name: floats(3, seed=i) for i, name in enumerate(("scale", "bias", "mean"))}
    constants["var"] = abs(floats(3)) + 0.5
    proto = one_node("BatchNormalization", {"x": shape}, constants, None, opset, epsilon=1e-3, momentum=0.5)
    check_against_onnxruntime(proto)


@pytest.mark.parametrize("shape", [[5], [2, 3], [2, 3, 4], [1, 3, 4, 2]])
@pytest.mark.parametrize("opset", [7, 11, 12, 13, 18])
def test_softmax(shape: list[int], opset: int) -> None:
    oldest = 0 if opset < 11 else -len(shape)
    for axis in range(oldest, len(shape)):
        check_against_onnxruntime(one_node("Softmax", {"x": shape}, opset=opset, axis=axis))
    if len(shape) > 1:
        check_against_onnxruntime(one_node("Softmax", {"x": shape}, opset=opset))


# -- moving elements ----------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_concat(axis: int) -> None:
    check_against_onnxruntime(
        one_node("Concat", {"a": [2, 3, 4], "b": [2, 3, 4]}, {"c": floats(2, 3, 4)}, None, 13, axis=axis)
    )


def test_concat_of_different_sizes_and_of_one() -> None:
    check_against_onnxruntime(one_node("Concat", {"a": [2, 3], "b": [2, 1]}, axis=1))
    check_against_onnxruntime(one_node("Concat", {"a": [2, 3]}, axis=1))


@pytest.mark.parametrize("amounts", [[0, 0, 1, 2, 0, 0, 3, 0], [1, 0, 0, 0, 0, 2, 0, 0], [0] * 8])
def test_pad(amounts: list[int]) -> None:
    shape = {"x": [1, 2, 3, 4]}
    check_against_onnxruntime(one_node("Pad", shape, opset=7, pads=amounts, value=0.5))
    check_against_onnxruntime(one_node("Pad", shape, opset=7, pads=amounts, mode="constant"))
    pads = np.array(amounts)
    for opset in (11, 13, 18):
        check_against_onnxruntime(one_node("Pad", shape, {"pads": pads}, opset=opset))
        filled = {"pads": pads, "value": np.float32(-1)}
        check_against_onnxruntime(one_node("Pad", shape, filled, opset=opset, mode="constant"))


def test_pad_of_chosen_axes() -> None:
    constants = {"pads": np.array([1, 2, 3, 4]), "value": np.float32(2), "axes": np.array([-1, 1])}
    check_against_onnxruntime(one_node("Pad", {"x": [1, 2, 3, 4]}, constants, opset=18))


@pytest.mark.parametrize("target", [[24], [-1], [2, -1], [0, 0, -1], [4, 3, 2], [0, -1, 2, 1], [0, 0, 0]])
def test_reshape(target: list[int]) -> None:
    for opset in (7, 13, 14):
        check_against_onnxruntime(
            one_node("Reshape", {"x": [2, 3, 4]}, {"shape": np.array(target)}, opset=opset)
        )


def test_flatten() -> None:
    for axis in (0, 1, 2, 3):
        check_against_onnxruntime(one_node("Flatten", {"x": [2, 3, 4]}, opset=9, axis=axis))
    for axis in (-1, -3, 1):
        check_against_onnxruntime(one_node("Flatten", {"x": [2, 3, 4]}, opset=13, axis=axis))
    check_against_onnxruntime(one_node("Flatten", {"x": [2, 3, 4]}))


@pytest.mark.parametrize("axes", [[0], [0, 2], [2, 0]])
def test_squeeze(axes: list[int]) -> None:
    check_against_onnxruntime(one_node("Squeeze", {"x": [1, 3, 1, 2]}, opset=11, axes=axes))
    check_against_onnxruntime(one_node("Squeeze", {"x": [1, 3, 1, 2]}, {"axes": np.array(axes)}))
    check_against_onnxruntime(one_node("Squeeze", {"x": [1, 3, 1, 2]}))


@pytest.mark.parametrize("axes", [[0], [1, 3], [3, 0], [4, 0, 2]])
def test_unsqueeze(axes: list[int]) -> None:
    check_against_onnxruntime(one_node("Unsqueeze", {"x": [3, 2]}, opset=11, axes=axes))
    check_against_onnxruntime(one_node("Unsqueeze", {"x": [3, 2]}, {"axes": np.array(axes)}))
    negative = [axis - len(axes) - 2 for axis in axes]
    check_against_onnxruntime(one_node("Unsqueeze", {"x": [3, 2]}, {"axes": np.array(negative)}))


@pytest.mark.parametrize("perm", [None, *itertools.permutations(range(3))], ids=str)
def test_transpose(perm: tuple[int, ...] | None) -> None:
    attributes = {} if perm is None else {"perm": perm}
    check_against_onnxruntime(one_node("Transpose", {"x": [2, 3, 4]}, **attributes))


bound = st.integers(-7, 7) | st.sampled_from([2**63 - 1, -(2**63)])


@given(st.lists(st.tuples(bound, bound, small), min_size=1, max_size=3), st.booleans())
def test_slice(bounds: list[tuple[int, int, int]], negative: bool) -> None:
    size = [5, 6, 4]
    if any(not len(range(*slice(*b).indices(d))) for b, d in zip(bounds, size, strict=False)):
        return
    starts, ends, steps = (np.array(column) for column in zip(*bounds, strict=True))
    axes = np.arange(len(bounds)) - (3 if negative else 0)
    constants = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    check_against_onnxruntime(one_node("Slice", {"x": size}, constants, opset=13))
    if not negative and set(steps) == {1}:
        old = {name: constants[name].tolist() for name in ("starts", "ends", "axes")}
        check_against_onnxruntime(one_node("Slice", {"x": size}, opset=9, **old))


def test_cast_of_floats_is_nothing() -> None:
    proto = one_node("Cast", {"x": [2]}, to=1)
    assert names(proto) == ["copy"]
    with pytest.raises(UnsupportedError):
        load_onnx(one_node("Cast", {"x": [2]}, to=10))


# -- what leaves no trace -----------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_and_identity(opset: int) -> None:
    ratio = {"ratio": 0.3} if opset < 12 else {}
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Dropout", ["a"], ["b", "mask"], **ratio),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 3]}, {}, ["y"], opset)
    assert names(proto) == ["relu"]
    check_against_onnxruntime(proto)


def shape_arithmetic() -> list[tuple[str, list[Any], dict[str, Array]]]:
    """Ways to write [6, 4] or another shape of 24 elements from the shape of x [2, 3, 4]."""
    node = helper.make_node

    def take(i: int, name: str) -> list[Any]:
        return [node("Gather", ["s", f"i{i}"], [name], axis=0)]

    numbers = {f"i{i}": np.array(i) for i in range(4)} | {"zero": np.array([0]), "one": np.array([1])}
    joined = [node("Unsqueeze", ["p", "zero"], ["pu"]), node("Unsqueeze", ["q", "zero"], ["qu"])]
    joined.append(node("Concat", ["pu", "qu"], ["t"], axis=0))
    product = [*take(0, "a"), *take(1, "b"), node("Mul", ["a", "b"], ["p"]), *take(2, "q"), *joined]
    half = [
        *take(2, "a"),
        node("Div", ["a", "i2"], ["p"]),
        node("Add", ["i3", "i3"], ["b"]),
        node("Mul", ["b", "i2"], ["q"]),
        *joined,
    ]
    sliced = [
        node("Slice", ["s", "one", "i3u", "zero"], ["tail"]),
        node("ConstantOfShape", ["one"], ["minus"], value=helper.make_tensor("v", 7, [1], [-1])),
        node("Concat", ["minus", "tail"], ["t"], axis=0),
    ]
    through_float = [
        node("Cast", ["s"], ["f"], to=1),
        node("Mul", ["f", "scale"], ["g"]),
        node("Cast", ["g"], ["t"], to=7),
    ]
    constants = [
        node("Constant", [], ["p"], value_int=6),
        node("Constant", [], ["q"], value=helper.make_tensor("v", 7, [], [4])),
        *joined,
    ]
    filled = [
        node("Expand", ["i2", "i3v"], ["twos"]),
        node("Equal", ["s", "twos"], ["is_two"]),
        node("Where", ["is_two", "one3", "s"], ["w"]),
        node("Constant", [], ["pairs"], value_ints=[2]),
        node("Concat", ["w", "pairs"], ["t"], axis=0),
    ]
    ranged = [
        node("Size", ["s"], ["three"]),
        node("Range", ["i2", "three", "i1"], ["r"]),
        node("Sub", ["r", "i3v"], ["t"]),
    ]
    extra = {
        "i3u": np.array([3]),
        "i3v": np.array([3]),
        "scale": np.array([2, 1, 0.5], np.float32),
        "one3": np.array([1, 1, 1]),
    }
    forms = {
        "product": product,
        "half": half,
        "sliced": sliced,
        "float": through_float,
        "constants": constants,
        "filled": filled,
        "ranged": ranged,
    }
    return [(name, nodes, numbers | extra) for name, nodes in forms.items()]


@pytest.mark.parametrize(("form", "nodes", "constants"), shape_arithmetic(), ids=lambda v: str(v)[:10])
def test_shape_arithmetic_folds(form: str, nodes: list[Any], constants: dict[str, Array]) -> None:
    first, last = helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Reshape", ["x", "t"], ["y"])
    proto = model([first, *nodes, last], {"x": [2, 3, 4]}, constants, ["y"])
    graph = check_against_onnxruntime(proto)
    assert {node.op.name for node in graph.nodes} <= {"reshape", "copy"}


def test_shape_between_two_axes() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=-2, end=3),
        helper.make_node("Concat", ["s", "two"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    check_against_onnxruntime(model(nodes, {"x": [2, 3, 4]}, {"two": np.array([2])}, ["y"], 15))


@pytest.mark.parametrize("a", [-7, 7])
@pytest.mark.parametrize("b", [-2, 2, 7])
def test_integer_division_rounds_toward_zero(a: int, b: int) -> None:
    nodes = [
        helper.make_node("Div", ["a", "b"], ["q"]),
        helper.make_node("Cast", ["q"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    check_against_onnxruntime(model(nodes, {"x": [1]}, {"a": np.array([a]), "b": np.array([b])}, ["y"]))


@pytest.mark.parametrize("divisor", [[1, 0], [1e-40, 1]])
def test_division_by_what_has_no_reciprocal(divisor: list[float]) -> None:
    """Zero, and a number whose reciprocal is too large for float32, are divided by as they are."""
    assert names(one_node("Div", {"x": [2]}, {"b": np.float32(divisor)})) == ["div"]
    check_against_onnxruntime(one_node("Div", {"x": [2]}, {"b": np.float32(divisor)}))


UNSUPPORTED: list[tuple[str, dict[str, list[int]], dict[str, Array], int, dict[str, Any]]] = [
    ("Conv", {"x": [1, 2, 5, 5]}, {"w": floats(1, 2, 3, 3)}, 13, {"pads": [-1, 0, 0, 0]}),
    ("MaxPool", {"x": [1, 2, 5]}, {}, 13, {"kernel_shape": [2], "pads": [2, 0]}),
    ("Pad", {"x": [2], "value": []}, {"pads": np.array([1, 0])}, 13, {}),
    ("BatchNormalization", {"x": [1, 1]}, {n: floats(1) for n in "abcd"}, 14, {"training_mode": 1}),
    ("BatchNormalization", {"x": [1, 1]}, {n: floats(1) for n in "abcd"}, 7, {"spatial": 0}),
    ("Dropout", {"x": [2]}, {"r": np.float32(0.5), "t": np.array(True)}, 13, {}),
    ("Relu", {"x": [2]}, {}, 13, {"slope": 0.1}),
    ("Relu", {"x": [2]}, {"z": floats(2)}, 13, {}),
]


@pytest.mark.parametrize(
    ("op_type", "inputs", "constants", "opset", "attributes"), UNSUPPORTED, ids=lambda v: str(v)[:20]
)
def test_unsupported_forms(
    op_type: str, inputs: dict[str, list[int]], constants: dict[str, Array], opset: int, attributes: Any
) -> None:
    order = ["x", *constants, "value"] if "value" in inputs else None
    with pytest.raises(UnsupportedError) as caught:
        load_onnx(one_node(op_type, inputs, constants, order, opset, **attributes))
    (culprit,) = caught.value.culprits
    assert (culprit.name, culprit.op) == ("node", op_type)
    assert culprit.reason


def test_every_supported_type_is_listed() -> None:
    assert {"Conv", "Gemm", "MatMul", "Softmax", "Identity", "Shape"} <= set(supported_op_types())
    assert supported_op_types() == sorted(supported_op_types())
