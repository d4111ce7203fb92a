"""The networks: small convolutional networks of 55 to 215 thousand weights. All take (n, 3, rows, columns) in 0..1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def _convolution(channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalization (folded into it at export), ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _grown(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="nearest")


class Classifier(nn.Module):
    """Is the frame informative? The mean and the strongest of what is seen anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(3, 12, 2), _convolution(12, 24, 2), _convolution(24, 24), _convolution(24, 40, 2),
            _convolution(40, 40), _convolution(40, 64, 2),
        )  # fmt: skip
        self.score = nn.Linear(128, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (n, 1)."""
        features = self.features(image)
        scores: Tensor = self.score(torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1))
        return scores


class Detector(nn.Module):
    """Where are polyps? A box and a logit for each cell, without anchors.

    Each of `channels` halves rows and columns; cells are those of the last but one.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.cell = 2 ** (len(channels) - 1)
        *early, middle, low = channels
        layers = [_convolution(3, early[0], 2)]
        for before, after in zip(early, (*early[1:], middle), strict=True):
            layers += [_convolution(before, after, 2), _convolution(after, after)]
        self.middle = nn.Sequential(*layers)
        self.low = nn.Sequential(_convolution(middle, low, 2), _convolution(low, low), _convolution(low, low))
        self.up = _convolution(middle + low, middle)
        self.score = nn.Sequential(_convolution(middle, 32, kernel=1), nn.Conv2d(32, 1, 1))
        self.box = nn.Sequential(_convolution(middle, 32), nn.Conv2d(32, 4, 1))

    def cells(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Of each cell: centre and size (x, y, width, height) in pixels, (n, 4, ...); the logit, (n, 1, ...)."""
        middle = self.middle(image)
        features = self.up(torch.cat([middle, _grown(self.low(middle))], dim=1))
        raw = self.box(features)
        centre = cell_centres(features.shape[2:], self.cell) + raw[:, :2] * self.cell
        size = torch.exp(raw[:, 2:].clamp(-2.0, 4.0)) * self.cell
        return torch.cat([centre, size], dim=1), self.score(features)

    def forward(self, image: Tensor) -> Tensor:
        """The layout of YOLOv8, (n, 5, cells): x, y, width, height, logit."""
        return torch.cat(self.cells(image), dim=1).flatten(2)


class SmallDetector(Detector):
    """The detector for a quarter of the pixels."""

    def __init__(self) -> None:
        super().__init__((16, 32, 48))


def cell_centres(grid: Any, cell: int) -> Tensor:
    """Centres x, y of the cells in pixels of the input, (1, 2, rows, columns)."""
    y, x = ((torch.arange(int(n), dtype=torch.float32) + 0.5) * cell for n in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


class Segmenter(nn.Module):
    """Which pixels are polyp? A U-Net."""

    def __init__(self, channels: tuple[int, int, int, int] = (12, 24, 40, 56)) -> None:
        super().__init__()
        a, b, c, d = channels
        self.first = nn.Sequential(_convolution(3, a), _convolution(a, a))
        self.second = nn.Sequential(_convolution(a, b, 2), _convolution(b, b))
        self.third = nn.Sequential(_convolution(b, c, 2), _convolution(c, c))
        self.fourth = nn.Sequential(_convolution(c, d, 2), _convolution(d, d))
        self.to_third = _convolution(c + d, c)
        self.to_second = _convolution(b + c, b)
        self.to_first = _convolution(a + b, a)
        self.score = nn.Conv2d(a, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the input's extent, (n, 1, rows, columns)."""
        first = self.first(image)
        second = self.second(first)
        third = self.third(second)
        third = self.to_third(torch.cat([third, _grown(self.fourth(third))], dim=1))
        second = self.to_second(torch.cat([second, _grown(third)], dim=1))
        scores: Tensor = self.score(self.to_first(torch.cat([first, _grown(second)], dim=1)))
        return scores
