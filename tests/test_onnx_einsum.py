"""Einsum, norms under windows and positions of maxima against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from dnncc.errors import InvalidGraphError
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from onnx import TensorProto, helper
from onnx_models import check_against_onnxruntime, floats, one_node

EQUATIONS = [
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ii->i", [(3, 3)]),
    ("iji->j", [(3, 2, 3)]),
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 5, 4)]),
    ("bij,bjk->bik", [(2, 2, 3), (2, 3, 4)]),
    ("i,j->ij", [(2,), (3,)]),
    ("i,i->", [(4,), (4,)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("ij,kl->ijkl", [(2, 3), (1, 2)]),
    ("ij,j->i", [(2, 3), (3,)]),
    ("abc,cd->", [(2, 3, 4), (4, 2)]),
    ("...ij,...jk->...ik", [(2, 2, 3), (2, 3, 4)]),
    ("...ij,jk->...ik", [(2, 2, 3), (3, 4)]),
    ("i...->...", [(2, 3, 4)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    ("ij,ik,il->jkl", [(2, 3), (2, 2), (2, 4)]),
    ("b i d , b j d -> b i j", [(1, 2, 3), (1, 4, 3)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
@pytest.mark.parametrize("weights", [False, True])
def test_einsum(equation: str, shapes: list[tuple[int, ...]], weights: bool) -> None:
    names = {f"x{i}": list(shape) for i, shape in enumerate(shapes)}
    constants = {}
    if weights and len(shapes) > 1:
        last = list(names)[-1]
        constants[last] = floats(*names.pop(last))
    check_against_onnxruntime(one_node("Einsum", names, constants, equation=equation))


@pytest.mark.parametrize("equation", ["ij,jk->iz", "ij->jk", "ij,jk,kl->il", "i->i", "ij,jj->ii"])
def test_equations_that_mean_nothing(equation: str) -> None:
    with pytest.raises(InvalidGraphError):
        load_onnx(one_node("Einsum", {"a": [2, 3], "b": [4, 5]}, equation=equation))


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1]}, {"pads": [1, 0, 1, 1]}])
def test_lp_pool(p: int, attributes: dict[str, Any]) -> None:
    kernel = {"kernel_shape": [2, 3], "p": p}
    check_against_onnxruntime(one_node("LpPool", {"x": [1, 2, 5, 6]}, opset=18, **kernel, **attributes))
    check_against_onnxruntime(one_node("GlobalLpPool", {"x": [1, 2, 3, 4]}, p=p))


@pytest.mark.parametrize("storage_order", [0, 1])
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ([1, 2, 5, 6], {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
        ([2, 2, 7], {"kernel_shape": [3], "dilations": [2]}),
        ([1, 1, 4, 4], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_positions_of_maxima(shape: list[int], attributes: dict[str, Any], storage_order: int) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], storage_order=storage_order, **attributes)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("i", TensorProto.INT64, None),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = floats(*shape)
    wanted = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    for ours, theirs in zip(interpret(load_onnx(proto), [x]), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_operators_that_onnx_defines_by_others() -> None:
    """Attention and a loss: no importer knows them, their definitions do."""
    q, k, v = ([1, 2, 4, 6], [1, 2, 5, 6], [1, 2, 5, 3])
    proto = one_node("Attention", {"q": q, "k": k, "v": v}, opset=23)
    check_against_onnxruntime(proto)
    assert "softmax" in {n.op.name for n in load_onnx(proto).nodes}
    target = np.array([[0, 2], [1, 1]])
    check_against_onnxruntime(
        one_node("SoftmaxCrossEntropyLoss", {"x": [2, 3, 2]}, {"t": target}, reduction="sum")
    )


def test_functions_of_the_model_itself() -> None:
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["c"], value_float=1.0),
            helper.make_node("LeakyRelu", ["a"], ["d"]),
            helper.make_node("Add", ["d", "c"], ["b"]),
        ],
        [helper.make_opsetid("", 13)],
        ["alpha"],
    )
    function.node[1].attribute.add(name="alpha", ref_attr_name="alpha", type=1)
    proto = one_node("Relu", {"x": [3]})
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.graph.node[0].CopyFrom(
        helper.make_node("Twice", ["x"], ["y"], domain="local", name="n", alpha=0.25)
    )
    check_against_onnxruntime(proto)
