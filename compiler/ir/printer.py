"""Graph to text: see ``dnncc.ir.text`` for the form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.literals import format_literal, quote
from dnncc.ir.types import Array, DType

_BARE_VALUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*")
_BARE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_BITS = {DType.F32: (np.uint32, 0x7FC00000), DType.F64: (np.uint64, 0x7FF8000000000000)}


def digest(data: Array) -> str:
    """The name of a constant's content: 16 hexadecimal digits of SHA-256 over type, shape and bytes."""
    header = f"{DType.of(data).value}[{','.join(map(str, data.shape))}]".encode()
    little = data.astype(data.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(header + little.tobytes()).hexdigest()[:16]


class Printer:
    """Prints one graph and collects the constants that it leaves to a side file.

    Args:
        inline: constants of up to this many elements are printed; None prints all.

    Attributes:
        stored: digest to data of the constants that were not printed.
    """

    def __init__(self, inline: int | None) -> None:
        self.inline = inline
        self.stored: dict[str, Array] = {}

    def graph(self, graph: Graph, indent: str = "") -> str:
        parameters = ", ".join(_typed(v) for v in graph.inputs)
        lines = [f"graph {word(graph.name)}({parameters}) {{"]
        shown: set[Value] = set()

        def define(values: list[Value]) -> None:
            for value in values:
                if isinstance(value, Const) and value not in shown:
                    shown.add(value)
                    lines.append(f"{indent}  {_typed(value)} = const {self.constant(value.data)}")

        for node in graph.nodes:
            define(node.inputs)
            lines.append(f"{indent}  {self.node(node, indent + '  ')}")
        define(graph.outputs)
        returned = ", ".join(reference(v) for v in graph.outputs)
        return "\n".join([*lines, f"{indent}  return {returned}".rstrip(), f"{indent}}}"])

    def node(self, node: Node, indent: str) -> str:
        defined = ", ".join(_typed(v) for v in node.outputs)
        operands = ", ".join(reference(v) for v in node.inputs)
        attributes = [f"{key}={self.attribute(value, indent)}" for key, value in node.op.attributes().items()]
        text = f"{defined} = {node.op.name}({operands})" + (
            f" {{{', '.join(attributes)}}}" if attributes else ""
        )
        named_after_output = bool(node.outputs) and node.outputs[0].name == node.name
        return text if named_after_output else f"{text} as {word(node.name)}"

    def attribute(self, value: object, indent: str) -> str:
        return self.graph(value, indent) if isinstance(value, Graph) else format_literal(value)

    def constant(self, data: Array) -> str:
        if self.inline is not None and data.size > self.inline:
            key = digest(data)
            self.stored[key] = data
            return f"@{key}"
        element = _element(DType.of(data))
        return f"[{', '.join(element(x) for x in data.reshape(-1))}]"


def word(name: str) -> str:
    """A graph's or node's name: bare if it is a word, else quoted."""
    return name if _BARE_WORD.fullmatch(name) else quote(name)


def reference(value: Value) -> str:
    """``%name``, quoted if need be."""
    return f"%{value.name}" if _BARE_VALUE.fullmatch(value.name) else f"%{quote(value.name)}"


def _typed(value: Value) -> str:
    return f"{reference(value)}: {value.type}"


def _element(dtype: DType) -> Callable[[np.generic], str]:
    """How one element prints so that the same bits come back."""
    if not dtype.is_float:
        return lambda x: str(x.item())
    bits, plain_nan = _BITS[dtype]

    def number(x: np.generic) -> str:
        if np.isnan(x):
            pattern = int(x.view(bits))
            return "nan" if pattern == plain_nan else hex(pattern)
        short = str(x)
        # The shortest text of an f32 is read back through a double: where that rounds away, print the double.
        return short if x.dtype.type(float(short)) == x else repr(float(x))

    return number
