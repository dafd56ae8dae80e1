"""The passes that make a float graph small and regular, run until they find nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass

SIMPLIFY = (
    "fold-constants,adopt-quantization,recognise-activations,cancel-transposes,cancel-reshapes,fold-pad,"
    "fold-batch-norm,canonicalise,fold-scalars,recognise-normalization,merge-activations,cse,dce"
)


@dataclass(frozen=True)
class Simplify(Pass):
    """``SIMPLIFY`` again and again until a round changes nothing.

    Attributes:
        rounds: stop after this many in any case; the graph is right after each.
    """

    name: ClassVar[str] = "simplify"
    rounds: int = 20

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError("rounds must be positive")

    def run(self, graph: Graph) -> bool:
        # The pipeline's parser knows this pass.
        from dnncc.passes.pipeline import run_passes

        for done in range(self.rounds):
            if not run_passes(SIMPLIFY, graph):
                return done > 0
        return True
