"""Small networks of the families that people train, with random weights and statistics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def conv(i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    """Convolution, batch normalization, activation."""
    layers: list[nn.Module] = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


def classifier(features: int, classes: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


def mobilenet_v1() -> nn.Module:
    def block(i: int, o: int, s: int) -> nn.Sequential:
        return nn.Sequential(conv(i, i, 3, s, i, nn.ReLU()), conv(i, o, 1, act=nn.ReLU()))

    return nn.Sequential(conv(3, 8, 3, 2, act=nn.ReLU()), block(8, 16, 1), block(16, 16, 2), classifier(16))


class InvertedResidual(nn.Module):
    def __init__(self, i: int, o: int, s: int, act: Callable[[], nn.Module], excite: bool = False) -> None:
        super().__init__()
        h = 4 * i
        self.expand, self.depthwise = conv(i, h, 1, act=act()), conv(h, h, 3, s, h, act())
        self.excite = SqueezeExcite(h) if excite else nn.Identity()
        self.project, self.residual = conv(h, o, 1), i == o and s == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class SqueezeExcite(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.down(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.up(scale))


def mobilenet_v2() -> nn.Module:
    act = nn.ReLU6
    blocks = [InvertedResidual(8, 8, 1, act), InvertedResidual(8, 12, 2, act)]
    return nn.Sequential(conv(3, 8, 3, 2, act=act()), *blocks, conv(12, 24, 1, act=act()), classifier(24))


def mobilenet_v3() -> nn.Module:
    blocks = [
        InvertedResidual(8, 8, 1, nn.ReLU, excite=True),
        InvertedResidual(8, 12, 2, nn.Hardswish, excite=True),
    ]
    return nn.Sequential(
        conv(3, 8, 3, 2, act=nn.Hardswish()), *blocks, conv(12, 24, 1, act=nn.Hardswish()), classifier(24)
    )


def efficientnet() -> nn.Module:
    blocks = [
        InvertedResidual(8, 8, 1, nn.SiLU, excite=True),
        InvertedResidual(8, 12, 2, nn.SiLU, excite=True),
    ]
    return nn.Sequential(
        conv(3, 8, 3, 2, act=nn.SiLU()), *blocks, conv(12, 24, 1, act=nn.SiLU()), classifier(24)
    )


class BasicBlock(nn.Module):
    def __init__(self, i: int, o: int, s: int) -> None:
        super().__init__()
        self.a, self.b = conv(i, o, 3, s, act=nn.ReLU(inplace=True)), conv(o, o)
        self.shortcut = conv(i, o, 1, s) if s > 1 or i != o else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        y += self.shortcut(x)
        return F.relu(y)


def resnet() -> nn.Module:
    stem = nn.Sequential(conv(3, 8, 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(stem, BasicBlock(8, 8, 1), BasicBlock(8, 16, 2), classifier(16))


class DenseBlock(nn.Module):
    def __init__(self, i: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(i + k * growth), nn.ReLU(), nn.Conv2d(i + k * growth, growth, 3, padding=1)
            )
            for k in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def densenet() -> nn.Module:
    transition = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1), nn.AvgPool2d(2))
    return nn.Sequential(
        conv(3, 8, 3, 2), DenseBlock(8, 4, 3), transition, DenseBlock(10, 4, 2), classifier(18)
    )


class ShuffleUnit(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(
            conv(h, h, 1, act=nn.ReLU()), conv(h, h, 3, 1, h), conv(h, h, 1, act=nn.ReLU())
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        y = torch.cat((a, self.branch(b)), dim=1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def shufflenet() -> nn.Module:
    return nn.Sequential(conv(3, 8, 3, 2, act=nn.ReLU()), ShuffleUnit(8), ShuffleUnit(8), classifier(8))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = conv(3, 8, act=nn.ReLU()), conv(8, 16, act=nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.end, self.out = conv(16, 8, act=nn.ReLU()), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        y = self.up(self.middle(F.max_pool2d(skip, 2)))
        return self.out(self.end(torch.cat([skip, y], 1)))


class SsdHead(nn.Module):
    """Boxes and scores of two feature maps, flattened and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = conv(3, 8, 3, 2, act=nn.ReLU6()), conv(8, 12, 3, 2, act=nn.ReLU6())
        self.boxes = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)])
        self.scores = nn.ModuleList([nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(12, 6, 3, padding=1)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = [self.stem(x)]
        maps.append(self.next(maps[0]))
        boxes = [m(f).permute(0, 2, 3, 1).reshape(1, -1, 4) for m, f in zip(self.boxes, maps, strict=True)]
        scores = [m(f).permute(0, 2, 3, 1).reshape(1, -1, 3) for m, f in zip(self.scores, maps, strict=True)]
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1).softmax(-1)}


class YoloTiny(nn.Module):
    """A neck with upsampling, and a head whose sigmoids become boxes on a grid."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.LeakyReLU(0.1)
        self.a, self.b = conv(3, 8, 3, 2, act=act), conv(8, 16, 3, 2, act=act)
        self.lateral, self.head = conv(16, 8, 1, act=act), nn.Conv2d(16, 2 * 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        small = self.b(fine := self.a(x))
        joined = torch.cat([F.interpolate(self.lateral(small), scale_factor=2.0), fine], 1)
        n, _, h, w = joined.shape
        y = self.head(joined).view(n, 2, 7, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        xy, wh, rest = y.split([2, 2, 3], dim=-1)
        return torch.cat([xy * 2 - 0.5, (wh * 2) ** 2, rest], -1).reshape(n, -1, 7)


class Recurrent(nn.Module):
    """A keyword network: features over time, the last state decides."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.out = kind(6, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.cell(x)
        return self.out(y[:, -1])


class Temporal(nn.Module):
    """A temporal convolution network: dilated, causal, residual."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(6, 6, 3, dilation=d) for d in (1, 2, 4))
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            (d,) = layer.dilation
            x = x + F.relu(layer(F.pad(x, (2 * int(d), 0))))
        return self.out(x.mean(-1))


def autoencoder() -> nn.Module:
    widths = [32, 16, 4, 16, 32]
    layers = [
        nn.Sequential(nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()) for i, o in itertools.pairwise(widths)
    ]
    return nn.Sequential(*layers, nn.Linear(32, 32))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(6, 16), nn.Parameter(torch.randn(1, 10, 16))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu"),
            2,
            enable_nested_tensor=False,
        )
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x) + self.position).mean(1))


IMAGE, SERIES = (1, 3, 32, 32), (1, 10, 6)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mobilenet-v1": (mobilenet_v1, IMAGE),
    "mobilenet-v2": (mobilenet_v2, IMAGE),
    "mobilenet-v3": (mobilenet_v3, IMAGE),
    "efficientnet": (efficientnet, IMAGE),
    "resnet": (resnet, IMAGE),
    "densenet": (densenet, IMAGE),
    "shufflenet": (shufflenet, IMAGE),
    "unet": (UNet, (1, 3, 16, 16)),
    "ssd-head": (SsdHead, IMAGE),
    "yolo-tiny": (YoloTiny, IMAGE),
    "lstm": (lambda: Recurrent(nn.LSTM), SERIES),
    "gru": (lambda: Recurrent(nn.GRU), SERIES),
    "temporal": (Temporal, (1, 6, 20)),
    "autoencoder": (autoencoder, (1, 32)),
    "transformer": (Transformer, SERIES),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A network in evaluation, its weights and statistics random, and an example input."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    module: Any = make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
    return module.eval(), torch.randn(*shape)
