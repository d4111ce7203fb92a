"""What training the detectors minimizes. Few cells hold a polyp; every loss weighs that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from converters.reference.endoscopy.networks import cell_centres

_NEAR = 0.5  # cells whose heat is above this learn the box
_SPREAD = 0.13  # of the heat around a box's centre, in box sizes


def heat(boxes: list[Tensor], grid: Any, cell: int) -> tuple[Tensor, Tensor]:
    """Heat (n, 1, ...), 1 in the cell of each box's centre, and the box that each cell is nearest to, (n, 4, ...).

    `boxes` has (k, 4) centre and size (x, y, width, height) for each image, in pixels of the input.
    """
    centres = cell_centres(grid, cell)[0]
    heats, targets = torch.zeros(len(boxes), 1, *grid), torch.ones(len(boxes), 4, *grid)
    for index, of_image in enumerate(boxes):
        for box in of_image:
            spread = (_SPREAD * box[2:]).clamp(min=0.55 * cell).view(2, 1, 1)
            square = (((centres - box[:2].view(2, 1, 1)) / spread) ** 2).sum(dim=0)
            warm = torch.exp(-square / 2)
            warm.view(-1)[int(square.argmin())] = 1.0
            warmer = warm > heats[index, 0]
            heats[index, 0][warmer] = warm[warmer]
            targets[index][:, warmer] = box[:, None]
    return heats, targets


def focal(scores: Tensor, heats: Tensor) -> Tensor:
    """The focal loss of CenterNet (Zhou et al., Objects as Points, 2019), a polyp."""
    p = torch.sigmoid(scores)
    hot = heats == 1
    of_hot = -((1 - p) ** 2) * functional.logsigmoid(scores)
    of_cold = -((1 - heats) ** 4) * p**2 * functional.logsigmoid(-scores)
    return torch.where(hot, of_hot, of_cold).sum() / hot.sum().clamp(min=1)


def box_loss(boxes: Tensor, targets: Tensor, heats: Tensor) -> Tensor:
    """1 - IoU and the relative error of the sizes where it is warm; boxes are centre and size, (n, 4, ...)."""
    warm = heats[:, 0] > _NEAR
    if not bool(warm.any()):
        return boxes.sum() * 0
    found, wanted = boxes.permute(0, 2, 3, 1)[warm], targets.permute(0, 2, 3, 1)[warm]
    weight = heats[:, 0][warm]
    high = torch.minimum(found[:, :2] + found[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2)
    low = torch.maximum(found[:, :2] - found[:, 2:] / 2, wanted[:, :2] - wanted[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(dim=1)
    union = found[:, 2:].prod(dim=1) + wanted[:, 2:].prod(dim=1) - shared
    sizes = (torch.log(found[:, 2:]) - torch.log(wanted[:, 2:])).abs().mean(dim=1)
    places = ((found[:, :2] - wanted[:, :2]).abs() / wanted[:, 2:]).mean(dim=1)
    return (weight * (1 - shared / union + 0.5 * sizes + 0.5 * places)).sum() / weight.sum()
