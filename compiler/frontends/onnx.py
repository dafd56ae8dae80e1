"""The ONNX frontend: a model file becomes a float graph.

Inputs and outputs keep their names, shapes and layout; operators over images work on [N,H,W,C] between
explicit transposes. Every floating type is calculated in f32. Shapes are inferred here: what the model says
about those between inputs and outputs is not needed.
"""

from __future__ import annotations

import importlib
import os
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.errors import (
    Culprit,
    ExternalDataError,
    InvalidGraphError,
    ModelError,
    UnreadableModelError,
    UnsupportedError,
)
from dnncc.frontends.onnx_cut import cut
from dnncc.frontends.onnx_dims import input_shapes
from dnncc.frontends.onnx_functions import definition
from dnncc.frontends.onnx_importer import GraphImporter
from dnncc.frontends.onnx_node import ModelNode
from dnncc.frontends.onnx_registry import ELEMENT_TYPES, ONNX_OPS, Result, TensorSequence, onnx_key
from dnncc.frontends.onnx_structure import declared_shapes, execution_order, node_names, reads, texts
from dnncc.frontends.onnx_tensors import array_of
from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.types import TensorType
from dnncc.ops.base import TypeMismatchError, load_all

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST_OPSET = 7
MOST_INLINED = 20_000
"""How many nodes the bodies of If, Loop and Scan may become."""


def supported_op_types() -> list[str]:
    """The ONNX operator types that can be imported, sorted."""
    _load_importers()
    return sorted(ONNX_OPS)


