"""Frames: one kernel from the pixels to the network's input, at any crop of any picture."""

from __future__ import annotations

import math

import numpy as np

from edge_runtime.device.base import Buffer, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.recipe import Crop, Letterbox, Operation, Resize
from edge_runtime.engines.views import Placement, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.kernels import Kernels
from edge_runtime.preprocess import placing
from edge_runtime.preprocess.on_device.steps import ELEMENTS, STEPS, channels_after, fold

PARAMETERS = np.dtype([
    ("element", "<i4"), ("columns", "<i4"), ("channels", "<i4"),
    ("start", "<i4", 2), ("extent", "<i4", 2), ("before", "<i4", 2), ("box", "<i4", 2),
    ("scale", "<f4", 2), ("linear", "<i4"), ("fill", "<f4"), ("steps", STEPS),
])  # fmt: skip
"""FrameParameters of frame.cu."""

_MOST = 2**29
"""Extent of a box times that of the input: the kernel counts in 32 bits."""


def frame_preparation(card: Card, kernels: Kernels) -> FramePreparation | str:
    """The card's recipe on the device; a str says why it is done on the host."""
    reason = unable(card)
    return reason or FramePreparation(card, kernels)


def unable(card: Card) -> str:
    """Why the kernel cannot do the card's recipe; empty where it can."""
    if card.input.kind != "frame":
        return "its input is a volume"
    operations = [step.operation for step in card.preprocess]
    if isinstance(operations[0], Crop):
        operations = operations[1:]
    if not isinstance(operations[0], (Resize, Letterbox)):
        return f"{type(operations[0]).__name__.lower()} comes before the step that samples"
    folded = fold(operations[1:])
    return folded if isinstance(folded, str) else ""


class FramePreparation:
    """A card's recipe for frames. What changes from one frame to the next is in a block of parameters on the device.

    So one captured launch serves every picture and every crop.
    """

    parameters = PARAMETERS

    def __init__(self, card: Card, kernels: Kernels) -> None:
        reason = unable(card)
        if reason:
            raise ValueError(f"engine {card.name}: {reason}")
        operations = [step.operation for step in card.preprocess]
        self._card = card
        self._kernels = kernels
        self._crops = isinstance(operations[0], Crop)
        sampling, *self._changes = operations[1:] if self._crops else operations
        self._sampling: Operation = sampling
        self._base = np.zeros(1, dtype=PARAMETERS)
        self._base["steps"] = fold(self._changes)
        kernels.kernel("frame")

    def place(
        self, shape: tuple[int, ...], dtype: str, region: Region | None, margin: float, frame: int = 0
    ) -> tuple[Placement, Array]:
        """Where the input lies on a picture of (rows, columns[, 3]), and the block of parameters, shape (1,).

        `frame` names the picture in the placement; `region` counts where the recipe crops.

        Raises:
            InferenceFailed: the picture cannot be what the recipe asks for.
        """
        channels = shape[2] if len(shape) > 2 else 1
        self._check(shape, dtype, channels)
        cut = placing.whole(shape[:2], frame)
        if self._crops and region is not None:
            cut = placing.cut_to(cut, region, margin)
        sampling, placement = self._sampling, cut
        assert isinstance(sampling, (Resize, Letterbox))
        if isinstance(sampling, Letterbox):
            placement = placing.letterboxed(cut, sampling.shape)
        block = self._base.copy()
        block["element"], block["columns"], block["channels"] = ELEMENTS[dtype], shape[1], channels
        block["start"], block["extent"], block["box"] = cut.start, cut.box_shape, placement.box_shape
        block["before"] = np.subtract(cut.start, placement.start)
        block["scale"] = np.divide(placement.box_shape, sampling.shape)
        block["linear"] = sampling.method == "linear"
        block["fill"] = sampling.fill if isinstance(sampling, Letterbox) else 0.0
        if max(np.multiply(placement.box_shape, sampling.shape)) > _MOST:
            raise InferenceFailed(f"engine {self._card.name}: the picture is {shape}: too large")
        return placement, block

    def enqueue(self, pixels: Buffer, parameters: Buffer, into: Buffer, stream: Stream) -> None:
        """Append the launch: `into`, float32 or float16, (1, channels, rows, columns), from the pixels.

        `pixels` holds at least the picture that `place` was asked about, contiguous; `parameters` its block, as bytes.
        The launch depends on nothing but the buffers.
        """
        _, channels, rows, columns = into.shape
        sizes = np.array([channels, rows, columns, into.dtype == "float16"], dtype=np.uint32)
        self._kernels.launch("frame", (columns, rows, 1), (pixels, parameters, into, *sizes), stream)

    def _check(self, shape: tuple[int, ...], dtype: str, channels: int) -> None:
        name, wanted = self._card.name, self._card.input.shape[1]
        if len(shape) not in (2, 3) or channels not in (1, 3) or math.prod(shape) == 0:
            raise InferenceFailed(f"engine {name}: {shape} is no picture of (rows, columns) or (rows, columns, 3)")
        if dtype not in ELEMENTS:
            raise InferenceFailed(f"engine {name}: pixels are {' or '.join(ELEMENTS)}, got {dtype}")
        given = channels_after(self._changes, channels)
        if given != wanted:
            raise InferenceFailed(f"engine {name}: the recipe gives {given} channels, the input has {wanted}")
