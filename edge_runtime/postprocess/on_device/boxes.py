"""Boxes decoded on the device: scores, the best candidates and suppression, with an answer of fixed size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.device.base import Buffer, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import LabelAnswer, Placement
from edge_runtime.errors import InferenceFailed
from edge_runtime.kernels.program import Kernels
from edge_runtime.postprocess.boxes import MOST_CANDIDATES, answer, no_probabilities
from edge_runtime.postprocess.decode import not_finite
from edge_runtime.postprocess.masks import check_count
from edge_runtime.postprocess.on_device.output import LABEL, Tensors, check_parameters, half, labels

LAYOUT = np.dtype(
    [
        ("overlap", np.float64),
        ("limit", np.float64, (3,)),
        ("labels", np.int32),
        ("axes", np.int32),
        ("boxes", np.int32),
        ("rows", np.int32),
        ("by_box", np.int32),
        ("sigmoid", np.int32),
        ("maximum", np.int32),
    ],
    align=True,
)
"""`BoxLayout` of boxes.cu; the labels follow."""

_NOT_FINITE, _NO_PROBABILITY, _NO_OBJECTNESS = 1, 2, 4
_COUNT_WORDS = 3  # of `BoxCount`
_WORDS = -(-MOST_CANDIDATES // 32)


class BoxDecoding:
    """Boxes of one window, as `boxes.read` gives them.

    The answer is float64, (labels, 1 + most regions, 2 x axes + 1): in the first row flags, how many boxes are kept
    and the highest score; then start, stop and score of those for which there is room.
    """

    def __init__(self, card: Card, kernels: Kernels, threshold: float | None) -> None:
        self.card = card
        self._kernels = kernels
        self._axes = card.input.spatial
        self._by_box = card.decode.layout == "yolov5"
        shape = card.output.shape[1:]
        self._boxes, self._rows = shape if self._by_box else shape[::-1]
        self._maximum = min(card.decode.maximum_regions, MOST_CANDIDATES)
        self.parameters = np.dtype([("layout", LAYOUT), ("labels", LABEL, (len(card.labels),))])
        self._block = self._layout(threshold)

    def _layout(self, threshold: float | None) -> Array:
        card, block = self.card, np.zeros(1, self.parameters)
        layout = block["layout"]
        layout["overlap"] = card.decode.overlap
        layout["limit"][0, : self._axes] = card.input.shape[2:]
        layout["labels"], layout["axes"] = len(card.labels), self._axes
        layout["boxes"], layout["rows"] = self._boxes, self._rows
        layout["by_box"], layout["sigmoid"] = self._by_box, card.decode.activation == "sigmoid"
        layout["maximum"] = self._maximum
        block["labels"] = labels(card, threshold)
        return block

    def result_tensors(self, _source_shape: tuple[int, ...], /) -> Tensors:
        """The answer's buffer; it has the same size for every source."""
        return (((len(self.card.labels), 1 + self._maximum, 2 * self._axes + 1), "float64"),)

    def scratch_tensors(self) -> Tensors:
        """Counts, keys of what is above the level, the best as rows, and which falls where another is kept."""
        count = len(self.card.labels)
        return (
            ((count * _COUNT_WORDS,), "uint32"),
            ((count, self._boxes), "uint64"),
            ((count, MOST_CANDIDATES, 2 * self._axes + 1), "float64"),
            ((count, MOST_CANDIDATES, _WORDS), "uint32"),
        )

    def place(self, _placement: Placement, /) -> Array:
        """The parameter block: boxes lie on the network's grid wherever that is, so it is the same for all."""
        return self._block

    def enqueue(
        self, output: Buffer, parameters: Buffer, results: Sequence[Buffer], scratch: Sequence[Buffer], stream: Stream
    ) -> None:
        """Append five launches to the stream."""
        check_parameters(parameters, self.parameters)
        counts, keys, candidates, falls = scratch
        source, count = (output, half(self.card, output), parameters), len(self.card.labels)
        words, launch = count * _COUNT_WORDS, self._kernels.launch
        launch("output_clear", (words, 1, 1), (counts, np.uint32(words)), stream)
        launch("box_collect", (self._boxes, 1, 1), (*source, counts, keys), stream)
        launch("box_rank", (self._boxes, count, 1), (*source, counts, keys, candidates), stream)
        launch("box_overlap", (_WORDS, MOST_CANDIDATES, count), (parameters, counts, candidates, falls), stream)
        launch("box_keep", (count, 1, 1), (parameters, counts, candidates, falls, results[0]), stream)

    def read(self, results: Sequence[Array], placement: Placement) -> tuple[LabelAnswer, ...]:
        """The regions of each label, the best first, with their scores.

        Raises:
            InferenceFailed: the output was not finite, a score no probability, or there are too many regions.
        """
        card, (found,) = self.card, results
        flags = found[:, 0, 0].astype(np.int64).tolist()
        if flags[0] & _NOT_FINITE:
            raise not_finite(card)
        for label, flag in zip(card.labels, flags, strict=True):
            self._check(label.name, flag)
        answers = []
        for label, (first, *_), rows in zip(card.labels, found, found[:, 1:], strict=True):
            kept = int(first[1])
            check_count(card, label, kept)
            answers.append(answer(card, label, rows[:kept], float(first[2]), placement, card.input.shape[2:]))
        return tuple(answers)

    def _check(self, name: str, flag: int) -> None:
        wrong: InferenceFailed | None = None
        if flag & _NO_PROBABILITY:
            wrong = no_probabilities(self.card, name)
        elif flag & _NO_OBJECTNESS:
            wrong = no_probabilities(self.card, "objectness")
        if wrong is not None:
            raise wrong
