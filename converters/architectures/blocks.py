"""The building blocks of the YOLO family, for images (2 dimensions) and volumes (3).

Modules are named as in the published checkpoints (`cv1.conv.weight`, `m.0.cv2.bn.bias`), so that those load.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def plain_convolution(dimensions: int, channels_in: int, channels_out: int) -> Any:
    """A convolution with a kernel of 1 and a bias: the last layer of a head."""
    return _CONVOLUTION[dimensions](channels_in, channels_out, 1)


class Conv(nn.Module):
    """Convolution, batch normalization, SiLU."""

    def __init__(self, dimensions: int, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = _CONVOLUTION[dimensions](channels_in, channels_out, kernel, stride, padding, bias=False)
        self.bn = _NORM[dimensions](channels_out, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels in, ...) to (n, channels out, ...)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Two convolutions, the input added where `shortcut`."""

    def __init__(self, dimensions: int, channels: int, shortcut: bool, kernels: tuple[int, int]) -> None:
        super().__init__()
        self.cv1 = Conv(dimensions, channels, channels, kernels[0])
        self.cv2 = Conv(dimensions, channels, channels, kernels[1])
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Cross-stage partial block of YOLOv5: half of the channels pass through bottlenecks, half beside them."""

    def __init__(self, dimensions: int, channels_in: int, channels_out: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = channels_out // 2
        self.cv1 = Conv(dimensions, channels_in, half)
        self.cv2 = Conv(dimensions, channels_in, half)
        self.cv3 = Conv(dimensions, 2 * half, channels_out)
        self.m = nn.Sequential(*(Bottleneck(dimensions, half, shortcut, (1, 3)) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels in, ...) to (n, channels out, ...)."""
        out: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))
        return out


class C2f(nn.Module):
    """Cross-stage partial block of YOLOv8: what each bottleneck gives is kept and joined."""

    def __init__(self, dimensions: int, channels_in: int, channels_out: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = channels_out // 2
        self.half = half
        self.cv1 = Conv(dimensions, channels_in, 2 * half)
        self.cv2 = Conv(dimensions, (2 + repeats) * half, channels_out)
        self.m = nn.ModuleList(Bottleneck(dimensions, half, shortcut, (3, 3)) for _ in range(repeats))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels in, ...) to (n, channels out, ...)."""
        parts = list(self.cv1(x).split(self.half, dim=1))
        for block in self.m:
            parts.append(block(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, dim=1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling: three maxima of 5 in a row see what kernels of 5, 9 and 13 would."""

    def __init__(self, dimensions: int, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(dimensions, channels, channels // 2)
        self.cv2 = Conv(dimensions, 4 * (channels // 2), channels)
        self.m = _POOL[dimensions](5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """The shape stays."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        out: Tensor = self.cv2(torch.cat(parts, dim=1))
        return out


def cell_indices(shape: tuple[int, ...], x_first: bool) -> Tensor:
    """The index of each cell of a feature map on each axis, (axes, cells), the last axis running fastest."""
    axes = [torch.arange(n, dtype=torch.float32) for n in shape]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack(grid[::-1] if x_first else grid).flatten(1)
