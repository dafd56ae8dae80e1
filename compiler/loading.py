"""Networks from wherever they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dnncc.errors import UsageError
from dnncc.ir.graph import Graph


def load(
    model: Any,
    dims: Mapping[str, int] | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Graph:
    """The graph of a model.

    Args:
        model: an ONNX file; an ``onnx.ModelProto``; a PyTorch module, exported program or ``.pt2`` file, see
            ``dnncc.frontends.torch``; a text file in the IR's form, ``*.ir``; the folder of an artifact, which gives
            the graph that it was made from; or a ``Graph``, which is copied.
        dims: values of an ONNX model's symbolic dimensions, see ``dnncc.frontends.onnx.load_onnx``.
        example_inputs: what a PyTorch module is exported with.
        inputs, outputs: where to cut an ONNX or PyTorch model, see ``dnncc.frontends.onnx_cut``.

    Raises:
        ModelError: the model cannot be read or imported.
        UsageError: dims, example inputs or cuts where there can be none.
    """
    return load_hashed(model, dims, example_inputs=example_inputs, inputs=inputs, outputs=outputs)[0]


def load_hashed(
    model: Any,
    dims: Mapping[str, int] | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> tuple[Graph, str]:
    """``load``, and the sha256 of what was read."""
    from dnncc.frontends.torch import SUFFIX, is_module, torch_to_onnx

    is_file = isinstance(model, str | Path)
    from_torch = is_module(model) or (is_file and Path(model).suffix == SUFFIX)
    if example_inputs is not None and not is_module(model):
        raise UsageError("only a PyTorch module takes example inputs")
    if not from_torch and (found := _graph(model)) is not None:
        if dims:
            raise UsageError("only ONNX models have symbolic dimensions", help="leave out --dim")
        if inputs or outputs:
            raise UsageError(
                "only ONNX and PyTorch models can be cut", help="leave out --inputs and --outputs"
            )
        return found, hashlib.sha256(str(found).encode()).hexdigest()
    from dnncc.frontends.onnx import load_onnx

    name = None
    if from_torch:
        name = Path(model).stem if is_file else type(model).__name__
        proto = torch_to_onnx(model, example_inputs, name)
    else:
        proto = model
    graph = load_onnx(proto, dims, name, inputs, outputs)
    data = Path(model).read_bytes() if is_file else proto.SerializeToString(deterministic=True)
    return graph, hashlib.sha256(data).hexdigest()


def _graph(model: Any) -> Graph | None:
    """A model that is a graph already, in memory, as text or in an artifact."""
    if isinstance(model, Graph):
        return model.clone()
    if isinstance(model, str | Path) and Path(model).is_dir():
        from dnncc.artifact import load_graph

        return load_graph(Path(model))
    if isinstance(model, str | Path) and Path(model).suffix == ".ir":
        from dnncc.ir.text import read_ir
        from dnncc.ir.verify import verify

        graph = read_ir(model)
        verify(graph)
        return graph
    return None
