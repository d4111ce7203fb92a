"""Read a network's output on the device: what comes down is of fixed size, and the host makes answers of it.

What a decoding appends to a stream depends on shapes alone: recorded once as a graph, it serves every output, and every
placement on sources of the shape for which its results were made.
"""

from __future__ import annotations

from edge_runtime.engines.card import Card
from edge_runtime.engines.recipe import Tile
from edge_runtime.kernels.program import Kernels
from edge_runtime.postprocess.on_device.boxes import BoxDecoding
from edge_runtime.postprocess.on_device.masks import MaskDecoding
from edge_runtime.postprocess.on_device.plain import PlainDecoding

Decoding = BoxDecoding | MaskDecoding | PlainDecoding

__all__ = ["BoxDecoding", "Decoding", "MaskDecoding", "PlainDecoding", "decoding"]


def decoding(card: Card, kernels: Kernels, threshold: float | None) -> Decoding | str:
    """How outputs of the card are read on the device at its thresholds or this one; a str says why they are not."""
    if card.operation(Tile) is not None:
        return "its windows are put together on the host"
    if card.task == "classification":
        return PlainDecoding(card, kernels, threshold)
    return BoxDecoding(card, kernels, threshold) if card.decode.gives_boxes else MaskDecoding(card, kernels, threshold)
