"""Carrying out a choice: each run of layers between two cuts becomes one convolution."""

from __future__ import annotations

from collections.abc import Collection

from dnncc.errors import Culprit, ModelError
from dnncc.ir.graph import Const, Graph
from dnncc.passes.depth.layers import Layers, find_layers
from dnncc.passes.depth.problem import Segment
from dnncc.passes.match import Rewriter


def merge(graph: Graph, segments: Collection[Segment]) -> None:
    """Merge segments of a graph (in place); the activations inside them go.

    Args:
        segments: as `find_layers` counts; each can be merged, and they do not overlap.

    Raises:
        ModelError: a merged kernel is beyond 32-bit floats.
    """
    layers = find_layers(graph)
    for i, j in segments:
        _merge_one(graph, layers, i, j)
    graph.prune()


def merged(graph: Graph, segments: Collection[Segment]) -> Graph:
    """``merge`` on a copy."""
    copy = graph.clone()
    merge(copy, segments)
    return copy


def _merge_one(graph: Graph, layers: Layers, i: int, j: int) -> None:
    kernel = layers.kernel(i, j)
    parameters = kernel.parameters()
    conv = layers[j].conv
    if parameters is None:
        raise ModelError(
            "a merged kernel does not fit 32-bit floats",
            [Culprit(layers[p].conv.name, "conv2d", "is part of it") for p in range(i + 1, j + 1)],
            help="scale the weights of these layers",
        )
    rewriter = Rewriter(graph)
    old = [v for v in conv.inputs[1:] if isinstance(v, Const)]
    constants = [rewriter.renewed(v, array) for v, array in zip(old, parameters, strict=True)]
    absorbed = layers[j].add if layers.absorbs(i, j) else None
    conv.op = kernel.op
    conv.inputs = [layers.begin(i), *constants]
    if absorbed is not None:
        rewriter.replace(absorbed.output, conv.output)
