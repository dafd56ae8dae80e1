"""Convolutions and pools over one to three axes against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dnncc.errors import InvalidGraphError, UnsupportedError
from dnncc.frontends.onnx import load_onnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_models import check_against_onnxruntime, floats, one_node

small = st.integers(1, 3)
AUTO = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


@st.composite
def windows(
    draw: st.DrawFn, rank: int, pooling: bool, dilated: bool = True
) -> tuple[list[int], list[int], dict[str, Any]]:
    """Kernel, image and attributes of a window that ONNX Runtime takes."""
    kernel = draw(st.lists(small, min_size=rank, max_size=rank))
    strides = draw(st.lists(small, min_size=rank, max_size=rank))
    dilations = draw(st.lists(small, min_size=rank, max_size=rank)) if dilated else [1] * rank
    attributes: dict[str, Any] = {"strides": strides}
    if dilated:
        attributes["dilations"] = dilations
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    image = [draw(st.integers(e, e + 4)) for e in extent]
    mode = draw(st.sampled_from(AUTO))
    if mode == "NOTSET":
        limits = [k - 1 if pooling else 3 for k in kernel] * 2
        attributes["pads"] = [draw(st.integers(0, limit)) for limit in limits]
    elif mode == "VALID" or (
        set(dilations) == {1} and all(s <= k for s, k in zip(strides, kernel, strict=True))
    ):
        attributes["auto_pad"] = mode
    return kernel, image, attributes


@st.composite
def convolutions(draw: st.DrawFn, rank: int) -> Any:
    group = draw(small)
    kernel, image, attributes = draw(windows(rank, False))
    weights = [group * draw(st.integers(1, 2)), draw(small), *kernel]
    x = {"x": [draw(st.integers(1, 2)), group * weights[1], *image]}
    operands = {"w": floats(*weights)}
    if draw(st.booleans()):
        operands["b"] = floats(weights[0])
    opset = draw(st.sampled_from([7, 11, 22]))
    if draw(st.booleans()):
        return one_node("Conv", x, operands, None, opset, group=group, **attributes)
    given_too = {name: list(data.shape) for name, data in operands.items()}
    return one_node("Conv", x | given_too, None, None, opset, group=group, **attributes)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank: int) -> None:
    @settings(max_examples=40)
    @given(convolutions(rank))
    def check(proto: Any) -> None:
        graph = check_against_onnxruntime(proto)
        assert [node.op.name for node in graph.nodes if node.macs] == ["conv2d"]

    check()


@st.composite
def transposed(draw: st.DrawFn) -> Any:
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    group, per_group = draw(small), draw(st.integers(1, 2))
    kernel = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    strides, dilations = (draw(st.lists(small, min_size=rank, max_size=rank)) for _ in range(2))
    image = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": group}
    sizes = zip(image, kernel, strides, dilations, strict=True)
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in sizes]
    mode = draw(st.sampled_from(["pads", "pads", "auto", "shape"]))
    if mode == "pads":
        pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
        assume(all(w > pads[i] + pads[rank + i] for i, w in enumerate(whole)))
        attributes["pads"] = pads
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    elif mode == "auto":
        attributes["auto_pad"] = draw(st.sampled_from(AUTO[1:]))
    else:
        attributes["output_shape"] = [draw(st.integers(max(w - 2, 1), w)) for w in whole]
        if draw(st.booleans()):
            attributes["auto_pad"] = draw(st.sampled_from(AUTO[2:]))
    channels = group * draw(st.integers(1, 2))
    x = {"x": [draw(st.integers(1, 2)), channels, *image]}
    operands = {"w": floats(channels, per_group, *kernel)}
    if draw(st.booleans()):
        operands["b"] = floats(group * per_group)
    opset = draw(st.sampled_from([7, 11, 22]))
    if draw(st.booleans()):
        return one_node("ConvTranspose", x, operands, None, opset, **attributes)
    given_too = {name: list(data.shape) for name, data in operands.items()}
    return one_node("ConvTranspose", x | given_too, None, None, opset, **attributes)


@settings(max_examples=120)
@given(transposed())
def test_transposed_convolution(proto: Any) -> None:
    check_against_onnxruntime(proto)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "extra"),
    [(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (5, 3, 1, 2), (3, 1, 1, 0)],
)
def test_no_inserted_zero_is_multiplied(kernel: int, stride: int, pads: int, extra: int) -> None:
    """As many products as the definition has: each input with each tap, but for what falls off the border."""
    proto = one_node(
        "ConvTranspose",
        {"x": [1, 4, 6, 6]},
        {"w": floats(4, 3, kernel, kernel)},
        None,
        13,
        strides=[stride] * 2,
        pads=[pads] * 4,
        output_padding=[extra] * 2,
    )
    graph = load_onnx(proto)
    output = stride * 5 + kernel - 2 * pads + extra
    # An output meets ceil(kernel / stride) taps at most; every phase has as many outputs as the longest.
    phases = -(-output // stride) * stride
    taps = sum(len(range(p, kernel, stride)) for p in range(stride)) * phases // stride
    assert sum(node.macs for node in graph.nodes) == (taps**2) * 4 * 3


@st.composite
def pools(draw: st.DrawFn, rank: int) -> Any:
    op_type = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    opset = draw(st.sampled_from([7, 8, 10, 11, 12, 19, 22]))
    dilated = opset >= (10 if op_type == "MaxPool" else 19)
    kernel, image, attributes = draw(windows(rank, True, dilated))
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    if "auto_pad" not in attributes and opset >= 10:
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    shape = [draw(st.integers(1, 2)), draw(small), *image]
    return one_node(op_type, {"x": shape}, None, None, opset, kernel_shape=kernel, **attributes)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pool(rank: int) -> None:
    @settings(max_examples=80)
    @given(pools(rank))
    def check(proto: Any) -> None:
        try:
            check_against_onnxruntime(proto)
        except UnsupportedError as error:
            assert "lies in the padding" in error.culprits[0].reason

    check()


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("spatial", [[5], [4, 5], [2, 3, 4]])
def test_global_pool(op_type: str, spatial: list[int]) -> None:
    check_against_onnxruntime(one_node(op_type, {"x": [2, 3, *spatial]}))


@pytest.mark.parametrize(
    ("op_type", "shape", "w", "attributes"),
    [
        ("Conv", [1, 2, 5], (1, 3, 3), {}),
        ("Conv", [1, 2, 5], (1, 2, 6), {}),
        ("Conv", [1, 2, 5], (1, 2, 3), {"strides": [1, 1]}),
        ("Conv", [1, 2, 5], (1, 2, 3), {"pads": [1, 1, 1]}),
        ("Conv", [1, 4, 5], (3, 2, 3), {"group": 2}),
        ("Conv", [1, 2, 5, 5], (1, 2, 3), {}),
        ("Conv", [1, 2], (1, 2), {}),
        ("ConvTranspose", [1, 2, 5], (3, 2, 3), {}),
        ("ConvTranspose", [1, 2, 5], (2, 2, 3), {"group": 3}),
        ("ConvTranspose", [1, 2, 1], (2, 2, 3), {"pads": [3, 3]}),
        ("ConvTranspose", [1, 2, 5], (2, 2, 3), {"output_shape": [0]}),
        ("ConvTranspose", [1, 2, 5], (2, 2, 3), {"kernel_shape": [4]}),
    ],
)
def test_what_no_version_allows(
    op_type: str, shape: list[int], w: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidGraphError) as caught:
        load_onnx(one_node(op_type, {"x": shape}, {"w": np.zeros(w, np.float32)}, None, 13, **attributes))
    assert caught.value.culprits[0].name == "node"
