"""If, Loop, Scan and sequences that are known on import, against ONNX Runtime; what is not is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from dnncc.errors import DnnccError, InvalidGraphError, UnsupportedError
from dnncc.frontends.onnx import load_onnx
from dnncc.ir.types import Array
from onnx import TensorProto, helper, numpy_helper
from onnx_models import check_against_onnxruntime, floats

F, N, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def info(name: str, kind: int = F, shape: list[int] | None = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> Any:
    held = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    return helper.make_graph(nodes, "body", inputs, outputs, held)


def model(
    nodes: list[Any], outputs: list[str], shape: list[int], opset: int = 13, **constants: Array
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", [info("x", F, shape)], [info(o) for o in outputs], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def branches() -> dict[str, Any]:
    yes = body([node("Mul", ["x", "two"], ["a"])], [], [info("a")], two=np.float32(2))
    no = body([node("Add", ["x", "w"], ["b"]), node("Relu", ["b"], ["c"])], [], [info("c")])
    return {"then_branch": yes, "else_branch": no}


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_that_is_taken(taken: bool) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Size", ["s"], ["n"]),
        node("Equal", ["n", "rank"], ["cond"]),
        node("If", ["cond"], ["y"], name="if", **branches()),
    ]
    graph = check_against_onnxruntime(
        model(nodes, ["y"], [2, 3], rank=np.array(2 if taken else 3), w=floats(3))
    )
    assert [n.op.name for n in graph.nodes] == (["mul"] if taken else ["add", "relu"])


def loop(condition: str = "keep") -> Any:
    """state = state + x * i; rows of it; as long as the body says."""
    nodes = [
        node("Cast", ["i"], ["f"], to=F),
        node("Mul", ["x", "f"], ["p"]),
        node("Add", ["s", "p"], ["t"]),
        node("Sub", ["last", "i"], ["left"]),
        node("Cast", ["left"], ["keep"], to=B),
        node("ReduceMean", ["t"], ["m"], keepdims=0),
        node("Cast", ["m"], ["unknown"], to=B),
        node("Identity", ["t"], ["row"]),
    ]
    inputs = [info("i", N, []), info("c", B, []), info("s")]
    return body(nodes, inputs, [info(condition, B), info("t"), info("row")], last=np.array(3))


@pytest.mark.parametrize(("count", "steps"), [(2, 2), (9, 4), (None, 4)])
def test_a_loop_is_unrolled(count: int | None, steps: int) -> None:
    operands = ["" if count is None else "n", "yes", "x"]
    constants = {"yes": np.array(True)} | ({} if count is None else {"n": np.array(count)})
    nodes = [node("Loop", operands, ["y", "rows"], name="loop", body=loop())]
    graph = check_against_onnxruntime(model(nodes, ["y", "rows"], [2, 3], **constants))
    assert graph.outputs[1].type.shape == (steps, 2, 3)


def test_loops_that_are_not_known_or_do_not_end_are_refused() -> None:
    nodes = [node("Loop", ["n", "", "x"], ["y", "rows"], body=loop("unknown"))]
    with pytest.raises(UnsupportedError, match="depends on what the network is given"):
        load_onnx(model(nodes, ["y"], [2], n=np.array(3)))
    forever = body([], [info("i", N, []), info("c", B, []), info("s")], [info("c", B), info("s")])
    with pytest.raises(UnsupportedError, match="nodes when unrolled"):
        load_onnx(model([node("Loop", ["", "", "x"], ["y"], body=forever)], ["y"], [2]))
    with pytest.raises(UnsupportedError, match="must be a constant"):
        nodes = [node("Cast", ["x"], ["c"], to=B), node("If", ["c"], ["y"], **branches())]
        load_onnx(model(nodes, ["y"], [1], w=floats(1)))


def test_an_unsupported_node_in_a_body_is_named() -> None:
    inner = body([node("Bernoulli", ["x"], ["a"], name="coin")], [], [info("a")])
    nodes = [node("If", ["c"], ["y"], name="if", then_branch=inner, else_branch=inner)]
    with pytest.raises(UnsupportedError) as caught:
        load_onnx(model(nodes, ["y"], [2], 15, c=np.array(True)))
    assert [(c.name, c.op) for c in caught.value.culprits] == [("if/coin", "Bernoulli")]


def test_bodies_that_make_no_sense_are_refused() -> None:
    dangling = body([node("Relu", ["nowhere"], ["a"])], [], [info("a")])
    more = body([node("Relu", ["x"], ["a"])], [info("b")], [info("a")])
    for inner in (dangling, more):
        nodes = [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
        with pytest.raises(InvalidGraphError):
            load_onnx(model(nodes, ["y"], [2], c=np.array(True)))


def test_loops_in_loops() -> None:
    inner = body(
        [node("Add", ["t", "x"], ["u"]), node("Identity", ["d"], ["e"])],
        [info("j", N, []), info("d", B, []), info("t")],
        [info("e", B), info("u")],
    )
    outer = body(
        [node("Loop", ["n", "", "s"], ["v"], name="inner", body=inner), node("Identity", ["c"], ["g"])],
        [info("i", N, []), info("c", B, []), info("s")],
        [info("g", B), info("v")],
    )
    nodes = [node("Loop", ["n", "", "x"], ["y"], name="outer", body=outer)]
    graph = check_against_onnxruntime(model(nodes, ["y"], [3], n=np.array(2)))
    assert len(graph.find("add")) == 4


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan_is_unrolled(axis: int, backwards: int) -> None:
    inner = body(
        [node("Add", ["s", "e"], ["t"]), node("Mul", ["t", "e"], ["row"])],
        [info("s", F, [3 if axis == 0 else 2]), info("e", F, [3 if axis == 0 else 2])],
        [info("t", F, None), info("row", F, None)],
    )
    start = floats(3 if axis == 0 else 2)
    nodes = [
        node(
            "Scan",
            ["s0", "x"],
            ["y", "rows"],
            body=inner,
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_input_directions=[backwards],
            scan_output_axes=[axis],
            scan_output_directions=[1 - backwards],
        )
    ]
    check_against_onnxruntime(model(nodes, ["y", "rows"], [2, 3], s0=start))


def test_sequences_fold_away() -> None:
    nodes = [
        node("SplitToSequence", ["x", "parts"], ["q"], axis=0),
        node("SequenceAt", ["q", "last"], ["a"]),
        node("Mul", ["a", "two"], ["b"]),
        node("SequenceInsert", ["q", "b", "zero"], ["r"]),
        node("SequenceErase", ["r", "last"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=0),
        node("SequenceConstruct", ["x", "x"], ["u"]),
        node("ConcatFromSequence", ["u"], ["z"], axis=1, new_axis=1),
        node("SequenceLength", ["t"], ["n"]),
        node("Cast", ["n"], ["count"], to=F),
    ]
    constants = {
        "parts": np.array([1, 2, 2]),
        "last": np.array(-1),
        "zero": np.array(0),
        "two": np.float32(2),
    }
    proto = model(nodes, ["y", "z", "count"], [5, 2], **{k: np.asarray(v) for k, v in constants.items()})
    check_against_onnxruntime(proto)


@pytest.mark.parametrize("use", ["output", "relu", "position"])
def test_sequences_that_do_not_fold_away_are_refused(use: str) -> None:
    nodes = [node("SequenceConstruct", ["x", "x"], ["q"])]
    if use == "relu":
        nodes.append(node("Relu", ["q"], ["y"]))
    if use == "position":
        nodes += [node("Cast", ["x"], ["i"], to=N), node("SequenceAt", ["q", "i"], ["y"])]
    with pytest.raises(DnnccError) as caught:
        load_onnx(model(nodes, ["q" if use == "output" else "y"], [1]))
    assert caught.value.code == "E0101"
