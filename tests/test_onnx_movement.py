"""Importers of the operators that move, select and rank elements, against ONNX Runtime over opsets and forms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from dnncc.errors import InvalidGraphError, UnsupportedError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.ir.verify import verify
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_models import floats, run_onnxruntime

Arrays = Mapping[str, Array]
OPSETS = [7, 9, 10, 11, 13, 16, 18, 21]


def model(
    op_type: str, inputs: Arrays, constants: Arrays, opset: int, outputs: int = 1, **attributes: Any
) -> onnx.ModelProto:
    """One node; operands are ordered as given, inputs first unless a name says otherwise by its position."""
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, [*inputs, *constants], names, name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "test",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(n) for n in names],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    # ONNX Runtime wants the outputs' types.
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    found = load_onnx(proto)
    for value, ours in zip(graph.output, found.outputs, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(ours.type.dtype.numpy)
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, None))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(
    op_type: str,
    inputs: Arrays,
    constants: Arrays | None = None,
    opset: int = 13,
    outputs: int = 1,
    atol: float = 1e-5,
    **attributes: Any,
) -> Graph:
    """The interpreter's values are ONNX Runtime's: integers exactly."""
    proto = model(op_type, inputs, constants or {}, opset, outputs, **attributes)
    graph = load_onnx(proto)
    verify(graph)
    found = interpret(graph, [inputs[v.name] for v in graph.inputs])
    for ours, theirs in zip(found, run_onnxruntime(proto, inputs), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)
        else:
            np.testing.assert_array_equal(ours, theirs)
    return graph


def ids(*values: Any) -> Array:
    return np.array(values, np.int64)


X = {"x": floats(2, 5, 6, 4)}
BYTES = {"x": np.arange(-60, 60, dtype=np.int8).reshape(2, 3, 5, 4)}


@pytest.mark.parametrize("opset", OPSETS)
def test_split(opset: int) -> None:
    for axis, lengths in ((1, [2, 3]), (-2, [1, 2, 3]), (3, [4])):
        if opset >= 13:
            check("Split", X, {"n": ids(*lengths)}, opset, len(lengths), axis=axis)
        else:
            check("Split", X, None, opset, len(lengths), axis=axis, split=lengths)
    if opset < 18:
        check("Split", X, None, opset, 3, axis=2)
    else:
        check("Split", X, None, opset, 2, axis=1, num_outputs=2)


def test_parts_of_a_split_that_do_not_fit_are_refused() -> None:
    for lengths in ([2, 2], [6, -1]):
        with pytest.raises(InvalidGraphError):
            check("Split", X, {"n": ids(*lengths)}, 13, 2, axis=1)


@pytest.mark.parametrize("opset", [10, 13])
@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, -1], [-1, -100], [1, 2], [2, -2]),
        ([3, 4], [0, -6], [3, 1], [-1, -1]),
        ([2**63 - 1], [-(2**63)], [2], [-3]),
        ([-(2**63)], [2**63 - 1], [-1], [3]),
        ([5], [1], [-2], [-1]),
    ],
)
def test_slice(opset: int, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
    bounds = {"s": ids(*starts), "e": ids(*ends), "a": ids(*axes), "t": ids(*steps)}
    check("Slice", X, bounds, opset)
    check("Slice", {"x": floats(6, 6, 6, 6).astype(np.int32)}, bounds, opset)


MODES = ["constant", "reflect", "edge", "wrap"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pads", [[0, 1, 2, 3, 0, 2, 1, 0], [0, -1, 2, 0, 1, 0, -2, -1], [0] * 8])
def test_pad(mode: str, pads: list[int]) -> None:
    opset = 19 if mode == "wrap" else 13
    if mode == "reflect":
        pads = [min(p, 1) for p in pads]
    if mode == "wrap":
        pads = [max(p, 0) for p in pads]  # ONNX Runtime does not cut off before it wraps
    check("Pad", X, {"p": ids(*pads)}, opset, mode=mode)
    check("Pad", BYTES, {"p": ids(*pads), "v": np.array(7, np.int8)}, opset, mode=mode)
    if mode != "wrap":
        check("Pad", X, None, 10, mode=mode, pads=pads)


def test_pad_along_some_axes() -> None:
    given = {"p": ids(1, 2, 0, 1), "v": np.array(1.5, np.float32), "a": ids(-1, 1)}
    check("Pad", X, given, 18)


@pytest.mark.parametrize("opset", OPSETS)
def test_gather(opset: int) -> None:
    for axis, indices in ((1, ids(4, 0, 0)), (0, ids(1)), (3, ids([0, 1], [3, 2])), (2, np.array(3))):
        check("Gather", X, {"i": indices}, opset, axis=axis)
        check("Gather", X | {"i": indices}, None, opset, axis=axis)
        check("Gather", BYTES | {"i": np.asarray(np.minimum(indices, 1), np.int32)}, None, opset, axis=axis)
    check("Gather", X, {"i": ids(-1, -2)}, max(opset, 11), axis=-2)


def test_table_lookup_at_run_time() -> None:
    table, i = floats(7, 3), ids([2, 0], [-1, 6])
    node = helper.make_node("Gather", ["t", "i"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("i", onnx.TensorProto.INT64, i.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "t")],
    )
    made = load_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    np.testing.assert_array_equal(interpret(made, [i])[0], table[i])


def test_indices_outside_are_refused_where_they_are_known() -> None:
    for op_type, indices in (("Gather", ids(5)), ("GatherElements", np.full((2, 5, 6, 4), -6))):
        with pytest.raises(InvalidGraphError, match="outside 5 elements"):
            check(op_type, X, {"i": indices}, axis=1)


@pytest.mark.parametrize("known", [False, True])
def test_gathers_of_elements_and_tuples(known: bool) -> None:
    def run(op_type: str, indices: Array, **attributes: Any) -> None:
        for x in (X, BYTES):
            i = np.minimum(indices, 2) if x is BYTES else indices
            check(op_type, x if known else x | {"i": i}, {"i": i} if known else None, **attributes)

    rng = np.random.default_rng(0)
    for axis in (0, 1, -1):
        size = [2, 5, 6, 4][axis]
        run("GatherElements", rng.integers(-2, min(size, 2), (2, 2, 3, 2)), axis=axis)
    for shape in ((3, 2), (2, 2, 4), (1,)):
        run("GatherND", rng.integers(-2, 2, shape))
    run("GatherND", rng.integers(-2, 2, (2, 3, 2)), batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
def test_scatters(reduction: str) -> None:
    rng = np.random.default_rng(0)
    extra = {} if reduction == "none" else {"reduction": reduction}
    opset = 18 if extra else 13
    for dtype in (np.float32, np.int32):
        x = (rng.normal(0, 5, (4, 5, 3))).astype(dtype)
        for axis in (0, -2):
            # Without a reduction no place may come twice.
            i = (
                np.array([[[-1, 2, 0]], [[1, 0, 2]]])
                if reduction == "none"
                else rng.integers(-4, 4, (2, 3, 2))
            )
            u = rng.normal(0, 5, i.shape).astype(dtype)
            check("ScatterElements", {"x": x, "i": i, "u": u}, None, opset, axis=axis, **extra)
        i = ids([0, 1], [-1, 2]) if reduction == "none" else ids([0, 1], [-1, 2], [0, 1])
        u = rng.normal(0, 5, (len(i), 3)).astype(dtype)
        check("ScatterND", {"x": x, "i": i, "u": u}, None, opset, **extra)
    if not extra:
        check("Scatter", {"x": floats(3, 3), "i": ids([0, 2, 1]), "u": floats(1, 3)}, None, 9, axis=0)


@pytest.mark.parametrize("opset", [8, 13])
def test_expand_and_tile(opset: int) -> None:
    for shape in ([3, 4], [2, 1, 4], [1, 1], [5, 3, 1]):
        check("Expand", {"x": floats(3, 1)}, {"s": ids(*shape)}, opset)
    check("Expand", {"x": np.array(3, np.int32)}, {"s": ids(2, 2)}, opset)
    for x in (X, BYTES):
        for repeats in ([1, 2, 1, 3], [2, 1, 1, 1], [1, 1, 1, 1]):
            check("Tile", x, {"r": ids(*repeats)}, opset)


@pytest.mark.parametrize("opset", [7, 13])
def test_blocks(opset: int) -> None:
    x = {"x": floats(2, 12, 4, 6)}
    check("SpaceToDepth", x, None, opset, blocksize=2)
    check("DepthToSpace", x, None, opset, blocksize=2)
    for mode in ("DCR", "CRD"):
        check("DepthToSpace", x, None, max(opset, 11), blocksize=2, mode=mode)


COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
ROUNDING = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def image(dtype: Any = np.float32) -> Arrays:
    return {"x": floats(1, 2, 5, 7).astype(dtype)}


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(("height", "width"), [(10, 14), (3, 4), (5, 20), (1, 13), (15, 7)])
def test_resize_to_sizes(coordinates: str, height: int, width: int) -> None:
    opset = 19 if coordinates == "half_pixel_symmetric" else 13
    empty = {"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "z": ids(1, 2, height, width)}
    # Rounding in ONNX Runtime's last bit decides ties of coordinates that should be equal to half_pixel's.
    for rounding in ROUNDING if coordinates != "half_pixel_symmetric" else ():
        check(
            "Resize", image(), empty, opset, coordinate_transformation_mode=coordinates, nearest_mode=rounding
        )
    for mode in ("linear", "cubic"):
        more: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
        check("Resize", image(), empty, opset, **more)
    check(
        "Resize",
        image(),
        empty,
        opset,
        mode="cubic",
        exclude_outside=1,
        cubic_coeff_a=-0.5,
        coordinate_transformation_mode=coordinates,
    )


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 3, 1], [1, 1, 0.5, 0.7], [1, 1, 1.6, 2.5]])
def test_resize_by_scales(mode: str, scales: list[float]) -> None:
    factors = np.array(scales, np.float32)
    none = {"r": np.zeros(0, np.float32)}
    check("Resize", image(), none | {"s": factors}, 13, mode=mode)
    check("Resize", image(), {"s": factors}, 10, mode=mode)
    if min(scales) >= 1:
        check("Upsample", image(), {"s": factors}, 9, mode=mode)
        check("Upsample", image(), None, 7, mode=mode, scales=[float(s) for s in scales])
    check(
        "Resize",
        image(),
        none | {"s": factors},
        11,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    if mode == "nearest":
        check(
            "Resize",
            image(),
            none | {"s": factors},
            11,
            coordinate_transformation_mode="tf_half_pixel_for_nn",
        )


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_of_a_region(mode: str) -> None:
    given = {
        "r": np.array([0, 0, 0.4, -0.2, 1, 1, 0.6, 1.3], np.float32),
        "s": np.zeros(0, np.float32),
        "z": ids(1, 2, 3, 6),
    }
    crop = "tf_crop_and_resize"
    check(
        "Resize", image(), given, 13, mode=mode, coordinate_transformation_mode=crop, extrapolation_value=9.0
    )


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_along_some_axes(policy: str) -> None:
    given = {"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "z": ids(8, 9)}
    more: dict[str, Any] = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    for mode in ("nearest", "linear"):
        check("Resize", image(), given, 18, mode=mode, **more)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_with_antialias(mode: str) -> None:
    given = {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 0.4, 0.5], np.float32)}
    check("Resize", {"x": floats(1, 1, 20, 12)}, given, 18, mode=mode, antialias=1, exclude_outside=1)


def test_resize_of_other_ranks() -> None:
    none = {"r": np.zeros(0, np.float32)}
    for shape, scales in (((9,), [2.0]), ((3, 5), [1.5, 2.0]), ((1, 2, 3, 4, 5), [1, 1, 2.0, 1.5, 2.0])):
        given = none | {"s": np.array(scales, np.float32)}
        for mode in ("nearest", "linear") if len(shape) > 1 else ("nearest",):
            check("Resize", {"x": floats(*shape)}, given, 13, mode=mode)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample(padding: str, align: int) -> None:
    given = {"x": floats(2, 3, 4, 5), "g": floats(2, 6, 7, 2) / 2}
    for mode in ("bilinear", "nearest", "bicubic"):
        check("GridSample", given, None, 16, mode=mode, padding_mode=padding, align_corners=align, atol=1e-4)
    volume = {"x": floats(1, 2, 3, 4, 5), "g": floats(1, 3, 2, 4, 3) / 2}
    for mode in ("linear", "nearest"):
        check("GridSample", volume, None, 20, mode=mode, padding_mode=padding, align_corners=align, atol=1e-4)


@pytest.mark.parametrize("align", [0, 1])
def test_affine_grid(align: int) -> None:
    check("AffineGrid", {"x": floats(2, 2, 3)}, {"s": ids(2, 1, 4, 5)}, 20, align_corners=align)
    check("AffineGrid", {"x": floats(1, 3, 4)}, {"s": ids(1, 1, 2, 4, 3)}, 20, align_corners=align)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_top_k(largest: int, axis: int) -> None:
    for x in (floats(4, 6, 5), np.random.default_rng(0).integers(-3, 3, (4, 6, 5)).astype(np.int32)):
        for k in (1, 4):
            check("TopK", {"x": x}, {"k": ids(k)}, 11, 2, axis=axis, largest=largest)
    check("TopK", X, None, 7, 2, axis=axis, k=2)
    check("TopK", X, {"k": ids(2)}, 10, 2, axis=axis)


@pytest.mark.parametrize("center", [0, 1])
def test_non_max_suppression(center: int) -> None:
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 8, (2, 12, 2)), rng.uniform(1, 5, (2, 12, 2))
    box = np.concatenate([corner, size if center else corner + size], 2).astype(np.float32)
    scores = rng.normal(0, 1, (2, 3, 12)).astype(np.float32)
    for limit, iou, score in itertools.product((2, 12), (0.1, 0.5), (None, 0.2)):
        given = {"n": ids(limit), "iou": np.array([iou], np.float32)}
        if score is not None:
            given["score"] = np.array([score], np.float32)
        inputs = {"box": box, "scores": scores}
        proto = model("NonMaxSuppression", inputs, given, 11, center_point_box=center)
        (theirs,) = run_onnxruntime(proto, inputs)
        (ours,) = interpret(load_onnx(proto), [box, scores])
        assert ours.shape == (2 * 3 * limit, 3)
        np.testing.assert_array_equal(ours[: len(theirs)], theirs)
        assert (ours[len(theirs) :] == -1).all()
        # The model may say how many rows it wants, and what is known is calculated at once.
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", onnx.TensorProto.INT64, [5, 3]))
        np.testing.assert_array_equal(interpret(load_onnx(proto), [box, scores])[0], ours[:5])
        known = load_onnx(model("NonMaxSuppression", {}, inputs | given, 11, center_point_box=center))
        np.testing.assert_array_equal(interpret(known, [])[0], theirs)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align(mode: str, coordinates: str) -> None:
    box = np.array([[1, 2, 9, 8], [-3, -3, 20, 4], [0, 0, 3, 3], [4, 4, 12, 11]], np.float32)
    given = {"x": floats(2, 3, 6, 5), "b": box, "i": ids(0, 1, 1, 0)}
    size = {"output_height": 3, "output_width": 2, "spatial_scale": 0.5, "mode": mode}
    for samples in (0, 2):
        more = size | {"sampling_ratio": samples}
        check("RoiAlign", given, None, 16, coordinate_transformation_mode=coordinates, **more)
        check("RoiAlign", given, None, 10, **more)


def test_the_rest() -> None:
    check(
        "MaxUnpool",
        {"x": floats(1, 1, 2, 2), "i": ids([[[1, 3], [4, 15]]])},
        None,
        11,
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    for pads in ([0, 0, 0, 0], [0, 1, 2, 1]):
        n = (5 + pads[0] + pads[2]) * (5 + pads[1] + pads[3] - 2)
        check("Col2Im", {"x": floats(2, 6, n)}, {"s": ids(5, 5), "b": ids(1, 3)}, 18, pads=pads)
    for upper in (0, 1):
        for k in (-2, 0, 1, 9):
            check("Trilu", {"x": floats(2, 4, 5)}, {"k": np.array(k)}, 14, upper=upper)
        check("Trilu", {"x": floats(3, 3)}, None, 14, upper=upper)
    check("ReverseSequence", {"x": floats(5, 3, 2), "n": ids(2, 5, 1)}, None, 10)
    check("ReverseSequence", {"x": floats(3, 5)}, {"n": ids(2, 5, 1)}, 10, batch_axis=0, time_axis=1)
    for axis in (-1, 0, 1):
        off_on = np.array([-1.5, 2], np.float32)
        check("OneHot", {"i": ids([0, 5], [-1, 2])}, {"d": ids(4), "v": off_on}, 11, axis=axis)
    check("EyeLike", {"x": floats(3, 5)}, None, 9, k=1)
    check("Compress", X, {"c": np.array([True, False, True])}, 9, axis=1)
    check("Compress", {"x": floats(3, 2)}, {"c": np.array([False, True, False, True, True])}, 9)
    check("CenterCropPad", {"x": floats(4, 7)}, {"s": ids(6, 4)}, 18)
    check("CenterCropPad", {"x": floats(4, 7)}, {"s": ids(3)}, 18, axes=[-1])


@given(st.data())
def test_random_slices_and_reshapes(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    axis = data.draw(st.integers(0, len(shape) - 1))
    start, end = (data.draw(st.integers(-7, 7)) for _ in range(2))
    step = data.draw(st.sampled_from([-3, -2, -1, 1, 2]))
    if not len(range(*slice(start, end, step).indices(shape[axis]))):
        return
    bounds = {"s": ids(start), "e": ids(end), "a": ids(axis), "t": ids(step)}
    check("Slice", {"x": floats(*shape)}, bounds)


@pytest.mark.parametrize("op_type", ["RandomNormal", "Bernoulli", "OptionalHasElement", "Multinomial"])
def test_what_no_artifact_can_hold_is_refused(op_type: str) -> None:
    attributes: dict[str, Any] = {"shape": [2]} if op_type == "RandomNormal" else {}
    with pytest.raises(UnsupportedError, match="not supported"):
        check(op_type, {} if attributes else {"x": floats(2, 3)}, None, 15, **attributes)


def test_shapes_that_depend_on_data_are_refused() -> None:
    forms: Sequence[tuple[str, Arrays, Arrays]] = [
        ("NonZero", X, {}),
        ("Unique", X, {}),
        ("Compress", {"x": floats(3), "c": np.array([True, False, True])}, {}),
        ("Expand", {"x": floats(1), "s": ids(3)}, {}),
        ("Tile", {"x": floats(1), "r": ids(3)}, {}),
        ("TopK", {"x": floats(3), "k": ids(1)}, {}),
    ]
    for op_type, inputs, constants in forms:
        with pytest.raises(UnsupportedError, match="must be a constant"):
            check(op_type, inputs, constants, 13)
