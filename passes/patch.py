"""Patch-based inference: a stage of a CNN in parts of the image, so that its activations are never whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass


@dataclass(frozen=True)
class Patch(Pass):
    """Lets the kernels up to some activation compute a row of pixels at a time, or a patch after the other.

    - memory is what `fuse` will leave in memory, without the kernels' scratch memory; inputs and outputs belong to the
      caller and do not count;
    - where the stage ends, in which form and over which grid is chosen together: within `budget` bytes for the least
      added work, else for the least memory; at most `added` of the network's multiply-accumulates may come on top;
    - `form=rows` keeps the last rows of every activation, `form=patches` computes overlaps again, `form=any` decides;
    - `grid=(rows, columns)` is the largest number of parts of the stage's output to consider;
    - `to` names the value at which the stage has to end; with it `grid` is not searched but taken.
    """

    name: ClassVar[str] = "patch"
    form: Literal["any", "rows", "patches"] = "any"
    grid: tuple[int, int] = (8, 8)
    budget: int = 0
    added: float = 0.25
    to: str = ""

    def __post_init__(self) -> None:
        if min(self.grid) < 1:
            raise ValueError(f"a grid of {self.grid} parts")
        if self.budget < 0 or self.added < 0:
            raise ValueError(f"a budget of {self.budget} bytes and {self.added} more work")
        if self.to and self.form == "any":
            raise ValueError("a stage that ends at a given value needs a form: rows or patches")

    def run(self, graph: Graph) -> bool:
        from dnncc.patching import FORMS, patch_graph, patch_up_to

        if self.to:
            assert self.form != "any"
            patched = patch_up_to(graph, self.to, self.form, self.grid)
        else:
            forms = FORMS if self.form == "any" else (self.form,)
            offer = patch_graph(
                graph, budget=self.budget or None, most_added=self.added, forms=forms, grids=self.grid
            )
            if offer is None:
                return False
            patched = offer.graph
        graph.inputs, graph.outputs, graph.nodes = patched.inputs, patched.outputs, patched.nodes
        return True
