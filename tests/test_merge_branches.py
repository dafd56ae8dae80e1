"""RepVGG blocks from PyTorch become plain convolutions, and mean the same."""

from __future__ import annotations

import dnncc
import numpy as np
import pytest
from dnncc.interpreter import interpret
from dnncc.passes.pipeline import run_passes

torch = pytest.importorskip("torch")


def _block(channels: int, stride: int, groups: int) -> torch.nn.Module:
    """3x3, 1x1 and, without a stride, the identity, each with batch normalization that has seen data."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            conv = {"stride": stride, "groups": groups, "bias": False}
            self.large = nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, **conv), nn.BatchNorm2d(channels)
            )
            self.small = nn.Sequential(nn.Conv2d(channels, channels, 1, **conv), nn.BatchNorm2d(channels))
            self.same = nn.BatchNorm2d(channels) if stride == 1 else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.large(x) + self.small(x)
            return torch.relu(y if self.same is None else y + self.same(x))

    return Block()


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_a_repvgg_network_becomes_plain_convolutions(groups: int) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(*(_block(8, stride, groups) for stride in (2, 1, 1)))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2.0)
                module.bias.uniform_(-1.0, 1.0)
        for _ in range(5):
            network(torch.randn(16, 8, 9, 9) + 0.5)
    network.eval()
    x = torch.randn(1, 8, 9, 9)
    graph = dnncc.load(network, example_inputs=(x,))
    run_passes("simplify,merge-branches,simplify", graph)
    assert [n.op.name for n in graph.nodes if n.op.name not in ("transpose", "reshape")] == [
        "conv2d",
        "relu",
    ] * 3
    (found,) = interpret(graph, [x.numpy()])
    expected = network(x).detach().numpy()
    error = (
        np.square(found.astype(np.float64) - expected).sum() / np.square(expected.astype(np.float64)).sum()
    )
    assert error < 1e-12
