"""Batch normalization disappears in the convolution or linear layer beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ir.graph import Graph
from dnncc.passes.affine import fold_affine
from dnncc.passes.base import Pass
from dnncc.passes.match import rewrite


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """conv2d or linear, then batch_norm with scale s and offset t per channel: W*s, b*s + t.

    batch_norm, then conv2d without padding (or t = 0) or linear: W*s, b + W t.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, graph: Graph) -> None:
        rewrite(graph, {"batch_norm": fold_affine})
