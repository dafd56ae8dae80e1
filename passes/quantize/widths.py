"""Which nodes' weights get a width, and which width where the options say it layer by layer."""

from __future__ import annotations

from dnncc.errors import UsageError
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ops.moved import integers_of
from dnncc.passes.quantize.calibrate import SUMS
from dnncc.passes.quantize.options import QuantizeOptions


def layers_of(graph: Graph) -> list[Node]:
    """The nodes of a float graph whose weights get a width: constant, and not given as integers by the model."""
    nodes = graph.find(*SUMS)
    return [n for n in nodes if isinstance(n.inputs[1], Const) and integers_of(n.inputs[1]) is None]


def layer_bits(graph: Graph, options: QuantizeOptions) -> dict[Node, int]:
    """The width of each layer's weights where the options say it layer by layer.

    Raises:
        UsageError: they are for another number of layers.
    """
    if isinstance(options.bits, str):
        return {}
    layers = layers_of(graph)
    if len(layers) != len(options.bits):
        raise UsageError(f"{len(options.bits)} widths were given for {len(layers)} layers of '{graph.name}'")
    return dict(zip(layers, options.bits, strict=True))
