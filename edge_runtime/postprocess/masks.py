"""Masks: every voxel's probability, put together from windows, cut at the threshold, on the source grid."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.sampling import resample_linear, resize_nearest
from edge_runtime.engines.views import LabelAnswer, Placement, Region, Tile
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess.activation import level, probability
from edge_runtime.postprocess.components import fill_holes, label_components, largest_component


def read(
    card: Card, runs: Iterator[tuple[Array, Tile | None]], placement: Placement, threshold: float | None
) -> tuple[LabelAnswer, ...]:
    """One mask, or the regions that masks fill, for each label."""
    output, tile = next(runs)
    if tile is None:
        fields = [probability(card, label.channel, output) for label in card.labels]
    else:
        fields = _average(card, output, tile, runs)
    answers = []
    for label, field in zip(card.labels, fields, strict=True):
        above = level(label, threshold)
        if card.task == "detection":
            answers.append(detect(card, label, field > above, placement))
        else:
            answers.append(_segment(card, label, field, above, placement, windows=tile is not None))
    return tuple(answers)


def hat(shape: tuple[int, ...]) -> Array:
    """How much each voxel of a window counts: 1 in the middle, falling evenly to the edges, never 0; float32."""
    weights = np.ones(shape, dtype=np.float32)
    for axis, extent in enumerate(shape):
        ramp = np.minimum(np.arange(extent) + 1, extent - np.arange(extent)) / ((extent + 1) // 2)
        weights *= ramp.astype(np.float32).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return weights


def _average(card: Card, output: Array, tile: Tile, rest: Iterator[tuple[Array, Tile | None]]) -> list[Array]:
    """The windows' probabilities on their grid, weighted by how far a voxel is from the edge of its window."""
    weights = hat(tile.shape)
    sums = [np.zeros(tile.grid, dtype=np.float32) for _ in card.labels]
    total = np.zeros(tile.grid, dtype=np.float32)
    window: Tile | None = tile
    while window is not None:
        weight = weights[window.of_window]
        total[window.of_grid] += weight
        for label, field in zip(card.labels, sums, strict=True):
            field[window.of_grid] += weight * probability(card, label.channel, output)[window.of_window]
        output, window = next(rest, (output, None))
    return [field / total for field in sums]


def _segment(
    card: Card, label: Label, field: Array, above: np.float32, placement: Placement, *, windows: bool
) -> LabelAnswer:
    """Windows are of a grid with a spacing of its own, so their probabilities are brought to the source linearly."""
    if not windows:
        return segment(card, label, field > above, placement)
    return _cleaned(card, label, resample_linear(field, placement.box_shape) > above, placement)


def segment(card: Card, label: Label, mask: Array, placement: Placement) -> LabelAnswer:
    """A mask on the network's grid as one on the source's."""
    return _cleaned(card, label, resize_nearest(mask, placement.box_shape), placement)


def _cleaned(card: Card, label: Label, mask: Array, placement: Placement) -> LabelAnswer:
    """What the card keeps of a mask on the box, on the source's grid."""
    if card.decode.keep == "largest":
        mask = largest_component(mask)
    if card.decode.fill_holes:
        mask = fill_holes(mask)
    return LabelAnswer(label.name, voxels=placement.restore(mask), frame=placement.frame)


def detect(card: Card, label: Label, mask: Array, placement: Placement) -> LabelAnswer:
    """The regions that a mask on the network's grid fills.

    Raises:
        InferenceFailed: there are more than `decode.maximum_regions`.
    """
    if card.decode.keep == "each":
        parts = label_components(mask)
    else:
        parts = [(largest_component(mask) if card.decode.keep == "largest" else mask, (0,) * mask.ndim)]
    check_count(card, label, len(parts))
    regions = [_region(part, corner, placement, mask.shape, card.decode.planes_above) for part, corner in parts]
    return LabelAnswer(label.name, frame=placement.frame, regions=tuple(r for r in regions if r is not None))


def check_count(card: Card, label: Label, count: int) -> None:
    """Refuse more regions than the card holds plausible.

    Raises:
        InferenceFailed: there are more than `decode.maximum_regions`.
    """
    if count > card.decode.maximum_regions:
        raise InferenceFailed(
            f"engine {card.name}: {label.name} has {count} regions, more than the {card.decode.maximum_regions} "
            "that decode.maximum_regions holds plausible"
        )


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
