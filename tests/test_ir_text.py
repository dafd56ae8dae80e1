"""The text form: what it looks like, that it comes back to the bit, and what its errors say."""

from __future__ import annotations

import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import ExternalDataError, IrSyntaxError, OutputError, UnreadableModelError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.text import parse_graph, print_graph, read_ir, side_file, write_ir
from dnncc.ir.types import DType, Quantization, TensorType
from dnncc.ir.verify import verify
from dnncc.ops.clip import Clip
from dnncc.ops.pad import Pad
from dnncc.ops.relu import Relu
from hypothesis import given
from hypothesis import strategies as st
from ir_cases import assert_same_meaning
from ir_random import random_graph

TEXT = """\
graph "two parts"(%x: i8[1,4] scale=0.58, %"in/0:0": f32[]) {
  %w: i8[2,4] scale=(0.5, 0.25)@0 = const [1, -2, 3, -4, 127, -128, 0, 7]
  %b: i32[2] = const [2147483647, -2147483648]
  %acc: i32[1,2] = linear(%x, %w, %b) as "dense/MatMul"
  %m: i32[2] = const [1073741824, 3]
  %q: u8[1,2] scale=0.1 = requantize(%acc, %m) {dtype=u8, shift=33, lo=3} as "dense\\n\\"q\\""
  %p: u8[3,2] scale=0.1 = pad(%q) {pads=((0, 2), (0, 0)), value=255}
  %one: u8[3,2], %1: f32[] = fused(%p, %"in/0:0") {body=graph inner(%p: u8[3,2] scale=0.1, %y: f32[]) {
    %low: f32[] = clip(%y) {lo=-inf, hi=0.1}
    return %p, %low
  }} as pair
  %t: bool[2] = const [True, False]
  return %one, %1, %t
}"""


def elements(dtype, values):
    graph = Graph("g")
    graph.outputs = [Const.of("c", np.array(values, dtype))]
    (value,) = parse_graph(print_graph(graph, inline=None)).outputs
    assert isinstance(value, Const)
    return value.data


def identity(name, node_name, op):
    x = Value("x", TensorType(DType.F32, (1,)))
    y = Value(name, x.type)
    graph = Graph("g", [x], [y])
    graph.nodes = [Node(op, [x], [y], node_name)]
    return graph


def test_text_of_everything_comes_back():
    graph = parse_graph(TEXT)
    assert print_graph(graph) == TEXT
    w = graph.constants()[0]
    assert w.type.quantization == Quantization((0.5, 0.25), 0)
    assert w.data.tolist() == [[1, -2, 3, -4], [127, -128, 0, 7]]
    dense, q, pad, fused = graph.nodes
    assert (dense.name, q.name, fused.name) == ("dense/MatMul", 'dense\n"q"', "pair")
    assert (q.op.dtype, q.op.lo, q.op.hi) == (DType.U8, 3, None)
    assert pad.op == Pad(((0, 2), (0, 0)), 255)
    assert fused.op.body.nodes[0].op == Clip(-math.inf, 0.1)
    assert [v.name for v in graph.outputs] == ["one", "1", "t"]


def test_layout_and_comments_do_not_matter():
    spaced = TEXT.replace(" = ", "\n = // why\n  ").replace(", ", " ,\n\t")
    assert print_graph(parse_graph("// a graph\n" + spaced + "\n// done")) == TEXT


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_f32_bits(bits):
    data = np.array(bits, np.uint32).view(np.float32)
    np.testing.assert_array_equal(elements(np.float32, data).view(np.uint32), data.view(np.uint32))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_f64_bits(bits):
    data = np.array(bits, np.uint64).view(np.float64)
    np.testing.assert_array_equal(elements(np.float64, data).view(np.uint64), data.view(np.uint64))


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_integer])
def test_integer_ends(dtype):
    assert elements(dtype.numpy, [dtype.min, dtype.max, 0]).tolist() == [dtype.min, dtype.max, 0]


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_names(value_name, node_name):
    graph = identity(value_name, node_name, Relu())
    graph.name = node_name
    if value_name != "x":
        text = print_graph(graph)
        again = parse_graph(text)
        assert (again.outputs[0].name, again.nodes[0].name, again.name) == (value_name, node_name, node_name)
        assert len(text.split("\n")) == 4
        assert print_graph(again) == text


