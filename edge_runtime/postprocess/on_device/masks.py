"""Masks cut at the threshold on the device, and brought to the source's grid there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_runtime.device.base import Buffer, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import LabelAnswer, Placement
from edge_runtime.errors import EngineError
from edge_runtime.kernels.program import Kernels
from edge_runtime.postprocess.decode import not_finite
from edge_runtime.postprocess.masks import detect, segment
from edge_runtime.postprocess.on_device.output import LABEL, Tensors, check_parameters, half, labels

AXIS = np.dtype(
    [
        ("first", np.int32),
        ("step", np.int32),
        ("extent", np.int32),
        ("size", np.int32),
        ("stride", np.int32),
        ("scale", np.float32),
    ]
)
"""`MaskAxis` of masks.cu; a parameter block has three, those of the source, then the labels."""

_ACTIVATIONS = {"none": 0, "sigmoid": 1, "softmax": 2}


class MaskDecoding:
    """Masks of one window, as `masks.read` gives them.

    The first result, uint8, is 1 where a probability is above its level: on the source's grid, (labels, *source), where
    nothing else is asked of a mask; on the network's, (labels, *network), where the host then looks for components or
    holes. The second, uint32, (1,), is not 0 where the output is not finite.
    """

    def __init__(self, card: Card, kernels: Kernels, threshold: float | None) -> None:
        self.card = card
        self._kernels = kernels
        self._grid = card.output.shape[2:]
        looks = card.decode.keep == "largest" or card.decode.fill_holes
        self._places = card.task == "segmentation" and not looks
        self._labels = labels(card, threshold)
        self.parameters = np.dtype([("axes", AXIS, (3,)), ("labels", LABEL, (len(card.labels),))])

    def result_tensors(self, source_shape: tuple[int, ...], /) -> Tensors:
        """The mask, for sources of this shape, and the flag."""
        shape = source_shape if self._places else self._grid
        return (((len(self.card.labels), *shape), "uint8"), ((1,), "uint32"))

    def scratch_tensors(self) -> Tensors:
        """The mask on the network's grid, where it is brought to the source's."""
        return (((len(self.card.labels), *self._grid), "uint8"),) if self._places else ()

    def place(self, placement: Placement, /) -> Array:
        """The parameter block, shape (1,): how each axis of the source leads to the network's grid."""
        block = np.zeros(1, self.parameters)
        axes = block["axes"][0]
        axes[0] = (0, 1, 1, 1, 0, 1.0)  # of a frame: its one plane
        ahead = 3 - len(placement.axes)
        for k, axis in enumerate(placement.axes):
            first, step = -placement.start[k], 1
            if placement.flipped[k]:
                first, step = placement.source_shape[axis] - 1 - placement.start[k], -1
            extent, size = placement.box_shape[k], self._grid[k]
            axes[ahead + axis] = (first, step, extent, size, math.prod(self._grid[k + 1 :]), size / extent)
        block["labels"] = self._labels
        return block

    def enqueue(
        self, output: Buffer, parameters: Buffer, results: Sequence[Buffer], scratch: Sequence[Buffer], stream: Stream
    ) -> None:
        """Append two launches to the stream, or three."""
        check_parameters(parameters, self.parameters)
        mask, failed = results
        on_grid = scratch[0] if self._places else mask
        voxels, count = math.prod(self._grid), np.uint32(len(self._labels))
        channels, activation = (
            np.uint32(self.card.output.shape[1]),
            np.uint32(_ACTIVATIONS[self.card.decode.activation]),
        )
        launch = self._kernels.launch
        launch("output_clear", (1, 1, 1), (failed, np.uint32(1)), stream)
        of = (output, half(self.card, output), channels, np.uint32(voxels), activation, parameters, count)
        launch("mask_cut", (voxels, 1, 1), (*of, on_grid, failed), stream)
        if self._places:
            planes, rows, columns = (1, *mask.shape[1:])[-3:]
            onto = (np.uint32(planes), np.uint32(rows), np.uint32(columns), mask)
            arguments = (on_grid, np.uint32(voxels), parameters, count, *onto)
            launch("mask_place", (columns, rows, planes), arguments, stream)

    def read(self, results: Sequence[Array], placement: Placement) -> tuple[LabelAnswer, ...]:
        """One mask on the source's grid, or the regions that masks fill, for each label.

        Raises:
            InferenceFailed: the output was not finite, or there are too many regions.
            EngineError: the result is of a source of another shape.
        """
        found, failed = results
        if failed[0]:
            raise not_finite(self.card)
        masks = zip(self.card.labels, found.view(np.bool_), strict=True)
        if not self._places:
            answer = detect if self.card.task == "detection" else segment
            return tuple(answer(self.card, label, mask, placement) for label, mask in masks)
        shape = found.shape[1:]
        if shape != placement.source_shape:
            raise EngineError(f"the masks are of a source of {shape}, the placement is of {placement.source_shape}")
        return tuple(LabelAnswer(label.name, voxels=mask.copy(), frame=placement.frame) for label, mask in masks)
