"""The three networks: small 3-D convolutional networks of about a quarter of a million weights.

All take (n, 1, z, y, x) float32 in 0..1, z upwards, y to the back, x to the left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.reference.samples import CELL

_CHANNELS = 40  # of the features in a cell
_BEST_CELLS = 4
_INPUT_HU = (-20.0, 130.0)  # what the cards' recipe makes 0 and 1 of
_WINDOWS_HU = ((0.0, 40.0), (30.0, 60.0), (45.0, 85.0), (70.0, 130.0))


def _convolution(channels_in: int, channels_out: int, kernel: Any, stride: Any = 1) -> nn.Sequential:
    """Convolution, batch normalization (folded into it at export), ReLU."""
    kernel = (kernel,) * 3 if isinstance(kernel, int) else kernel
    padding = tuple(k // 2 for k in kernel)
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, kernel, stride, padding, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def _grown(values: Tensor, factors: tuple[float, float, float]) -> Tensor:
    return functional.interpolate(values, scale_factor=factors, mode="nearest")


class Windows(nn.Module):
    """The image through four narrower windows, as readers look at heads: fluid, brain, blood, calcium."""

    def __init__(self) -> None:
        super().__init__()
        low, high = (torch.tensor(edges).view(1, -1, 1, 1, 1) for edges in zip(*_WINDOWS_HU, strict=True))
        whole = _INPUT_HU[1] - _INPUT_HU[0]
        self.register_buffer("factor", whole / (high - low), persistent=False)
        self.register_buffer("offset", (_INPUT_HU[0] - low) / (high - low), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 1, ...) to (n, 4, ...)."""
        return torch.clamp(image * self.factor + self.offset, 0.0, 1.0)


class Features(nn.Module):
    """An encoder down to an eighth of rows and columns, and a step back up to the grid of cells."""

    def __init__(self, channels: tuple[int, int, int] = (12, 32, 56)) -> None:
        super().__init__()
        first, second, third = channels
        self.stem = nn.Sequential(Windows(), _convolution(len(_WINDOWS_HU), first, (3, 5, 5), (1, 2, 2)))
        self.high = _convolution(first, first, 3)
        self.middle = nn.Sequential(_convolution(first, second, 3, 2), _convolution(second, second, 3))
        self.low = nn.Sequential(
            _convolution(second, third, 3, 2), _convolution(third, third, 3), _convolution(third, third, (1, 3, 3))
        )
        self.up = _convolution(second + third, _CHANNELS, (1, 3, 3))

    def forward(self, image: Tensor) -> Tensor:
        """(n, 1, z, y, x) to (n, 40, z / 2, y / 4, x / 4)."""
        middle = self.middle(self.high(self.stem(image)))
        low = _grown(self.low(middle), (2.0, 2.0, 2.0))
        out: Tensor = self.up(torch.cat([middle, low], dim=1))
        return out


def _head(channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(_CHANNELS, 32, 1), nn.ReLU(inplace=True), nn.Conv3d(32, channels_out, 1))


class Classifier(nn.Module):
    """Is there a haemorrhage? The mean logit of the four most suspicious cells."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.score = _head(1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (n, 1)."""
        return most_suspicious(self.score(self.features(image)))


def most_suspicious(scores: Tensor) -> Tensor:
    """The mean of the best cells' logits: (n, 1, ...) to (n, 1)."""
    return scores.flatten(2).topk(_BEST_CELLS, dim=2).values.mean(dim=2)


class Detector(nn.Module):
    """Where are haemorrhages? A box and a logit for each cell, without anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.score = _head(1)
        self.box = nn.Sequential(_convolution(_CHANNELS, 32, 3), nn.Conv3d(32, 6, 1))

    def boxes(self, features: Tensor) -> Tensor:
        """Centre and size on each axis in voxels of the window, (n, 6, ...)."""
        raw = self.box(features)
        cell = torch.tensor(CELL, dtype=torch.float32).view(1, 3, 1, 1, 1)
        centre = cell_centres(features.shape[2:]) + raw[:, :3] * cell
        return torch.cat([centre, torch.exp(raw[:, 3:].clamp(-3.0, 4.0)) * cell], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """The layout of YOLOv8, (n, 7, cells): centre (z, y, x), size (z, y, x), logit."""
        features = self.features(image)
        return torch.cat([self.boxes(features), self.score(features)], dim=1).flatten(2)


def cell_centres(grid: Any) -> Tensor:
    """Centres of the cells in voxels of the window, (1, 3, z, y, x)."""
    axes = [(torch.arange(int(n), dtype=torch.float32) + 0.5) * c for n, c in zip(grid, CELL, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


class Segmenter(nn.Module):
    """Which voxels are blood? A U-Net."""

    def __init__(self, channels: tuple[int, int, int, int] = (8, 16, 32, 48)) -> None:
        super().__init__()
        a, b, c, d = channels
        self.first = nn.Sequential(
            Windows(), _convolution(len(_WINDOWS_HU), a, (1, 3, 3)), _convolution(a, a, (1, 3, 3))
        )
        self.second = nn.Sequential(_convolution(a, b, (1, 3, 3), (1, 2, 2)), _convolution(b, b, 3))
        self.third = nn.Sequential(_convolution(b, c, 3, 2), _convolution(c, c, 3))
        self.fourth = nn.Sequential(_convolution(c, d, 3, 2), _convolution(d, d, 3))
        self.to_third = _convolution(c + d, c, (1, 3, 3))
        self.to_second = _convolution(b + c, b, (1, 3, 3))
        self.to_first = _convolution(a + b, a, (1, 3, 3))
        self.score = nn.Conv3d(a, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the input's extent, (n, 1, z, y, x)."""
        first = self.first(image)
        second = self.second(first)
        third = self.third(second)
        fourth = self.fourth(third)
        third = self.to_third(torch.cat([third, _grown(fourth, (2.0, 2.0, 2.0))], dim=1))
        second = self.to_second(torch.cat([second, _grown(third, (2.0, 2.0, 2.0))], dim=1))
        first = self.to_first(torch.cat([first, _grown(second, (1.0, 2.0, 2.0))], dim=1))
        scores: Tensor = self.score(first)
        return scores
