"""What plain methods reach: sharpness and redness, patches of another redness, and growing a region from its middle."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.measure.metrics import Detected
from edge_runtime.domain import Array

BOX_LEVELS = (0.8, 1.2, 1.6, 2.0, 2.5)  # deviations from the surroundings
COLOUR_LEVELS = (0.04, 0.07, 0.1, 0.14, 0.2, 0.3)  # distance from the middle's colour, 1 is white
REDNESS_LEVELS = (0.34, 0.36, 0.38, 0.40, 0.42)  # share of red in red, green and blue
_LEAST, _MOST, _SOLID = 0.002, 0.2, 0.45  # share of the picture; of the box
_DARK, _GLARE, _AROUND = 0.3, 0.8, 61

Corners = tuple[int, int, int, int]
"""Row and column of start and stop."""


def sharpness(pixels: Array) -> float:
    """Deviation of the Laplacian where the scope shows something. pixels: uint8 (rows, columns, 3)."""
    grey = _halved(pixels).mean(axis=-1)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    shown = _ndimage().minimum_filter(grey, 5)[1:-1, 1:-1] > 0.06
    return float(laplacian[shown].std()) if shown.any() else 0.0


def redness(pixels: Array) -> float:
    """The share of red in all light."""
    sums = pixels.reshape(-1, 3).sum(axis=0, dtype=np.float64)
    return float(sums[0] / max(1.0, float(sums.sum())))


def contrast(pixels: Array) -> Array:
    """How far the share of red differs from its surroundings, in deviations, where it is neither dark nor glaring.

    float32, half of each extent.
    """
    ndimage, small = _ndimage(), _halved(pixels)
    total = small.sum(axis=-1)
    lit = ndimage.binary_erosion((total > _DARK) & (small.min(axis=-1) < _GLARE), iterations=3)
    if not lit.any():
        return np.zeros(total.shape, dtype=np.float32)
    share = small[..., 0] / (total + np.float32(0.15))
    around = ndimage.uniform_filter(share * lit, _AROUND) / (
        ndimage.uniform_filter(lit.astype(np.float32), _AROUND) + np.float32(1e-3)
    )
    difference = ndimage.uniform_filter(share, 5) - around
    seen: Array = lit * np.abs(difference) / (difference[lit].std() + np.float32(1e-6))
    return seen


def blobs(differing: Array, level: float, truth: tuple[Corners, ...]) -> Detected:
    """Compact parts that differ from their surroundings by more than `level`, scored by how far they do."""
    ndimage = _ndimage()
    labels, _ = ndimage.label(ndimage.binary_opening(differing > level, np.ones((3, 3))))
    boxes: list[tuple[float, ...]] = []
    scores: list[float] = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        share = np.count_nonzero(part) / differing.size
        if _LEAST <= share <= _MOST and part.mean() > _SOLID:
            rows, columns = place
            boxes.append((0.0, 2.0 * rows.start, 2.0 * columns.start, 1.0, 2.0 * rows.stop, 2.0 * columns.stop))
            scores.append(float(differing[place][part].mean()))
    return Detected(tuple(boxes), tuple(scores), tuple(corners(box) for box in truth))


def corners(box: Corners) -> tuple[float, ...]:
    """A box of the first frame as start and stop, (frame, row, column) each."""
    return (0.0, float(box[0]), float(box[1]), 1.0, float(box[2]), float(box[3]))


def grow(pixels: Array, box: Corners, level: float) -> Array:
    """What hangs together with the middle of the box and has its colour, bool (rows, columns), within the box."""
    ndimage = _ndimage()
    top, left, bottom, right = box
    part = pixels[top:bottom, left:right].astype(np.float32) / 255
    rows, columns = part.shape[:2]
    middle = part[rows * 2 // 5 : rows * 3 // 5 + 1, columns * 2 // 5 : columns * 3 // 5 + 1]
    alike = np.sqrt(np.square(part - np.median(middle.reshape(-1, 3), axis=0)).sum(axis=-1)) < level
    labels, _ = ndimage.label(alike)
    grown = np.zeros(pixels.shape[:2], dtype=np.bool_)
    number = labels[rows // 2, columns // 2]
    if number:
        grown[top:bottom, left:right] = ndimage.binary_fill_holes(labels == number)
    return grown


def _halved(pixels: Array) -> Array:
    """Means of two by two pixels, float32 in 0..1."""
    rows, columns = (n // 2 * 2 for n in pixels.shape[:2])
    values = pixels[:rows, :columns].astype(np.float32)
    halved: Array = (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / np.float32(1020)
    return halved


def _ndimage() -> Any:
    from scipy import ndimage

    return ndimage
