"""Text to graph: see ``dnncc.ir.text`` for the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from dnncc.errors import DnnccError, IrSyntaxError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.record import parse_record
from dnncc.ir.scanner import Scanner, Token
from dnncc.ir.types import Array, DType, Quantization, TensorType
from dnncc.ops.base import load_all
from dnncc.runtime.suggest import did_you_mean


class Parser:
    """Parses one text.

    Args:
        text: a graph in text form.
        constants: digest to data of the constants that the text only names.
        source: what to call the text in errors, such as its path.
    """

    def __init__(self, text: str, constants: Mapping[str, Array], source: str) -> None:
        def error(message: str, line: int, column: int) -> DnnccError:
            return IrSyntaxError(f"{source}:{line}:{column}: {message}")

        self.scanner = Scanner(text, error)
        self.constants = constants
        self.ops = load_all()

    def file(self) -> Graph:
        graph = self.graph()
        self.scanner.take("end", "the end after the graph")
        return graph

    def graph(self) -> Graph:
        scanner = self.scanner
        scanner.expect("graph")
        name = scanner.name("the graph's name")
        scope: dict[str, Value] = {}
        scanner.expect("(")
        inputs: list[Value] = []
        scanner.list_of(lambda: inputs.append(self.definition(scope)), ")")
        scanner.expect("{")
        nodes: list[Node] = []
        while not scanner.accept("return"):
            if scanner.token.kind != "value":
                scanner.fail(
                    f"expected a statement (%y: f32[1] = relu(%x)) or 'return', found {scanner.token}"
                )
            self.statement(scope, nodes)
        outputs: list[Value] = []
        scanner.list_of(lambda: outputs.append(self.use(scope)), "}")
        graph = Graph(name, inputs, outputs)
        graph.nodes = nodes
        return graph

    def definition(self, scope: dict[str, Value]) -> Value:
        token = self.scanner.token
        name = self.scanner.value_name()
        if name in scope:
            self.scanner.fail(f"{token} is defined twice", token)
        self.scanner.expect(":")
        scope[name] = Value(name, self.type())
        return scope[name]

    def use(self, scope: dict[str, Value], pending: Sequence[Value] = ()) -> Value:
        """A value defined before; ``pending`` are those that the present statement defines."""
        token = self.scanner.token
        name = self.scanner.value_name()
        if name not in scope or scope[name] in pending:
            others = [known for known in scope if known != name]
            self.scanner.fail(f"{token} is not defined above{did_you_mean(name, others)}", token)
        return scope[name]

    def statement(self, scope: dict[str, Value], nodes: list[Node]) -> None:
        scanner = self.scanner
        outputs = [self.definition(scope)]
        while scanner.accept(","):
            outputs.append(self.definition(scope))
        scanner.expect("=")
        token = scanner.take("word", "an operator or 'const'")
        if token.text == "const":
            if len(outputs) > 1:
                scanner.fail("a constant defines one value", token)
            value = outputs[0]
            scope[value.name] = Const(value.name, value.type, self.data(value.type))
            return
        cls = self.ops.get(token.text)
        if cls is None:
            scanner.fail(f"unknown operator {token}{did_you_mean(token.text, self.ops)}", token)
        scanner.expect("(")
        operands: list[Value] = []
        scanner.list_of(lambda: operands.append(self.use(scope, outputs)), ")")
        op = parse_record(scanner, cls, token, "attribute", self.attribute)
        name = scanner.name("the node's name") if scanner.accept("as") else outputs[0].name
        nodes.append(Node(op, operands, outputs, name))

    def attribute(self) -> Any:
        return self.graph() if self.scanner.at("graph") else self.scanner.literal()

    def type(self) -> TensorType:
        scanner = self.scanner
        names = [t.value for t in DType]
        token = scanner.take("word", "an element type such as f32")
        if token.text not in names:
            scanner.fail(f"unknown element type {token}; there are {', '.join(names)}", token)
        shape: list[int] = []
        scanner.expect("[")
        scanner.list_of(lambda: shape.append(scanner.integer("a dimension")), "]")
        return TensorType(DType(token.text), tuple(shape), self.quantization())

    def quantization(self) -> Quantization | None:
        scanner = self.scanner
        if not scanner.accept("scale"):
            return None
        scanner.expect("=")
        axis: int | None = None
        scales: list[float] = []
        if scanner.accept("("):
            scanner.list_of(lambda: scales.append(self.scale()), ")")
            scanner.expect("@")
            axis = scanner.integer("the channel axis")
        else:
            scales.append(self.scale())
        zero_point = 0
        if scanner.accept("zero"):
            scanner.expect("=")
            zero_point = scanner.integer("the zero point")
        return Quantization(tuple(scales), axis, zero_point)

    def scale(self) -> float:
        return float(self.scanner.take("number", "a scale").text)

    def data(self, type: TensorType) -> Array:
        scanner = self.scanner
        start = scanner.token
        if start.kind == "digest":
            scanner.next()
            stored = self.constants.get(start.text[1:])
            if stored is None:
                scanner.fail(
                    f"constant {start.text} is not in the side file; write the graph with write_ir", start
                )
            if stored.dtype != type.dtype.numpy or stored.shape != type.shape:
                scanner.fail(
                    f"constant {start.text} is {stored.dtype}{list(stored.shape)}, not {type}", start
                )
            return _frozen(stored)
        scanner.expect("[")
        elements = np.empty(type.size, type.dtype.numpy)
        count = 0

        def element() -> None:
            nonlocal count
            token = scanner.next()
            if count < type.size:
                self.element(elements, count, type.dtype, token)
            count += 1

        scanner.list_of(element, "]")
        if count != type.size:
            scanner.fail(f"expected {type.size} elements for {type.plain()}, found {count}", start)
        return _frozen(elements.reshape(type.shape))

    def element(self, elements: Array, index: int, dtype: DType, token: Token) -> None:
        try:
            if dtype is DType.BOOL:
                elements[index] = {"True": True, "False": False}[token.text]
            elif not dtype.is_float:
                value = int(token.text)
                if not dtype.min <= value <= dtype.max:
                    self.wrong_element(dtype, token)
                elements[index] = value
            elif token.kind == "bits":
                elements.view(f"u{dtype.bytes}")[index] = int(token.text, 16)
            else:
                elements[index] = float(token.text)
        except (KeyError, ValueError):
            self.wrong_element(dtype, token)

    def wrong_element(self, dtype: DType, token: Token) -> NoReturn:
        self.scanner.fail(f"expected an element of type {dtype.value}, found {token}", token)


def _frozen(data: Array) -> Array:
    data.setflags(write=False)
    return data
