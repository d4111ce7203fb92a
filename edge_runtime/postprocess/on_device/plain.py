"""Outputs that come down as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_runtime.device.base import Buffer, Stream
from edge_runtime.domain import Array
from edge_runtime.engines.card import Card
from edge_runtime.engines.views import LabelAnswer, Placement
from edge_runtime.kernels.program import Kernels
from edge_runtime.postprocess.decode import compile_decoder
from edge_runtime.postprocess.on_device.output import LABEL, Tensors, half, labels


class PlainDecoding:
    """The output itself, as float32; everything else is done on the host. For the few numbers of a classification."""

    def __init__(self, card: Card, kernels: Kernels, threshold: float | None) -> None:
        self.card = card
        self._kernels, self._threshold = kernels, threshold
        self._decode = compile_decoder(card)
        self.parameters = np.dtype([("labels", LABEL, (len(card.labels),))])

    def result_tensors(self, _source_shape: tuple[int, ...], /) -> Tensors:
        """The output's shape, float32."""
        return ((self.card.output.shape, "float32"),)

    def scratch_tensors(self) -> Tensors:
        """None."""
        return ()

    def place(self, _placement: Placement, /) -> Array:
        """The labels: nothing depends on where the output lies."""
        block = np.zeros(1, self.parameters)
        block["labels"] = labels(self.card, self._threshold)
        return block

    def enqueue(
        self, output: Buffer, _parameters: Buffer, results: Sequence[Buffer], _scratch: Sequence[Buffer], stream: Stream
    ) -> None:
        """Append one launch to the stream."""
        count = math.prod(self.card.output.shape)
        arguments = (output, half(self.card, output), np.uint32(count), results[0])
        self._kernels.launch("output_copy", (count, 1, 1), arguments, stream)

    def read(self, results: Sequence[Array], placement: Placement) -> tuple[LabelAnswer, ...]:
        """A probability of each label."""
        return self._decode([(results[0], None)], placement, self._threshold)
