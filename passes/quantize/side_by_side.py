"""All samples through a graph side by side, one node after the other, so that nodes may change before they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array

Results = list[list[Array]]
"""Per sample, one array per output of a node."""


class SideBySide:
    """An execution of ``graph`` on several samples, from its first node on; what nothing reads any more is dropped.

    Args:
        graph: the operands of a node that has not run yet may still be replaced by constants.
        inputs: per sample, one array per graph input.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Sequence[Array]]) -> None:
        self._nodes = iter(enumerate(graph.nodes))
        self._last_use = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
        self._states = [dict(zip(graph.inputs, arrays, strict=True)) for arrays in inputs]

    def steps(self) -> Iterator[tuple[Node, list[list[Array]]]]:
        """The nodes that have not run yet, each with its operands per sample; ``keep`` must follow each."""
        for index, node in self._nodes:
            self._index = index
            yield (
                node,
                [
                    [v.data if isinstance(v, Const) else state[v] for v in node.inputs]
                    for state in self._states
                ],
            )

    def keep(self, node: Node, results: Results) -> None:
        """Let the later nodes read these results of ``node``."""
        for state, arrays in zip(self._states, results, strict=True):
            state.update(zip(node.outputs, arrays, strict=True))
            for value in {v for v in node.inputs if v in state and self._last_use[v] <= self._index}:
                del state[value]

    def until(self, value: Value) -> list[Array]:
        """Run as far as ``value`` is known; returns it per sample."""
        while any(value not in state for state in self._states):
            node, operands = next(self.steps())
            self.keep(node, [list(node.op.reference(*arrays)) for arrays in operands])
        return [state[value] for state in self._states]
