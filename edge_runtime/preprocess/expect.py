"""Is this an image of what the network knows?"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from edge_runtime.domain import Array, Image, Volume
from edge_runtime.engines.card import Card, Expect
from edge_runtime.engines.sampling import resample_linear
from edge_runtime.errors import InferenceFailed
from edge_runtime.preprocess import placing

_SPACING_MM = 4.0


def compile_expectation(card: Card) -> Callable[[Image], None]:
    """The function that refuses an image which cannot be what the card expects, by raising `InferenceFailed`."""
    return (lambda _image: None) if card.expect is None else partial(_check, card.expect)


def largest_part_ml(array: Array, expected: Expect, voxel_ml: float) -> float:
    """Volume of the largest 6-connected part of (slices, rows, columns) with the values that are expected."""
    from scipy import ndimage

    part = (array >= expected.range[0]) & (array <= expected.range[1])
    if expected.enclosed_by is not None:
        wall = array > expected.enclosed_by
        part &= np.stack([ndimage.binary_fill_holes(plane) for plane in wall])
    labels, count = ndimage.label(part)
    return float(np.bincount(labels.ravel())[1:].max()) * voxel_ml if count else 0.0


def _check(expected: Expect, image: Image) -> None:
    """Look at the image at about 4 mm, which is enough to know an organ by its size."""
    if not isinstance(image, Volume):
        raise InferenceFailed(f"whether these frames show {expected.what} cannot be told: they make no volume")
    placement = placing.oriented(image.geometry, "SPL")
    voxels = placement.orient(image.voxels)
    shape, spacing = voxels.shape, [image.geometry.spacing_mm[axis] for axis in placement.axes]
    coarse = tuple(min(n, max(1, round(n * mm / _SPACING_MM))) for n, mm in zip(shape, spacing, strict=True))
    voxel_ml = image.geometry.voxel_ml * math.prod(shape) / math.prod(coarse)
    found = largest_part_ml(resample_linear(voxels, coarse), expected, voxel_ml)
    low, high = expected.volume_ml
    if not low <= found <= high:
        raise InferenceFailed(
            f"this image does not look like {expected.what}: its largest part within {expected.range[0]:g} to "
            f"{expected.range[1]:g} fills {found:.3g} ml, {low:g} to {high:g} ml are expected"
        )
