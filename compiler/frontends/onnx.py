"""The ONNX frontend: a model file becomes a float graph.

Inputs and outputs keep their names, shapes and layout; operators over images work on [N,H,W,C] between explicit
transposes. Every floating type is calculated in f32. Shapes are inferred here, what the model says about them is not
needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.errors import Culprit, InvalidGraphError, ModelError, UnreadableModelError, UnsupportedError
from dnncc.frontends.onnx_dims import input_shapes
from dnncc.frontends.onnx_importer import GraphImporter
from dnncc.frontends.onnx_node import ModelNode
from dnncc.frontends.onnx_registry import ELEMENT_TYPES, ONNX_OPS
from dnncc.frontends.onnx_structure import execution_order, node_names
from dnncc.frontends.onnx_tensors import array_of
from dnncc.ir.graph import Const, Graph, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.base import TypeMismatchError, load_all

if TYPE_CHECKING:
    from onnx import ModelProto

OLDEST_OPSET = 7
_DEFAULT_DOMAINS = ("", "ai.onnx")


def supported_op_types() -> list[str]:
    """The ONNX operator types that can be imported, sorted."""
    _load_importers()
    return sorted(ONNX_OPS)


def load_onnx(
    source: str | os.PathLike[str] | ModelProto,
    dims: Mapping[str, int] | None = None,
    name: str | None = None,
) -> Graph:
    """Read an ONNX model.

    Args:
        source: the model's path, or the model itself (it must not refer to external data then; it is not changed).
        dims: values of symbolic dimensions. The first dimension of an input, the batch, becomes 1 by itself; one
            that the model fixes stays, whatever it is.
        name: the graph's name; the file's stem, or the name in the model, by default.

    Returns:
        The float graph, verified operator by operator through type inference, without nodes that nobody reads.

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
    try:
        return _Model(model, folder).build(dims or {}, name or default or model.graph.name or "model")
    except UnicodeDecodeError as error:
        raise UnreadableModelError(f"the model is damaged: a name is no text ({error.reason})") from error


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


def _load_importers() -> None:
    import dnncc.frontends.onnx_folded

    load_all()


class _Model:
    """One model while it is imported; problems are collected so that all of them are reported at once."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        self.model = model
        self.proto = model.graph
        self.folder = folder
        self.opset = self._opset()
        self.values: dict[str, Value | None] = {}
        """Every name in the model; None for what an unsupported node should have defined."""
        self.problems: dict[type[ModelError], list[Culprit]] = {}

    def build(self, dims: Mapping[str, int], name: str) -> Graph:
        _load_importers()
        nodes = self.proto.node
        names = node_names(nodes)
        order = execution_order(self.proto, names)
        graph = Graph(name, self._inputs(dims))
        self.values.update({value.name: value for value in graph.inputs})
        self._constants({name for i in order for name in nodes[i].input} | {v.name for v in self.proto.output})
        reserved = {*self.values, *(name for node in nodes for name in node.output)}
        importer = GraphImporter(graph, reserved, names)
        used = {name for i in order for name in nodes[i].input} | {value.name for value in self.proto.output}
        for i in order:
            self._import(importer, nodes[i], names[i], used)
        outputs = {value.name: self.values.get(value.name) for value in self.proto.output}
        self._check_outputs(outputs)
        self._raise_problems()
        importer.finish_graph({name: value for name, value in outputs.items() if value is not None})
        return graph