def load_onnx(
    source: str | os.PathLike[str] | ModelProto,
    dims: Mapping[str, int] | None = None,
    name: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Graph:
    """Read an ONNX model.

    Args:
        source: the model's path, or the model itself, which stays as it is and cannot refer to external data.
        dims: values of symbolic dimensions. The first dimension of an input, the batch, becomes 1 by itself;
            one that the model fixes stays, whatever it is.
        name: the graph's name; the file's stem, or the name in the model, by default.
        inputs, outputs: where to cut the model, see ``dnncc.frontends.onnx_cut.cut``; none: it stays whole.

    Returns:
        The float graph, without nodes that nobody reads.

    Raises:
        ModelError: UnreadableModelError, UnsupportedError (with every unsupported node), InvalidGraphError,
            UnknownShapeError or ExternalDataError.
        UsageError: ``dims`` does not fit the model.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        model, folder, default = _read(path), path.parent, path.stem
    else:
        model, folder, default = source, None, ""
    _check_texts(model)
    model = cut(model, inputs, outputs)
    return _Model(model, folder).build(dims or {}, name or default or model.graph.name or "model")


def _read(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise UnreadableModelError(f"'{path}' cannot be read: {reason}") from error
    if not data:
        raise UnreadableModelError(f"'{path}' is empty")
    try:
        model = ModelProto.FromString(data)
    except DecodeError as error:
        raise UnreadableModelError(f"'{path}' is truncated or no ONNX model") from error
    if not model.HasField("graph"):
        raise UnreadableModelError(f"'{path}' is no ONNX model: it has no graph")
    return model


def _check_texts(model: Any) -> None:
    try:
        # One implementation of protobuf gives bytes for what is no UTF-8, the others raise.
        damaged = any(not isinstance(text, str) for text in texts(model))
    except UnicodeDecodeError:
        damaged = True
    if damaged:
        raise UnreadableModelError("the model is damaged: a name in it is no text")


def _load_importers() -> None:
    for module in (
        "folded",
        "composed",
        "resize",
        "control",
        "sequences",
        "quantized",
        "qlinear",
        "qonnx",
        "integer",
    ):
        importlib.import_module(f"dnncc.frontends.onnx_{module}")
    load_all()


class _Model:
    """One model while it is imported; problems are collected so that all of them are reported at once."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        self.model = model
        self.proto = model.graph
        self.folder = folder
        self.opset = self._opset()
        self.declared = declared_shapes(model.graph)
        self.values: MutableMapping[str, Result | None] = {}
        """Every name in the model; None for what an unsupported node should have defined."""
        self._bodies: dict[str, dict[str, Value | None]] = {}
        """The constants of the bodies of nodes, which every pass through them shares."""
        self._room = MOST_INLINED
        self.problems: dict[type[ModelError], list[Culprit]] = {}

    def build(self, dims: Mapping[str, int], name: str) -> Graph:
        _load_importers()
        nodes = self.proto.node
        names = node_names(nodes)
        order = execution_order(self.proto, names)
        used = {name for i in order for name in reads(nodes[i])} | {value.name for value in self.proto.output}
        graph = Graph(name, self._inputs(dims))
        self.values.update(self._constants(self.proto, used))
        reserved = {*self.values, *(name for node in nodes for name in node.output)}
        importer = GraphImporter(graph, reserved, names, lambda *body: self._inline(importer, *body))
        for i in order:
            try:
                results = self._import(importer, nodes[i], names[i], used)
            except ModelError as error:
                self._note(type(error), *error.culprits)
                results = {}
            except (TypeMismatchError, OverflowError) as error:
                self._note(InvalidGraphError, Culprit(names[i], nodes[i].op_type, str(error)))
                results = {}
            self.values.update({name: results.get(name) for name in nodes[i].output if name})
        outputs = self._outputs()
        self._raise_problems()
        importer.finish_graph(outputs)
        return graph

    def _opset(self) -> int:
        import onnx

        versions = [o.version for o in self.model.opset_import if not onnx_key("", o.domain)]
        newest = onnx.defs.onnx_opset_version()
        # Models that say nothing have been written before there were versions; some are of other domains only.
        opset = max(versions, default=newest if self.model.opset_import else 1)
        if opset < OLDEST_OPSET:
            raise UnsupportedError(
                f"opset {opset} is older than {OLDEST_OPSET}",
                help="convert the model with onnx.version_converter.convert_version(model, 13)",
            )
        if opset > newest:
            raise UnsupportedError(
                f"opset {opset} is newer than {newest}, the newest that the installed onnx package knows",
                help="export the model with an older opset, or update the onnx package and dnncc",
            )
        return opset

    def _inputs(self, dims: Mapping[str, int]) -> list[Value]:
        """The values of the inputs that are not initializers (old models list those too)."""
        constants = {t.name for t in self.proto.initializer} | {
            t.values.name for t in self.proto.sparse_initializer
        }
        tensors = []
        for value in self.proto.input:
            if value.name in constants:
                continue
            if value.type.WhichOneof("value") != "tensor_type":
                self._note(UnsupportedError, Culprit(value.name, reason="an input that is not a tensor"))
            elif value.type.tensor_type.elem_type not in ELEMENT_TYPES:
                kind = value.type.tensor_type.elem_type
                reason = f"an input of ONNX element type {kind} (supported: floats, integers, booleans)"
                self._note(UnsupportedError, Culprit(value.name, reason=reason))
            else:
                tensors.append(value)
                continue
            self.values[value.name] = None
        shapes = input_shapes(tensors, dims)
        elements = {v.name: ELEMENT_TYPES[v.type.tensor_type.elem_type] for v in tensors}
        values = [Value(name, TensorType(elements[name], shape)) for name, shape in shapes.items()]
        self.values.update({value.name: value for value in values})
        return values

    def _constants(self, graph: Any, used: set[str]) -> dict[str, Value | None]:
        found: dict[str, Value | None] = {}
        for tensor in graph.initializer:
            if tensor.name not in used:
                continue
            try:
                found[tensor.name] = Const.of(tensor.name, array_of(tensor, self.folder))
            except ModelError as error:
                self._note(type(error), *error.culprits)
                found[tensor.name] = None
        for sparse in graph.sparse_initializer:
            if sparse.values.name in used:
                self._note(UnsupportedError, Culprit(sparse.values.name, reason="a sparse constant"))
                found[sparse.values.name] = None
        return found

    def _inline(
        self, importer: GraphImporter, parent: str, body: Any, operands: Sequence[Value]
    ) -> list[Value]:
        """The results of a node's body; its values and nodes are named after the node."""
        names = node_names(body.node)
        if len(operands) != len(body.input):
            raise InvalidGraphError("", [Culprit(parent, reason="its body takes another number of inputs")])
        around = self.values
        order = execution_order(body, names, around)
        self._room -= 1 + len(order)
        if self._room < 0:
            raise UnsupportedError(
                "", [Culprit(parent, reason=f"more than {MOST_INLINED} nodes when unrolled")]
            )
        outputs = [value.name for value in body.output]
        used = {name for i in order for name in reads(body.node[i])} | set(outputs)
        key = f"{parent}/{body.name}"
        if key not in self._bodies:
            self._bodies[key] = self._constants(body, used)
            for value in self._bodies[key].values():
                if value is not None:
                    value.name = importer.unique_value(f"{parent}/{value.name}")
        given = {value.name: operand for value, operand in zip(body.input, operands, strict=True)}
        self.values = ChainMap({**self._bodies[key], **given}, around)
        try:
            for i in order:
                inner = importer.unique_node(f"{parent}/{names[i]}")
                results = self._import(importer, body.node[i], inner, used, parent)
                self.values.update({name: results.get(name) for name in body.node[i].output if name})
            found = [self.values[name] for name in outputs]
        finally:
            self.values = around
        values = [value for value in found if isinstance(value, Value)]
        if len(values) != len(found):
            raise UnsupportedError("", [Culprit(parent, reason="a body that gives a sequence of tensors")])
        return values

    def _import(
        self, importer: GraphImporter, proto: Any, name: str, used: set[str], parent: str = ""
    ) -> dict[str, Result]:
        """The node's outputs by name; none if an operand is unknown because of an earlier problem.

        Args:
            parent: the node in whose body this one is.
        """
        op_type = onnx_key(proto.op_type, proto.domain)
        operands = [self.values[operand] if operand else None for operand in proto.input]
        unknown = any(operand and self.values.get(operand, operand) is None for operand in reads(proto))
        body = None
        if op_type not in ONNX_OPS:
            if not unknown:
                body = definition(proto, self.opset, _tensors(operands), self.model.functions)
            if body is None:
                raise UnsupportedError(
                    f"{name}: {op_type}", [Culprit(name, op_type, "operator is not supported")]
                )
        if unknown:
            return {}
        node = ModelNode(
            proto,
            name,
            self.opset,
            operands,
            lambda tensor: array_of(tensor, self.folder),
            used,
            self.declared,
        )
        importer.begin(node)
        if body is not None:
            given = [v for v in _tensors(operands) if v is not None]
            try:
                made = iter(importer.inline(body, given))
            except UnsupportedError as error:
                reasons = [f"is defined by {c.op or 'others'}: {c.reason}" for c in error.culprits]
                raise UnsupportedError("", [Culprit(name, op_type, reason) for reason in reasons]) from error
            values: list[Result | None] = [next(made) if output else None for output in proto.output]
        else:
            returned = ONNX_OPS[op_type](importer, node)
            values = [returned] if isinstance(returned, Value | TensorSequence) else list(returned)
            node.check_all_seen()
        for index, output in enumerate(proto.output):
            if index >= len(values) and output in used:
                raise node.unsupported(f"output {index} ({output}) is not supported")
        results = {
            output: value
            for output, value in zip(proto.output, values, strict=False)
            if output and value is not None
        }
        tensors = {output: value for output, value in results.items() if isinstance(value, Value)}
        if parent:
            tensors = {importer.unique_value(f"{parent}/{output}"): v for output, v in tensors.items()}
        importer.finish(tensors)
        return results

    def _outputs(self) -> dict[str, Value]:
        outputs = {}
        for proto in self.proto.output:
            value = self.values[proto.name]
            if value is None:
                continue
            if isinstance(value, TensorSequence):
                self._note(
                    UnsupportedError, Culprit(proto.name, reason="an output that is a sequence of tensors")
                )
                continue
            if not value.type.size:
                self._note(
                    UnsupportedError, Culprit(proto.name, reason=f"an output {value.type} without elements")
                )
            outputs[proto.name] = value
        return outputs

    def _note(self, kind: type[ModelError], *culprits: Culprit) -> None:
        self.problems.setdefault(kind, []).extend(culprits)

    def _raise_problems(self) -> None:
        found = self.problems
        if ExternalDataError in found:
            raise ExternalDataError("the model's external data cannot be used", found[ExternalDataError])
        if UnsupportedError in found:
            raise UnsupportedError(
                "the model uses what dnncc does not support",
                found[UnsupportedError],
                help="`dnncc list ops` shows what is supported",
            )
        if InvalidGraphError in found:
            raise InvalidGraphError("the model is not well formed", found[InvalidGraphError])


def _tensors(operands: Sequence[Result | None]) -> list[Value | None]:
    """The operands of a function, of which no sequence is one."""
    return [v if isinstance(v, Value) else None for v in operands]
