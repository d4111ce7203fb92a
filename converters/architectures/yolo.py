"""YOLOv5 (release 6) and YOLOv8 detectors as they were published, and YOLOv8 on volumes.

They are defined here anew, so that a state dictionary needs no other package; keys, parameter counts and outputs are
those of Ultralytics' checkpoints (`model.0.conv.weight` ...). In a card:

    checkpoint:
      format: state_dict
      architecture: {callable: "converters.architectures.yolo:yolov8", arguments: {variant: n, classes: 2}}

Inputs are (n, channels, ...) float32, each extent a multiple of 32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.architectures.blocks import C3, SPPF, C2f, Conv, cell_indices, plain_convolution

_STRIDES = (8, 16, 32)
_CHANNELS = (64, 128, 256, 512, 1024)
_ANCHORS_PX = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
_YOLOV5 = {"n": (1 / 3, 0.25), "s": (1 / 3, 0.5), "m": (2 / 3, 0.75), "l": (1.0, 1.0), "x": (4 / 3, 1.25)}
_YOLOV8 = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.25, 512),
}
_BINS = 16


def yolov5(variant: str = "m", classes: int = 80, channels: int = 3) -> nn.Module:
    """YOLOv5 n, s, m, l or x: (n, channels, H, W) to (n, boxes, 5 + classes).

    A box is its centre and size in pixels (x, y, w, h), its objectness and a score for each class, all after the
    sigmoid; at 640 x 640 there are 25,200. Parameters with 80 classes: m 21,190,557, s 7,235,389, n 1,872,157.

    Raises:
        ValueError: there is no such variant.
    """
    depth, width = _chosen(_YOLOV5, variant)
    a, b, c, d, e = (_wide(n, width) for n in _CHANNELS)

    def c3(channels_in: int, channels_out: int, repeats: int, shortcut: bool = True) -> C3:
        return C3(2, channels_in, channels_out, _deep(repeats, depth), shortcut)

    layers = [
        Conv(2, channels, a, 6, 2), Conv(2, a, b, 3, 2), c3(b, b, 3), Conv(2, b, c, 3, 2), c3(c, c, 6),
        Conv(2, c, d, 3, 2), c3(d, d, 9), Conv(2, d, e, 3, 2), c3(e, e, 3), SPPF(2, e),
        Conv(2, e, d), nn.Upsample(scale_factor=2.0), nn.Identity(), c3(2 * d, d, 3, False),
        Conv(2, d, c), nn.Upsample(scale_factor=2.0), nn.Identity(), c3(2 * c, c, 3, False),
        Conv(2, c, c, 3, 2), nn.Identity(), c3(2 * c, d, 3, False),
        Conv(2, d, d, 3, 2), nn.Identity(), c3(2 * d, e, 3, False),
        AnchorHead(classes, (c, d, e)),
    ]  # fmt: skip
    return Yolo(layers, joined={12: 6, 16: 4, 19: 14, 22: 10}, seen=(17, 20, 23))


def yolov8(variant: str = "n", classes: int = 80, channels: int = 3, dimensions: int = 2) -> nn.Module:
    """YOLOv8 n, s, m, l or x: (n, channels, ...) to (n, 2 x dimensions + classes, boxes).

    A box is its centre and size in pixels, then a score for each class after the sigmoid. Of images the axes are
    x, y (at 640 x 640 there are 8,400 boxes), of volumes those of the input, z, y, x: Ultralytics publishes no such
    network. Parameters with 80 classes: n 3,157,200, s 11,166,560.

    Raises:
        ValueError: there is no such variant.
    """
    depth, width, most = _chosen(_YOLOV8, variant)
    if dimensions not in (2, 3):
        raise ValueError(f"dimensions: is 2 or 3, got {dimensions}")
    a, b, c, d, e = (_wide(min(n, most), width) for n in _CHANNELS)

    def conv(channels_in: int, channels_out: int) -> Conv:
        return Conv(dimensions, channels_in, channels_out, 3, 2)

    def c2f(channels_in: int, channels_out: int, repeats: int, shortcut: bool = True) -> C2f:
        return C2f(dimensions, channels_in, channels_out, _deep(repeats, depth), shortcut)

    layers = [
        conv(channels, a), conv(a, b), c2f(b, b, 3), conv(b, c), c2f(c, c, 6),
        conv(c, d), c2f(d, d, 6), conv(d, e), c2f(e, e, 3), SPPF(dimensions, e),
        nn.Upsample(scale_factor=2.0), nn.Identity(), c2f(e + d, d, 3, False),
        nn.Upsample(scale_factor=2.0), nn.Identity(), c2f(d + c, c, 3, False),
        conv(c, c), nn.Identity(), c2f(c + d, d, 3, False),
        conv(d, d), nn.Identity(), c2f(d + e, e, 3, False),
        DistributionHead(dimensions, classes, (c, d, e)),
    ]  # fmt: skip
    return Yolo(layers, joined={11: 6, 14: 4, 17: 12, 20: 9}, seen=(15, 18, 21))


class Yolo(nn.Module):
    """Layers one after the other; layer k of `joined` joins what came before it with an earlier layer's output.

    The last layer, the head, takes the outputs of the layers `seen`.
    """

    def __init__(self, layers: Sequence[nn.Module], joined: Mapping[int, int], seen: Sequence[int]) -> None:
        super().__init__()
        self.model = nn.ModuleList(layers)
        self._joined, self._seen = dict(joined), tuple(seen)

    def forward(self, image: Tensor) -> Tensor:
        """The head's boxes."""
        outputs: list[Tensor] = []
        x = image
        for index, layer in enumerate(list(self.model)[:-1]):
            x = torch.cat([x, outputs[self._joined[index]]], dim=1) if index in self._joined else layer(x)
            outputs.append(x)
        boxes: Tensor = self.model[-1]([outputs[index] for index in self._seen])
        return boxes


