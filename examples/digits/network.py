"""The digits network: what a keyword or vision model for a microcontroller is made of, at 8x8 pixels.

image [N,1,8,8]
  stem        Conv 3x3, BatchNorm, ReLU                        -> [N,16,8,8]
  depthwise   Conv 3x3 depthwise, BatchNorm, ReLU              -> [N,16,8,8]
  pointwise   Conv 1x1, BatchNorm, ReLU                        -> [N,32,8,8]
  pool        MaxPool 2x2                                      -> [N,32,4,4]
  first       Conv 3x3, BatchNorm, ReLU                        -> [N,32,4,4]
  second      Conv 3x3, BatchNorm                              -> [N,32,4,4]
  residual    pool + second, ReLU                              -> [N,32,4,4]
  average     AveragePool 2x2                                  -> [N,32,2,2]
  classifier  Flatten, Gemm                                    -> [N,10]
"""

from __future__ import annotations

import torch
from torch import nn


class ConvNorm(nn.Module):
    """A convolution without bias (the normalization has one) that keeps the image's size, then BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class DigitsNetwork(nn.Module):
    """Images [N, 1, 8, 8] in 0..16 to logits [N, 10]; the first BatchNorm takes care of the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, 16, 3)
        self.depthwise = ConvNorm(16, 16, 3, groups=16)
        self.pointwise = ConvNorm(16, 32, 1)
        self.pool = nn.MaxPool2d(2)
        self.first = ConvNorm(32, 32, 3)
        self.second = ConvNorm(32, 32, 3)
        self.average = nn.AvgPool2d(2)
        self.classifier = nn.Linear(32 * 2 * 2, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(image))
        x = torch.relu(self.depthwise(x))
        x = self.pool(torch.relu(self.pointwise(x)))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.classifier(torch.flatten(self.average(x), 1))
