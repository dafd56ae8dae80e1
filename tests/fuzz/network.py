"""A random network, grown node by node; ONNX Runtime computes each at once, so that shapes and values are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from dnncc.ir.types import Array
from onnx import helper, numpy_helper

from fuzz.forms import FORMS, Form
from fuzz.spelling import spelled

OPSETS = (*range(7, 27), *[20] * 20)
"""All that ONNX Runtime has; the usual one has all forms."""
RANKS = (1, 2, 3, 3, 4, 4, 4, 4)
LARGEST, ELEMENTS = 1e3, 3000


class RefusedError(Exception):
    """ONNX Runtime does not take the node, or its result is of no use."""


class Network:
    """A network under construction; ``data`` are the values so far on one random input."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([11, seed])
        self.opset: int = self.one_of(*OPSETS)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.data: dict[str, Array] = {}
        self.values: list[str] = []
        """Float activations that a further node may take."""
        self.inputs: list[str] = []

    # -- chance --------------------------------------------------------------------------------------------------------

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, max(low, high) + 1))

    def real(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    def one_of(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def some(self, choices: Iterable[int]) -> list[int]:
        return [c for c in choices if self.rng.integers(2)]

    def shuffled(self, items: Iterable[int]) -> list[int]:
        return [int(i) for i in self.rng.permutation(list(items))]

    # -- values --------------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        return self.data[name].shape

    def axis(self, name: str) -> int:
        """An axis of a value; a scalar has none, and no form takes it."""
        if not self.shape(name):
            raise RefusedError
        return self.size(0, len(self.shape(name)) - 1)

    def pick(self) -> str:
        return str(self.rng.choice(self.values))

    def like(self, name: str) -> str:
        """A value of the same shape."""
        return str(self.rng.choice([v for v in self.values if self.shape(v) == self.shape(name)] or [name]))

    def const(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = self.data[name] = np.asarray(array)
        return name

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def weights(self, *shape: int, fan_in: int = 1) -> str:
        return self.const(self.rng.normal(0, 1 / math.sqrt(fan_in), shape).astype(np.float32))

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        self.values.append(name)
        self.data[name] = self.rng.normal(0, 1, shape).astype(np.float32)
        return name

    def emit(self, op_type: str, operands: Sequence[str], **attributes: Any) -> str:
        return self.emit_all(op_type, operands, 1, **attributes)[0]

    def emit_all(
        self,
        op_type: str,
        operands: Sequence[str],
        outputs: int,
        captured: Sequence[str] = (),
        **attributes: Any,
    ) -> list[str]:
        """Add a node and compute it; ``captured`` are values from outside that its subgraphs read."""
        names = [f"v{len(self.nodes)}" if outputs == 1 else f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(
            op_type, list(operands), names, name=f"{op_type}_{len(self.nodes)}", **attributes
        )
        node = spelled(node, self.opset, self.constants)
        results = self._computed(node, captured)
        if any(r.size == 0 or r.size > ELEMENTS or r.ndim > 5 for r in results):
            raise RefusedError
        if any(r.dtype.kind == "f" and not (np.abs(r) < LARGEST).all() for r in results):
            raise RefusedError
        self.nodes.append(node)
        self.data.update(zip(names, results, strict=True))
        return names

    def _computed(self, node: onnx.NodeProto, captured: Sequence[str]) -> list[Array]:
        given = {name: self.data[name] for name in (*node.input, *captured) if name}
        model = self._model([node], given, node.output, {})
        try:
            # ONNX Runtime takes newer operators in older opsets.
            known = onnx.defs.get_schema(node.op_type, self.opset, "")
            if known.deprecated or not {a.name for a in node.attribute} <= set(known.attributes):
                raise RefusedError
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            return [np.asarray(r) for r in session.run(None, given)]
        except Exception as error:
            raise RefusedError from error

    def _model(
        self,
        nodes: Sequence[Any],
        inputs: dict[str, Array],
        outputs: Iterable[str],
        constants: dict[str, Array],
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "fuzz",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in inputs.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(a, n) for n, a in constants.items()],
        )
        for output in graph.output:
            data = self.data.get(output.name)
            if data is not None:
                kind = helper.np_dtype_to_tensor_dtype(data.dtype)
                output.CopyFrom(helper.make_tensor_value_info(output.name, kind, data.shape))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        used = {name for node in self.nodes for name in (*node.input, *_captured(node))}
        constants = {n: a for n, a in self.constants.items() if n in used}
        return self._model(self.nodes, {n: self.data[n] for n in self.inputs}, outputs, constants)


def _captured(node: onnx.NodeProto) -> set[str]:
    """The values that a node's subgraphs read, their own among them."""
    graphs = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return {name for graph in graphs for inner in graph.node for name in inner.input}


def random_network(seed: int, forms: Sequence[Form] = FORMS, ranks: Sequence[int] = RANKS) -> onnx.ModelProto:
    """A network of 2 to 10 forms with one or two inputs and outputs.

    Args:
        forms: what it is made of.
        ranks: of the first input.
    """
    net = Network(seed)
    rank = net.one_of(*ranks)
    net.input(*([1] if rank > 1 else []), *(net.size(1, 8) for _ in range(rank - (rank > 1))))
    if net.one_of(0, 0, 0, 1):
        net.input(*net.shape("x0"))
    wanted, tries = net.size(2, 10), 0
    while len(net.values) < wanted + len(net.inputs) and tries < 60:
        tries += 1
        before = len(net.nodes)
        try:
            y = net.one_of(*forms)(net, str(net.rng.choice(net.values[-3:])))
        except RefusedError:
            del net.nodes[before:]
            continue
        if net.data[y].dtype == np.float32:
            net.values.append(y)
    made = [v for v in net.values if v not in net.inputs] or [net.emit("Relu", [net.values[0]])]
    outputs = [made[-1], *([str(net.rng.choice(made))] if net.one_of(0, 0, 1) else [])]
    model = net.model(list(dict.fromkeys(outputs)))
    model.doc_string = str(seed)
    return model
