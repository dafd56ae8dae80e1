"""Carrying out a choice: each run of layers between two cuts becomes one convolution."""

from __future__ import annotations

from collections.abc import Collection

from dnncc.errors import Culprit, ModelError
from dnncc.ir.graph import Const, Graph
from dnncc.passes.depth.layers import Layers, find_layers
from dnncc.passes.depth.problem import Merge
from dnncc.passes.match import Rewriter


def merge(graph: Graph, merges: Collection[Merge]) -> None:
    """Merge segments of a graph (in place); the activations inside them go.

    Args:
        merges: as `find_layers` counts; each can be merged, and they do not overlap.

    Raises:
        ModelError: a merged kernel is beyond 32-bit floats.
    """
    layers = find_layers(graph)
    for i, j, dropped in merges:
        _merge_one(graph, layers, i, j, dropped)
    graph.prune()


def merged(graph: Graph, merges: Collection[Merge]) -> Graph:
    """``merge`` on a copy."""
    copy = graph.clone()
    merge(copy, merges)
    return copy


def _merge_one(graph: Graph, layers: Layers, i: int, j: int, dropped: Collection[int]) -> None:
    kernel = layers.kernel(i, j, dropped)
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
