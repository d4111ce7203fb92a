"""From a network's numbers to probabilities."""

from __future__ import annotations

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Label


def probability(card: Card, channel: int, output: Array) -> Array:
    """Probabilities of one channel of (channels, ...), float32; a view where there is nothing to compute."""
    chosen: Array = output[channel]
    if card.decode.activation == "sigmoid":
        return sigmoid(chosen)
    if card.decode.activation == "softmax":
        shifted = np.exp(output - output.max(axis=0))
        softmax: Array = shifted[channel] / shifted.sum(axis=0)
        return softmax
    return chosen


def sigmoid(values: Array) -> Array:
    """1 / (1 + e^-x), float32."""
    with np.errstate(over="ignore"):
        result: Array = 1 / (1 + np.exp(-values.astype(np.float32)))
    return result


def level(label: Label, threshold: float | None) -> np.float32:
    """What a probability of the label must be above: the threshold given, or that of the card."""
    return np.float32(label.threshold if threshold is None else threshold)
