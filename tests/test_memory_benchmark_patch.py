"""The network that stages in parts are measured on."""

from __future__ import annotations

from dnncc.patching import patch_graph, state_patches

from benchmarks.memory.mobilenet import mobilenet_v2


def test_mobilenet_has_the_published_size_and_work() -> None:
    """3.4 million parameters and 300 million multiply-accumulates (Sandler et al., table 4)."""
    graph = mobilenet_v2()
    assert abs(sum(c.type.size for c in graph.constants()) / 1e6 - 3.5) < 0.1
    assert abs(graph.macs() / 1e6 - 300) < 3


def test_a_small_one_has_a_third_of_its_peak_without_more_work() -> None:
    graph = mobilenet_v2(64)
    offer = patch_graph(graph, forms=("rows",), most_added=0.0, grids=(1, 1))
    assert offer is not None
    assert offer.added_macs <= 0
    assert offer.peak < state_patches(graph, {}).problem.peak / 3
