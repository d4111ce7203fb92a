"""Read a network's output as the card says: probabilities, masks on the source grid, or regions of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.sampling import resize_nearest
from edge_runtime.engines.views import LabelAnswer, Placement, Region
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess.components import fill_holes, label_components, largest_component

Decode = Callable[[Array, Placement, float | None], tuple[LabelAnswer, ...]]


def compile_decoder(card: Card) -> Decode:
    """The function that reads the card's output: (output, placement, threshold or None) -> one answer a label.

    A threshold overrides those of the card. It raises `InferenceFailed` where the output holds NaN or infinity, or,
    for a classification, no probability.
    """

    def decode(output: Array, placement: Placement, threshold: float | None) -> tuple[LabelAnswer, ...]:
        if output.shape != card.output.shape:
            raise InferenceFailed(
                f"engine {card.name}: the output is {output.shape}, the card says {card.output.shape}"
            )
        if not np.isfinite(output.sum(dtype=np.float32)):
            raise InferenceFailed(f"engine {card.name}: the output holds numbers that are not finite")
        return tuple(_answer(card, label, output[0], placement, threshold) for label in card.labels)

    return decode


def _answer(card: Card, label: Label, output: Array, placement: Placement, threshold: float | None) -> LabelAnswer:
    values = _probability(card, label, output)
    if card.task == "classification":
        return _classify(card, label, float(values), placement)
    above = values > np.float32(label.threshold if threshold is None else threshold)
    if card.task == "detection":
        return _detect(card, label, above, placement)
    return _segment(card, label, above, placement)


def _probability(card: Card, label: Label, output: Array) -> Array:
    """Probabilities of the label's channel: float32, the output's axes of space."""
    chosen: Array = output[label.channel]
    if card.decode.activation == "sigmoid":
        return _sigmoid(chosen)
    if card.decode.activation == "softmax":
        shifted = np.exp(output - output.max(axis=0))
        softmax: Array = shifted[label.channel] / shifted.sum(axis=0)
        return softmax
    return chosen


def _sigmoid(values: Array) -> Array:
    with np.errstate(over="ignore"):
        sigmoid: Array = 1 / (1 + np.exp(-values.astype(np.float32)))
    return sigmoid


def _classify(card: Card, label: Label, probability: float, placement: Placement) -> LabelAnswer:
    if not -1e-5 <= probability <= 1 + 1e-5:
        raise InferenceFailed(
            f"engine {card.name}: {label.name} is {probability:g}, no probability; see decode.activation"
        )
    return LabelAnswer(label.name, probability=min(1.0, max(0.0, probability)), frame=placement.frame)


def _segment(card: Card, label: Label, above: Array, placement: Placement) -> LabelAnswer:
    mask = resize_nearest(above, placement.box_shape)
    if card.decode.keep == "largest":
        mask = largest_component(mask)
    if card.decode.fill_holes:
        mask = fill_holes(mask)
    return LabelAnswer(label.name, voxels=placement.restore(mask), frame=placement.frame)


def _detect(card: Card, label: Label, mask: Array, placement: Placement) -> LabelAnswer:
    if card.decode.keep == "each":
        parts = label_components(mask)
    else:
        parts = [(largest_component(mask) if card.decode.keep == "largest" else mask, (0,) * mask.ndim)]
    if len(parts) > card.decode.maximum_regions:
        raise InferenceFailed(
            f"engine {card.name}: {label.name} has {len(parts)} regions, more than the {card.decode.maximum_regions} "
            "that decode.maximum_regions holds plausible"
        )
    regions = [_region(part, corner, placement, mask.shape, card.decode.planes_above) for part, corner in parts]
    return LabelAnswer(label.name, frame=placement.frame, regions=tuple(r for r in regions if r is not None))


def _region(
    part: Array, corner: tuple[int, ...], placement: Placement, shape: tuple[int, ...], planes_above: float
) -> Region | None:
    """The box of the planes of which more than a share is mask, or None. `part` begins at `corner` of the output."""
    start, stop = [], []
    for axis in range(part.ndim):
        rest = tuple(k for k in range(part.ndim) if k != axis)
        plane = math.prod(shape[k] for k in rest)
        hit = np.flatnonzero(np.count_nonzero(part, axis=rest) / plane > planes_above)
        if not hit.size:
            return None
        start.append(float(corner[axis] + hit[0]))
        stop.append(float(corner[axis] + hit[-1] + 1))
    return placement.region(tuple(start), tuple(stop), shape)
