"""Give a network of random weights a head that does something, within seconds.

The body keeps its random weights; its normalization statistics come from the training images, so that activations have
the ranges of a trained network's. The head alone is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from support.scenes import Scene
from torch import nn
from torch.nn import functional

_BATCH = 8
_GAIN = 0.5  # activations stay mostly where ReLU and SiLU are nearly straight
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_DECAY = 1e-3
_MIDDLE = 3.0
_STRIDE = 8  # of the finest level of a YOLO, the only one that is trained


def sharpen(network: nn.Module) -> None:
    """Make the middle of each kernel of 3 count most: a stack of random kernels blurs where things are."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)) and set(module.kernel_size) == {3}:
                middle = (slice(None), slice(None)) + (1,) * (module.weight.dim() - 2)
                module.weight[middle] *= _MIDDLE


def settle(network: nn.Module, images: torch.Tensor) -> None:
    """Set the statistics of every batch normalization to those of the images, and its scale and shift to `_GAIN`.

    With a scale of 1 and no shift, a deep network of random weights amplifies the last digit of an activation a
    thousandfold, as no trained one does.
    """
    norms = [m for m in network.modules() if isinstance(m, _NORMS)]
    kept = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        nn.init.constant_(norm.weight, _GAIN)
        nn.init.constant_(norm.bias, _GAIN)
        norm.momentum = None  # the mean of all batches
        norm.train()
    with torch.no_grad():
        for batch in images.split(_BATCH):
            network(batch)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    network.eval()


def train_heads(
    network: nn.Module, heads: list[nn.Module], images: torch.Tensor, loss: Callable[..., torch.Tensor], steps: int
) -> None:
    """Minimize `loss` of what the heads give, over their parameters, all images at once."""
    features: dict[nn.Module, list[torch.Tensor]] = {head: [] for head in heads}
    hooks = [head.register_forward_pre_hook(lambda m, given: features[m].append(given[0])) for head in heads]
    with torch.no_grad():
        for batch in images.split(_BATCH):
            network(batch)
    for hook in hooks:
        hook.remove()
    whole = {head: torch.cat(batches) for head, batches in features.items()}
    parameters = [parameter for head in heads for parameter in head.parameters()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(*(head(whole[head]) for head in heads)) + _DECAY * sum(p.square().sum() for p in parameters)
        value.backward()
        return value

    optimizer.step(step)


def classification_loss(scenes: list[Scene]) -> Callable[[Any], torch.Tensor]:
    """Of one logit, or of two classes."""
    truth = torch.tensor([bool(scene.discs) for scene in scenes])

    def loss(output: torch.Tensor) -> torch.Tensor:
        logit = output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]
        return functional.binary_cross_entropy_with_logits(logit, truth.float())

    return loss


def segmentation_loss(scenes: list[Scene]) -> Callable[[Any], torch.Tensor]:
    """Of one logit a pixel, or of two classes."""
    truth = torch.from_numpy(np.stack([scene.mask for scene in scenes])).float()

    def loss(output: torch.Tensor) -> torch.Tensor:
        logit = output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]
        return functional.binary_cross_entropy_with_logits(logit, truth, pos_weight=torch.tensor(3.0))

    return loss


def yolov8_loss(scenes: list[Scene]) -> Callable[..., torch.Tensor]:
    """Of the finest level's raw sides and logits."""
    target = _Target(scenes)

    def loss(sides: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        bins = sides.flatten(2).unflatten(1, (-1, 16)).softmax(dim=2)
        distance = (bins * torch.arange(16.0).view(1, 1, 16, 1)).sum(dim=2) * _STRIDE
        low, high = distance.chunk(2, dim=1)
        return target.loss(torch.cat([target.cells + (high - low) / 2, low + high], dim=1), logits.flatten(2)[:, 0])

    return loss


def yolov5_loss(scenes: list[Scene]) -> Callable[..., torch.Tensor]:
    """Of the finest level's raw values: the boxes of the third anchor are to be the discs'."""
    target, anchor = _Target(scenes), torch.tensor([33.0, 23.0]).view(1, 2, 1)

    def loss(raw: torch.Tensor) -> torch.Tensor:
        anchors = raw.flatten(2).unflatten(1, (3, -1))
        rest, values = anchors[:, :2], anchors[:, 2]
        centre = target.cells + (2 * values[:, :2].sigmoid() - 1) * _STRIDE
        size = (2 * values[:, 2:4].sigmoid()) ** 2 * anchor
        other = rest[:, :, 4].sigmoid().mean() + functional.softplus(-values[:, 5]).mean()
        return target.loss(torch.cat([centre, size], dim=1), values[:, 4]) + other

    return loss


class _Target:
    """Cells in the middle of a disc are to have the disc's box and a high score; those beyond it a low one."""

    def __init__(self, scenes: list[Scene]) -> None:
        shape = scenes[0].pixels.shape
        boxes, middle, near = zip(*(_cells(scene, shape) for scene in scenes), strict=True)
        self.boxes, self.middle, self.near = torch.stack(boxes), torch.stack(middle), torch.stack(near)
        self.cells = torch.from_numpy(_centres(shape)[:: -1 if len(shape) == 2 else 1].copy()).float()

    def loss(self, boxes: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        of_score = functional.binary_cross_entropy_with_logits(logits, self.middle.float(), reduction="none")
        of_box = (functional.smooth_l1_loss(boxes, self.boxes, reduction="none").mean(dim=1) * self.near).sum()
        return of_box / self.near.sum() / _STRIDE + 10 * (of_score * (self.middle * 2.0 + ~self.near)).mean()


def _centres(shape: tuple[int, ...]) -> np.ndarray:
    """Of the finest level's cells, (axes, cells), in indices."""
    axes = [(np.arange(n // _STRIDE) + 0.5) * _STRIDE for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(len(shape), -1)


def _cells(scene: Scene, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each cell of the finest level: the box of the nearest disc; is it in the disc's middle; is it in the disc.

    Of pictures the axes of a box are x, y.
    """
    cells = _centres(shape)
    centres = np.array([c for c, _ in scene.discs]).T
    radii = np.array([r for _, r in scene.discs])
    distance = np.linalg.norm(cells[:, :, None] - centres[:, None, :], axis=0)
    nearest = distance.argmin(axis=1)
    step = -1 if len(shape) == 2 else 1
    centre = centres[::step, nearest]
    box = np.concatenate([centre, np.broadcast_to(2 * radii[nearest], centre.shape)])
    share = distance.min(axis=1) / radii[nearest]
    return torch.from_numpy(box).float(), torch.from_numpy(share < 0.5), torch.from_numpy(share < 1.1)
