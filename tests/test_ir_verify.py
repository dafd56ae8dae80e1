"""The verifiers: every kind of damage is named, all of it at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dnncc.errors import InvalidGraphError, QuantizationError
from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.text import parse_graph
from dnncc.ir.types import DType, Quantization, TensorType
from dnncc.ir.verify import verify, verify_integer
from dnncc.ops.fused import Fused


def sample():
    return parse_graph("""
        graph g(%x: f32[2]) {
          %c: f32[2] = const [1.0, 2.0]
          %a: f32[2] = add(%x, %c) as "first/add"
          %b: f32[2] = relu(%a)
          return %b
        }""")


def problems(graph):
    with pytest.raises(InvalidGraphError) as caught:
        verify(graph)
    return [f"{c.name}: {c.reason}" for c in caught.value.culprits]


def test_a_good_graph():
    verify(sample())


def test_order():
    graph = sample()
    graph.nodes.reverse()
    assert problems(graph) == ["b: reads %a, which is defined later"]


def test_dangling_operand_and_output():
    graph = sample()
    graph.nodes[0].inputs[0] = Value("ghost", graph.inputs[0].type)
    graph.outputs.append(Value("nothing", graph.inputs[0].type))
    assert problems(graph) == [
        "first/add: reads %ghost, which is not defined",
        "%nothing: is an output but not defined",
    ]


def test_defined_twice():
    graph = sample()
    graph.nodes[1].outputs = graph.nodes[0].outputs
    graph.outputs = graph.nodes[0].outputs
    assert problems(graph) == ["b: defines %a, which is defined already"]


def test_names():
    graph = sample()
    graph.nodes[0].output.name = "x"
    assert problems(graph) == ["%x: names 2 values"]


def test_inputs():
    graph = sample()
    x = graph.inputs[0]
    graph.inputs = [x, x, Const.of("k", np.ones(1, np.float32))]
    assert problems(graph) == ["%x: is an input twice", "%k: a constant cannot be an input"]


def test_types():
    graph = sample()
    a = graph.nodes[0].output
    a.type = a.type.with_shape((3,))
    found = problems(graph)
    assert found[0] == "first/add: %a is f32[3], but its operator gives f32[2]"
    assert found[1] == "b: %b is f32[2], but its operator gives f32[3]"


def test_operators_that_refuse_their_operands():
    graph = sample()
    graph.nodes[0].inputs.append(graph.inputs[0])
    graph.nodes[1].inputs = [Const.of("d", np.ones(2, np.bool_))]
    found = problems(graph)
    assert found[0].startswith("first/add: too many values")
    assert found[1].startswith("b: relu does not take bool[2]")


def test_number_of_outputs():
    graph = sample()
    graph.nodes[1].outputs.append(Value("e", graph.inputs[0].type))
    assert problems(graph) == ["b: has 2 outputs, its operator 1"]


def test_constants():
    graph = sample()
    (constant,) = graph.constants()
    constant.data = np.ones(3, np.float32)
    assert problems(graph) == ["%c: is f32[2], but its data is float32[3]"]


@pytest.mark.parametrize(
    ("dtype", "quantization", "reason"),
    [
        (DType.F32, Quantization.per_tensor(0.5), "has a scale, but its elements are f32"),
        (DType.I8, Quantization.per_tensor(0.0), "has a scale that is not positive and finite"),
        (DType.I8, Quantization.per_tensor(float("nan")), "has a scale that is not positive and finite"),
        (DType.I8, Quantization((0.5, 0.5)), "has 2 scales but no axis"),
        (DType.I8, Quantization((0.5, 0.5), 0), "has 2 scales along axis 0 of i8[3]"),
        (DType.I8, Quantization((0.5,), 1), "has 1 scales along axis 1 of i8[3]"),
    ],
)
def test_quantization(dtype, quantization, reason):
    graph = Graph("g", [Value("x", TensorType(dtype, (3,), quantization))])
    assert problems(graph) == [f"%x: {reason}"]


def test_empty_dimensions():
    assert problems(Graph("g", [Value("x", TensorType(DType.I8, (0,)))])) == [
        "%x: has an empty or unknown dimension: i8[0]"
    ]


def test_bodies():
    body = sample()
    graph = Graph("outer", [Value("x", body.inputs[0].type)])
    graph.outputs = [graph.append(Fused(body), graph.inputs, "kernel")]
    verify(graph)
    body.nodes.reverse()
    assert problems(graph) == ["kernel: b: reads %a, which is defined later"]
    body.nodes.reverse()
    graph.inputs[0].type = replace(graph.inputs[0].type, shape=(3,))
    assert "fused body takes ['f32[2]'], not ['f32[3]']" in problems(graph)[0]


INTEGER = """
    graph g(%x: f32[1,2], %i: i8[1,2] scale=0.5) {
      %q: i8[1,2] scale=0.5 = quantize(%x) {scale=0.5}
      %w: i8[2,2] scale=0.5 = const [1, 2, 3, 4]
      %b: i32[2] = const [0, 0]
      %a: i32[1,2] = linear(%q, %w, %b)
      %m: i32[] = const [1073741824]
      %r: i8[1,2] scale=0.5 = requantize(%a, %m) {shift=31}
      %y: f32[1,2] = dequantize(%r) {scale=0.5}
      return %y, %r
    }"""


def integer_problems(graph):
    with pytest.raises(QuantizationError) as caught:
        verify_integer(graph)
    return {c.name: c.reason for c in caught.value.culprits}


def test_integers_with_floats_at_the_border():
    graph = parse_graph(INTEGER)
    verify(graph)
    verify_integer(graph)
    kernel = Graph("outer", [Value(v.name, v.type) for v in graph.inputs])
    node = kernel.make(Fused(graph), kernel.inputs, "kernel")
    kernel.nodes, kernel.outputs = [node], node.outputs
    verify_integer(kernel)


def test_floats_inside():
    graph = parse_graph(
        INTEGER.replace(
            "return %y, %r", "%z: f32[1,2] = relu(%y)\n %s: f32[1,2] = softmax(%z) {axis=1} return %s"
        )
    )
    verify(graph)
    assert integer_problems(graph) == {
        "y": "computes with floats: %y is f32",
        "z": "computes with floats: %y is f32, %z is f32",
        "s": "computes with floats: %z is f32, %s is f32",
    }
    kernel = Graph("outer", [Value(v.name, v.type) for v in graph.inputs])
    kernel.outputs = [kernel.append(Fused(graph), kernel.inputs, "kernel")]
    assert set(integer_problems(kernel)) == {"kernel: y", "kernel: z", "kernel: s"}


def test_division():
    graph = parse_graph(INTEGER)
    requantize = graph.nodes[2]

    class Dividing(type(requantize.op)):
        name = ""
        divides = True

    requantize.op = Dividing(**requantize.op.attributes(all_fields=True))
    assert integer_problems(graph) == {"r": "divides at run time"}
