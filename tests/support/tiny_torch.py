"""Tiny PyTorch networks whose card is that of `support.models`: one probability, or a mask, of a small image."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

SHAPE = (1, 1, 8, 8)


class Classifier(nn.Module):
    """(1, 1, 8, 8) -> (1, 1): convolution, normalization, mean, linear, sigmoid."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 1)

    def forward(self, image: Any) -> Any:
        return torch.sigmoid(self.head(self.features(image).mean((2, 3))))


class Giving(nn.Module):
    """A classifier whose output is wrapped: `shape` makes what it gives out of the probability."""

    def __init__(self, shape: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network, self.shape = Classifier(), shape

    def forward(self, image: Any) -> Any:
        return self.shape(self.network(image))


class Wide(nn.Module):
    """A classifier that computes in float64 between a float32 input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Classifier().double()

    def forward(self, image: Any) -> Any:
        return self.network(image.double()).float()


class Bessel(nn.Module):
    """A layer that ONNX has no operator for."""

    def forward(self, image: Any) -> Any:
        return torch.special.bessel_j0(image)


def classifier(width: int = 4, seed: int = 0) -> Classifier:
    """A classifier with weights of its own seed, normalization statistics that are not the defaults."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(width)
        network.features[1].running_mean.uniform_(-0.5, 0.5)
        network.features[1].running_var.uniform_(0.5, 2.0)
    return network.eval()


def with_bessel() -> nn.Module:
    """A classifier with an operator that cannot be exported, in layer `features.3`."""
    network = classifier()
    network.features.append(Bessel())
    return network


def saved(content: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


class _Swish(nn.Module):
    """As MONAI's EfficientNet: the memory-efficient form cannot be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.efficient = True

    def set_swish(self, memory_efficient: bool) -> None:
        self.efficient = memory_efficient

    def forward(self, image: Any) -> Any:
        if self.efficient:
            raise RuntimeError("not for export")
        return image * torch.sigmoid(image)


class _Branching(Classifier):
    def forward(self, image: Any) -> Any:
        if self.features(image).mean() > 0:
            return super().forward(image)
        return super().forward(image) + 1


class _Padded(Classifier):
    def forward(self, image: Any) -> Any:
        return super().forward(nn.functional.pad(image, (0, 1, 0, 1)))


def padded() -> nn.Module:
    """A classifier that pads its input, after which tracing knows no shape."""
    return _Padded().eval()


def with_swish() -> nn.Module:
    """A classifier with a layer that has to be told to compute plainly."""
    network = classifier()
    network.features.append(_Swish())
    return network


def branching() -> nn.Module:
    """A classifier whose steps depend on its values."""
    return _Branching().eval()


def _giving(make: Callable[[Any], Any]) -> Callable[[], nn.Module]:
    class Giver(Classifier):
        def forward(self, image: Any) -> Any:
            return make(super().forward(image))

    return lambda: Giver().eval()


giving_list = _giving(lambda y: [y, y + 1])
giving_shape = _giving(lambda y: (torch.cat([y, y]), [y]))
giving_dictionary = _giving(lambda y: {"other": y + 1, "probability": y})
giving_nested = _giving(lambda y: {"main": {"probability": y}, "auxiliary": [y + 1]})
giving_wrong = _giving(lambda y: {"a": torch.cat([y, y], 1), "b": [y.reshape(1, 1, 1)]})
