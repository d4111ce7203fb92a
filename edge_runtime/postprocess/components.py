"""Connected components and holes of masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_runtime.domain import Array


def _ndimage() -> Any:
    from scipy import ndimage  # loaded when the first mask needs it: a daemon is ready before that

    return ndimage


def bounding_slices(mask: Array) -> tuple[slice, ...] | None:
    """The smallest box that holds every true element, or None of an empty mask."""
    slices = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
        if not hit.size:
            return None
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(slices)


def label_components(mask: Array) -> list[tuple[Array, tuple[int, ...]]]:
    """Every component (neighbours by face, edge or corner) in its box, with the box's corner; the largest first."""
    ndimage = _ndimage()
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    parts = [
        (labels[box] == index + 1, tuple(int(s.start) for s in box))
        for index, box in enumerate(ndimage.find_objects(labels))
    ]
    return sorted(parts, key=lambda part: -int(np.count_nonzero(part[0])))


def largest_component(mask: Array) -> Array:
    """The largest component (neighbours by face, edge or corner), the first of equals; empty of an empty mask."""
    box = bounding_slices(mask)
    kept = np.zeros_like(mask)
    if box is None:
        return kept
    labels, count = _ndimage().label(mask[box], structure=np.ones((3,) * mask.ndim))
    if count == 1:
        return mask
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    np.equal(labels, sizes.argmax(), out=kept[box])
    return kept


def fill_holes(mask: Array) -> Array:
    """The mask with its holes: background from which no way over faces leads to the border of the array."""
    box = bounding_slices(mask)
    if box is None:
        return mask
    inside = mask[box]
    labels, count = _ndimage().label(~inside)
    outside = np.zeros(count + 1, dtype=np.bool_)
    for axis in range(labels.ndim):
        for edge in (0, -1):
            outside[np.unique(labels.take(edge, axis=axis))] = True
    outside[0] = False
    filled = mask.copy()
    filled[box] = ~outside[labels]
    return filled
