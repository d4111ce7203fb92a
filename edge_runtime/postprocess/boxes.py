"""Boxes in the layouts of YOLOv5 and YOLOv8: centre, size and scores; and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_runtime.domain import Array
from edge_runtime.engines.card import Card, Label
from edge_runtime.engines.views import LabelAnswer, Placement, Tile
from edge_runtime.errors import InferenceFailed
from edge_runtime.postprocess.activation import level, sigmoid
from edge_runtime.postprocess.masks import check_count

MOST_CANDIDATES = 1000
"""Of one window, the best ones: suppression compares each with each."""

CUT_BY_WINDOW = 0.7
"""A box of which this share lies in a better one of another window is the same thing, cut by the window's edge."""


def read(
    card: Card, runs: Iterator[tuple[Array, Tile | None]], placement: Placement, threshold: float | None
) -> tuple[LabelAnswer, ...]:
    """The regions of each label, the best first, with their scores."""
    axes, window = card.input.spatial, card.input.shape[2:]
    grid: tuple[int, ...] = window
    found: list[list[Array]] = [[] for _ in card.labels]
    highest = [0.0] * len(card.labels)
    for number, (output, tile) in enumerate(runs):
        grid = window if tile is None else tile.grid
        offset = np.zeros(axes) if tile is None else np.asarray(tile.offset, dtype=np.float64)
        geometry, channels, objectness = _split(card, output)
        for k, label in enumerate(card.labels):
            scores = _scores(card, label.name, channels[label.channel])
            if objectness is not None:
                scores = scores * _scores(card, "objectness", objectness)
            highest[k] = max(highest[k], float(scores.max()))
            found[k].append(_candidates(geometry, scores, level(label, threshold), offset, grid, number))
    kept = [suppress(np.concatenate(rows), axes, card.decode.overlap) for rows in found]
    return tuple(answer(card, label, kept[k], highest[k], placement, grid) for k, label in enumerate(card.labels))


def _split(card: Card, output: Array) -> tuple[Array, Array, Array | None]:
    """Centre and size on each axis of the input, (2 x axes, boxes); a row a channel; the objectness where there is one.

    YOLO gives the boxes of frames as x, y; the axes of the input are row, column.
    """
    axes = card.input.spatial
    rows = output.T if card.decode.layout == "yolov5" else output
    geometry, rest = rows[: 2 * axes], rows[2 * axes :]
    if card.input.kind == "frame":
        geometry = geometry[[1, 0, 3, 2]]
    return (geometry, rest[1:], rest[0]) if card.decode.layout == "yolov5" else (geometry, rest, None)


def _scores(card: Card, name: str, row: Array) -> Array:
    scores = sigmoid(row) if card.decode.activation == "sigmoid" else row
    if not (scores.min() >= -1e-5 and scores.max() <= 1 + 1e-5):
        raise no_probabilities(card, name)
    clipped: Array = np.clip(scores, 0.0, 1.0)
    return clipped


def no_probabilities(card: Card, name: str) -> InferenceFailed:
    """What is wrong where a score is not in 0..1."""
    return InferenceFailed(f"engine {card.name}: scores of {name} are no probabilities; see decode.activation")


def _candidates(
    geometry: Array, scores: Array, level: np.float32, offset: Array, grid: tuple[int, ...], window: int
) -> Array:
    """Rows of start, stop, score and window number, float64, of the boxes above the level that lie in the grid."""
    above = np.flatnonzero(scores > level)
    above = above[np.argsort(-scores[above], kind="stable")[:MOST_CANDIDATES]]
    axes = len(grid)
    centre, half = geometry[:axes, above].T.astype(np.float64), geometry[axes:, above].T.astype(np.float64) / 2
    limit = np.asarray(grid, dtype=np.float64)
    start = np.clip(centre - half + offset, 0.0, limit)
    stop = np.clip(centre + half + offset, 0.0, limit)
    rows = np.column_stack([start, stop, scores[above], np.full(len(above), window)])
    kept: Array = rows[(stop > start).all(axis=1)]
    return kept


def suppress(rows: Array, axes: int, overlap: float) -> Array:
    """Non-maximum suppression; rows of start, stop, score and window number, the best first.

    A box falls where it shares more than `overlap` of the union with a better one, or is one cut by its window's edge.
    """
    rows = rows[np.argsort(-rows[:, 2 * axes], kind="stable")]
    kept: list[Array] = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        low, high = np.maximum(rows[:, :axes], best[:axes]), np.minimum(rows[:, axes : 2 * axes], best[axes : 2 * axes])
        shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
        sizes = np.prod(rows[:, axes : 2 * axes] - rows[:, :axes], axis=1)
        union = sizes + np.prod(best[axes : 2 * axes] - best[:axes]) - shared
        cut = (rows[:, -1] != best[-1]) & (shared > CUT_BY_WINDOW * sizes)
        rows = rows[~((shared > overlap * union) | cut)]
    return np.array(kept).reshape(-1, 2 * axes + 2)


def answer(
    card: Card, label: Label, kept: Array, highest: float, placement: Placement, grid: tuple[int, ...]
) -> LabelAnswer:
    """Rows of start, stop and score on the grid, the best first, as regions of the source.

    Raises:
        InferenceFailed: there are more than `decode.maximum_regions`.
    """
    axes = len(grid)
    check_count(card, label, len(kept))
    placed = [placement.region(tuple(row[:axes].tolist()), tuple(row[axes : 2 * axes].tolist()), grid) for row in kept]
    found = [(region, float(row[2 * axes])) for region, row in zip(placed, kept, strict=True) if region is not None]
    regions, scores = tuple(region for region, _ in found), tuple(score for _, score in found)
    return LabelAnswer(label.name, highest, frame=placement.frame, regions=regions, scores=scores)
