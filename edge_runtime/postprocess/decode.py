"""Read a network's output as the card says: probabilities, masks on the source grid, or regions of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.views import LabelAnswer, Placement, Tile
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess import boxes, masks
from edge_runtime.postprocess.activation import probability

Run = tuple[Array, Tile | None]
Decode = Callable[[Iterable[Run], Placement, float | None], tuple[LabelAnswer, ...]]


def compile_decoder(card: Card) -> Decode:
    """The function that reads outputs: (runs of one place, placement, threshold or None) -> one answer a label.

    `runs` gives each output with its window, one at a time: the memory of an output may be used again by the next. A
    threshold overrides those of the card. It raises `InferenceFailed` where an output holds NaN or infinity, or is no
    probability where it must be one.
    """
    read = _classify if card.task == "classification" else boxes.read if card.decode.gives_boxes else masks.read

    def decode(runs: Iterable[Run], placement: Placement, threshold: float | None) -> tuple[LabelAnswer, ...]:
        return read(card, _checked(card, runs), placement, threshold)

    return decode


def _checked(card: Card, runs: Iterable[Run]) -> Iterator[Run]:
    """Each output without its batch axis."""
    for output, tile in runs:
        if output.shape != card.output.shape:
            raise InferenceFailed(
                f"engine {card.name}: the output is {output.shape}, the card says {card.output.shape}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            total = output.sum(dtype=np.float32)
        if not (np.isfinite(total) or np.isfinite(output).all()):  # a sum of finite numbers may be too large
            raise not_finite(card)
        yield output[0], tile


def not_finite(card: Card) -> InferenceFailed:
    """What is wrong where an output holds NaN or infinity."""
    return InferenceFailed(f"engine {card.name}: the output holds numbers that are not finite")


def _classify(
    card: Card, runs: Iterator[Run], placement: Placement, _threshold: float | None
) -> tuple[LabelAnswer, ...]:
    """The highest probability of all windows."""
    seen = [[_certain(card, label, output) for label in card.labels] for output, _ in runs]
    highest = np.max(seen, axis=0).tolist()
    return tuple(
        LabelAnswer(label.name, probability=value, frame=placement.frame)
        for label, value in zip(card.labels, highest, strict=True)
    )


def _certain(card: Card, label: Label, output: Array) -> float:
    value = float(probability(card, label.channel, output))
    if not -1e-5 <= value <= 1 + 1e-5:
        raise InferenceFailed(f"engine {card.name}: {label.name} is {value:g}, no probability; see decode.activation")
    return min(1.0, max(0.0, value))
