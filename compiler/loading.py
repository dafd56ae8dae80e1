"""Networks from wherever they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnncc.errors import UsageError
from dnncc.ir.graph import Graph


def load(model: Any, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of a model.

    Args:
        model: an ONNX file; an ``onnx.ModelProto``; a text file in the IR's form, ``*.ir``; the folder of an
            artifact, which gives the graph that it was made from; or a ``Graph``, which is copied.
        dims: values of an ONNX model's symbolic dimensions, see ``dnncc.frontends.onnx.load_onnx``.

    Raises:
        ModelError: the model cannot be read or imported.
        UsageError: ``dims`` where there are no symbols.
    """
    if isinstance(model, Graph):
        graph = model.clone()
    elif isinstance(model, str | Path) and Path(model).is_dir():
        from dnncc.artifact import load_graph

        graph = load_graph(Path(model))
    elif isinstance(model, str | Path) and Path(model).suffix == ".ir":
        from dnncc.ir.text import read_ir
        from dnncc.ir.verify import verify

        graph = read_ir(model)
        verify(graph)
    else:
        from dnncc.frontends.onnx import load_onnx

        return load_onnx(model, dims)
    if dims:
        raise UsageError("only ONNX models have symbolic dimensions", help="leave out --dim")
    return graph