class AnchorHead(nn.Module):
    """YOLOv5's head: three boxes a cell, each relative to an anchor.

    `anchors` (levels, anchors, 2), in cells, is part of the state dictionary: training may have fitted them.
    """

    def __init__(self, classes: int, channels: Sequence[int]) -> None:
        super().__init__()
        strides = torch.tensor(_STRIDES, dtype=torch.float32).view(-1, 1, 1)
        self.register_buffer("anchors", torch.tensor(_ANCHORS_PX, dtype=torch.float32) / strides)
        self.values, self.boxes = 5 + classes, len(_ANCHORS_PX[0])
        self.m = nn.ModuleList(plain_convolution(2, c, self.boxes * self.values) for c in channels)
        with torch.no_grad():
            for layer, stride in zip(self.m, _STRIDES, strict=True):  # few boxes hold something: so training starts
                prior = layer.bias.view(self.boxes, -1)
                prior[:, 4] += math.log(8 / (640 / stride) ** 2)
                prior[:, 5:] += math.log(0.6 / (classes - 1 + 1e-6)) if classes > 1 else 0.0

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps of the three levels to (n, boxes, 5 + classes)."""
        return torch.cat([self._level(k, feature) for k, feature in enumerate(features)], dim=1)

    def _level(self, k: int, feature: Tensor) -> Tensor:
        rows, columns = int(feature.shape[2]), int(feature.shape[3])
        raw = self.m[k](feature).view(-1, self.boxes, self.values, rows * columns).transpose(2, 3)
        centre, size, scores = raw.sigmoid().split((2, 2, self.values - 4), dim=3)
        cells = cell_indices((rows, columns), x_first=True).T
        centre = (centre * 2 + (cells - 0.5)) * _STRIDES[k]
        size = (size * 2) ** 2 * (self.anchors[k] * _STRIDES[k]).unsqueeze(1)
        return torch.cat([centre, size, scores], dim=3).view(-1, self.boxes * rows * columns, self.values)


class DistributionHead(nn.Module):
    """YOLOv8's head: one box a cell, the distance of each side a distribution over 16 bins (arXiv 2006.04388)."""

    def __init__(self, dimensions: int, classes: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.dimensions, self.sides, self.classes = dimensions, 2 * dimensions, classes
        for_box = max(16, channels[0] // 4, self.sides * _BINS)
        for_class = max(channels[0], min(classes, 100))
        self.cv2 = nn.ModuleList(_branch(dimensions, c, for_box, self.sides * _BINS) for c in channels)
        self.cv3 = nn.ModuleList(_branch(dimensions, c, for_class, classes) for c in channels)
        self.dfl = _Expectation()
        with torch.no_grad():
            for box, score, stride in zip(self.cv2, self.cv3, _STRIDES, strict=True):
                box[-1].bias.fill_(1.0)
                score[-1].bias.fill_(math.log(5 / classes / (640 / stride) ** 2))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps of the three levels to (n, 2 x dimensions + classes, boxes)."""
        shapes = [tuple(int(n) for n in f.shape[2:]) for f in features]
        sides = self._flat(self.cv2, features, self.sides * _BINS)
        scores = self._flat(self.cv3, features, self.classes)
        cells = torch.cat([cell_indices(shape, self.dimensions == 2) for shape in shapes], dim=1) + 0.5
        strides = torch.cat([torch.full((math.prod(s),), float(k)) for s, k in zip(shapes, _STRIDES, strict=True)])
        low, high = self.dfl(sides, self.sides).split(self.dimensions, dim=1)
        centre, size = cells + (high - low) / 2, low + high
        return torch.cat([torch.cat([centre, size], dim=1) * strides, scores.sigmoid()], dim=1)

    @staticmethod
    def _flat(branches: nn.ModuleList, features: list[Tensor], channels: int) -> Tensor:
        maps = [branch(feature) for branch, feature in zip(branches, features, strict=True)]
        return torch.cat([m.view(-1, channels, math.prod(int(n) for n in m.shape[2:])) for m in maps], dim=2)


class _Expectation(nn.Module):
    """The expected bin of each side's distribution, as a convolution whose weights are 0 to 15."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(_BINS, 1, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(_BINS, dtype=torch.float32).view(1, _BINS, 1, 1))

    def forward(self, values: Tensor, sides: int) -> Tensor:
        """(n, sides x 16, boxes) to (n, sides, boxes), in cells."""
        boxes = int(values.shape[2])
        bins = functional.softmax(values.view(-1, sides, _BINS, boxes).transpose(1, 2), dim=1)
        expected: Tensor = self.conv(bins).view(-1, sides, boxes)
        return expected


def _branch(dimensions: int, channels_in: int, channels: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        Conv(dimensions, channels_in, channels, 3),
        Conv(dimensions, channels, channels, 3),
        plain_convolution(dimensions, channels, channels_out),
    )


def _chosen(variants: Mapping[str, tuple[float, ...]], variant: str) -> tuple[float, ...]:
    if variant not in variants:
        raise ValueError(f"variant: is one of {', '.join(variants)}, got {variant!r}")
    return variants[variant]


def _wide(channels: float, width: float) -> int:
    """Channels of a variant: a multiple of 8."""
    return math.ceil(channels * width / 8) * 8


def _deep(repeats: int, depth: float) -> int:
    """Repeats of a variant."""
    return max(1, round(repeats * depth))
