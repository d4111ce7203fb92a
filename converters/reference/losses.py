"""What training minimizes. Few cells hold a haemorrhage and few voxels are blood; every loss weighs that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from converters.reference.networks import cell_centres
from converters.reference.samples import CELL

_NEAR = 0.5  # cells whose heat is above this learn the box
_FILLED, _EMPTY = 0.25, 0.02  # share of blood; cells between are neither
_HARDEST = 1024  # empty cells that count: those that look most like blood
_SPREAD = 0.11  # of the heat around a box's centre, in box sizes


def heat(boxes: list[Tensor], grid: Any) -> tuple[Tensor, Tensor]:
    """Heat (n, 1, ...), 1 in the cell of each box's centre, and the box that each cell is nearest to, (n, 6, ...).

    `boxes` has (k, 6) start and stop for each image, in voxels.
    """
    centres, cell = cell_centres(grid), torch.tensor(CELL, dtype=torch.float32)
    heats = torch.zeros(len(boxes), 1, *grid)
    targets = torch.ones(len(boxes), 6, *grid)
    for index, of_image in enumerate(boxes):
        for box in of_image:
            centre, size = (box[:3] + box[3:]) / 2, box[3:] - box[:3]
            spread = torch.maximum(_SPREAD * size, 0.55 * cell).view(3, 1, 1, 1)
            square = (((centres[0] - centre.view(3, 1, 1, 1)) / spread) ** 2).sum(dim=0)
            warm = torch.exp(-square / 2)
            warm.view(-1)[int(square.argmin())] = 1.0
            warmer = warm > heats[index, 0]
            heats[index, 0][warmer] = warm[warmer]
            targets[index][:, warmer] = torch.cat([centre, size])[:, None]
    return heats, targets


def focal(scores: Tensor, heats: Tensor) -> Tensor:
    """The focal loss of CenterNet (Zhou et al., Objects as Points, 2019), a haemorrhage."""
    p = torch.sigmoid(scores)
    hot = heats == 1
    of_hot = -((1 - p) ** 2) * functional.logsigmoid(scores)
    of_cold = -((1 - heats) ** 4) * p**2 * functional.logsigmoid(-scores)
    return torch.where(hot, of_hot, of_cold).sum() / hot.sum().clamp(min=1)


def box_loss(boxes: Tensor, targets: Tensor, heats: Tensor) -> Tensor:
    """1 - IoU and the relative error of the sizes where it is warm; boxes are centre and size, (n, 6, ...)."""
    warm = heats[:, 0] > _NEAR
    if not bool(warm.any()):
        return boxes.sum() * 0
    found, wanted = boxes.permute(0, 2, 3, 4, 1)[warm], targets.permute(0, 2, 3, 4, 1)[warm]
    weight = heats[:, 0][warm]
    high = torch.minimum(found[:, :3] + found[:, 3:] / 2, wanted[:, :3] + wanted[:, 3:] / 2)
    low = torch.maximum(found[:, :3] - found[:, 3:] / 2, wanted[:, :3] - wanted[:, 3:] / 2)
    shared = (high - low).clamp(min=0).prod(dim=1)
    union = found[:, 3:].prod(dim=1) + wanted[:, 3:].prod(dim=1) - shared
    sizes = (torch.log(found[:, 3:]) - torch.log(wanted[:, 3:])).abs().mean(dim=1)
    places = ((found[:, :3] - wanted[:, :3]).abs() / wanted[:, 3:]).mean(dim=1)
    return (weight * (1 - shared / union + 0.5 * sizes + 0.5 * places)).sum() / weight.sum()


def presence(scores: Tensor, cells: Tensor) -> Tensor:
    """Cross entropy of cells that hold blood and cells that do not, each half; with the share of blood in 0..1."""
    every = functional.binary_cross_entropy_with_logits(scores, (cells > _FILLED).float(), reduction="none")
    filled, empty = cells > _FILLED, cells < _EMPTY
    of_filled = every[filled].sum() / filled.sum().clamp(min=1)
    return of_filled + every[empty].topk(min(_HARDEST, int(empty.sum()))).values.mean()


def overlap(scores: Tensor, blood: Tensor) -> Tensor:
    """Cross entropy, and 1 - Dice over the batch."""
    p = torch.sigmoid(scores)
    dice = (2 * (p * blood).sum() + 1) / (p.sum() + blood.sum() + 1)
    return functional.binary_cross_entropy_with_logits(scores, blood) * 3 + 1 - dice