@given(st.floats(allow_nan=False) | st.integers(), st.floats(allow_nan=False) | st.none())
def test_attributes(lo, hi):
    op = parse_graph(print_graph(identity("y", "y", Clip(lo, hi)))).nodes[0].op
    assert op == Clip(lo, hi)
    assert (type(op.lo), type(op.hi)) == (type(lo), type(hi))


def test_an_attribute_that_text_cannot_carry():
    with pytest.raises(TypeError, match="numpy scalar"):
        print_graph(identity("y", "y", Clip(np.float64(1.0))))


@pytest.mark.parametrize("seed", range(20))
def test_files(seed, tmp_path):
    graph = random_graph(seed, 8)
    path = tmp_path / "g.ir"
    write_ir(graph, path)
    again = read_ir(path)
    verify(again)
    assert print_graph(again, inline=None) == print_graph(graph, inline=None)
    assert_same_meaning(graph, again, tolerance=0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_ir(again, path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def large(value=0.0):
    graph = Graph("g")
    graph.outputs = [Const.of("c", np.full(100, value, np.float32))]
    return graph


def test_large_constants_lie_beside_the_text(tmp_path):
    path = tmp_path / "net.ir"
    write_ir(large(), path)
    assert " = const @" in path.read_text()
    assert side_file(path) == tmp_path / "net.ir.npz"
    with pytest.raises(IrSyntaxError, match="not in the side file"):
        parse_graph(path.read_text())
    write_ir(Graph("g"), path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.ir"]


def test_damaged_files(tmp_path):
    path, other = tmp_path / "a.ir", tmp_path / "b.ir"
    write_ir(large(), path)
    write_ir(large(1.0), other)
    side = side_file(path)
    whole = side.read_bytes()
    side.write_bytes(whole[:40])
    with pytest.raises(ExternalDataError):
        read_ir(path)
    side.write_bytes(side_file(other).read_bytes())
    with pytest.raises(IrSyntaxError, match="not in the side file"):
        read_ir(path)
    key = path.read_text().split("@")[1][:16]
    np.savez(side, **{key: np.ones(100, np.float32)})
    with pytest.raises(ExternalDataError, match="does not match its digest"):
        read_ir(path)


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(UnreadableModelError):
        read_ir(tmp_path / "missing.ir")
    (tmp_path / "binary.ir").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableModelError):
        read_ir(tmp_path / "binary.ir")
    with pytest.raises(OutputError):
        write_ir(Graph("g"), tmp_path)
    with pytest.raises(OutputError):
        write_ir(large(), tmp_path / "missing" / "g.ir")


HEAD = "graph g(%x: f32[2]) {\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "expected 'graph', found the end"),
        ("graph g", "1:8", "expected '(', found the end"),
        ("graph g(%x f32[2]) {}", "1:12", "expected ':', found 'f32'"),
        ("graph g(%x: f33[2]) {}", "1:13", "unknown element type 'f33'; there are f32, f64"),
        ("graph g(%x: f32[2.5]) {}", "1:17", "expected a dimension, found '2.5'"),
        ("graph g(%x: i8[2] scale=(0.5)) {}", "1:30", "expected '@', found ')'"),
        ("graph g(%x: f32[2], %x: f32[2]) {}", "1:21", "'%x' is defined twice"),
        (
            HEAD + "  relu(%x) }",
            "2:3",
            "expected a statement (%y: f32[1] = relu(%x)) or 'return', found 'relu'",
        ),
        (HEAD + "  %y: f32[2] = reluu(%x)", "2:16", "unknown operator 'reluu'; did you mean 'relu'"),
        (HEAD + "  %y: f32[2] = relu(%z)", "2:21", "'%z' is not defined above"),
        (HEAD + "  %xx: f32[2] = relu(%xy)", "2:22", "'%xy' is not defined above; did you mean"),
        (HEAD + "  %y: f32[2] = relu(%y)", "2:21", "'%y' is not defined above"),
        (HEAD + "  %y: f32[2] = relu(%x %x)", "2:24", "expected ',' or ')', found '%x'"),
        (
            HEAD + "  %y: f32[2] = clip(%x) {low=1}",
            "2:26",
            "'clip' has no attribute 'low'; did you mean 'lo'?",
        ),
        (HEAD + "  %y: f32[2] = clip(%x) {lo=1, lo=2}", "2:32", "attribute 'lo' is given twice"),
        (
            HEAD + '  %y: f32[2] = clip(%x)\n  {lo="a"}',
            "3:7",
            "attribute 'lo' of 'clip': expected an integer or a number or None, found 'a'",
        ),
        (
            HEAD + "  %y: f32[2] = reshape(%x) {shape=2}",
            "2:35",
            "attribute 'shape' of 'reshape': expected a tuple of (an integer), found 2",
        ),
        (HEAD + "  %y: f32[2] = reshape(%x) {shape=(2, 1.0)}", "2:35", "expected an integer, found 1.0"),
        (
            HEAD + "  %y: f32[2] = cast(%x) {dtype=int8}",
            "2:32",
            "expected an element type (f32, f64, i8, u8,",
        ),
        (
            HEAD + "  %y: f32[2] = average_pool2d(%x) {count_include_pad=1}",
            "2:54",
            "expected True or False, found 1",
        ),
        (HEAD + "  %c: f32[2] = const [1.0]", "2:22", "expected 2 elements for f32[2], found 1"),
        (HEAD + "  %c: i8[2] = const [1, 128]", "2:25", "expected an element of type i8, found '128'"),
        (HEAD + "  %c: i8[1] = const [1.0]", "2:22", "expected an element of type i8, found '1.0'"),
        (HEAD + "  %c: bool[1] = const [1]", "2:24", "expected an element of type bool, found '1'"),
        (HEAD + "  %c: f32[1] = const [x]", "2:23", "expected an element of type f32, found 'x'"),
        (
            HEAD + "  %c: f32[1] = const @0123456789abcdef",
            "2:22",
            "constant @0123456789abcdef is not in the side file",
        ),
        (HEAD + "  %c: f32[1], %d: f32[1] = const [1.0]", "2:28", "a constant defines one value"),
        (HEAD + "  return %x", "2:12", "expected ',' or '}', found the end"),
        (HEAD + "  return %x }\n}", "3:1", "expected the end after the graph, found '}'"),
        (HEAD + "  $", "2:3", "unexpected character '$'"),
        (HEAD + '  return %"x', "2:10", "unexpected character '%'"),
        (HEAD + r'  return %"\q" }', "2:10", "is not a string literal"),
    ],
)
def test_errors_say_where_and_what(text, place, message):
    with pytest.raises(IrSyntaxError) as caught:
        parse_graph(text, source="net.ir")
    assert caught.value.message.startswith(f"net.ir:{place}: ")
    assert message in caught.value.message


@pytest.mark.parametrize("document", ["ir.md", "add-a-pass.md"])
def test_graphs_in_the_documentation(repository: Path, document):
    """They parse, are well formed and print as they stand there."""
    text = textwrap.dedent((repository / "docs" / document).read_text(encoding="utf-8"))
    graphs = re.findall(r"^( *)(graph \S+\(%.*?\n)\1}$", text, re.MULTILINE | re.DOTALL)
    assert graphs
    for indent, body in graphs:
        source = textwrap.dedent(f"{indent}{body}{indent}}}")
        graph = parse_graph(source)
        verify(graph)
        assert print_graph(graph, inline=None) == source
